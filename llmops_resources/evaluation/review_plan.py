"""Who judges what: a pure plan, the same for the same seed.

Each unit goes to `overlap` people, everybody gets as many as everybody else (give or take one), and who meets whom is
left to the seed, so that no two people share all their units. The order of each person is their own. Where two answers
are compared, half of a unit's reviewers see the second one first, so that a liking for the first place cancels.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence


def shuffled(seed: int, of: str, units: Sequence[int]) -> list[int]:
    """The units in the order in which `of` gets them."""
    return sorted(units, key=lambda unit: (_hash(seed, of, unit), unit))


def deal(units: Sequence[int], people: Sequence[str], overlap: int, seed: int) -> dict[int, list[str]]:
    """For each unit the people who judge it: `overlap` of them, or all where there are fewer."""
    load = Counter(dict.fromkeys(people, 0))
    dealt: dict[int, list[str]] = {}
    for unit in shuffled(seed, "", units):
        ranked = sorted(people, key=lambda person: (load[person], _hash(seed, person, unit), person))
        dealt[unit] = ranked[:overlap]
        load.update(dealt[unit])
    return dealt


def is_swapped(seed: int, unit: int, slot: int) -> bool:
    """Whether a unit's reviewer number `slot` sees the second answer first."""
    return (_hash(seed, "side", unit)[0] + slot) % 2 == 1


def _hash(seed: int, of: str, unit: int) -> bytes:
    return hashlib.sha256(f"{seed}\n{unit}\n{of}".encode()).digest()
