"""Who gets which variant: pure computation from a salt, so nothing is stored for a user and every process agrees.

Weighted rendezvous hashing (Thaler and Ravishankar 1998, "Using name-based mappings to increase hit rates"; weights as
in Schindelhauer and Schomaker 2005): each variant draws a number for the user, and the largest -weight/ln(number)
wins. A user stays where they are as long as the weights do, and when weights change only as many users move as must.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import Final

_BYTES: Final = 16
_UNITS: Final = 2.0**53


def subject(salt: bytes, user: str) -> str:
    """The user's name within one experiment: 32 hex digits, which say nothing without the salt."""
    return hashlib.blake2b(user.encode(errors="surrogatepass"), key=salt, digest_size=_BYTES).hexdigest()


def assign(name: str, weights: Sequence[tuple[str, float]]) -> str:
    """The variant of the subject `name`; variant v has the probability weight(v) / sum of weights."""
    best, chosen = -1.0, ""
    for variant, weight in weights:
        score = weight / -math.log(_uniform(name, variant)) if weight > 0 else 0.0
        if score > best:
            best, chosen = score, variant
    return chosen


def _uniform(name: str, variant: str) -> float:
    """A number in (0, 1) that depends on both names only."""
    drawn = int.from_bytes(hashlib.blake2b(variant.encode(), key=name.encode(), digest_size=8).digest()) >> 11
    return (drawn + 0.5) / _UNITS
