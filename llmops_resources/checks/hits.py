"""One match of personal data in a text, and which of several that overlap are told."""

from collections.abc import Iterable
from typing import NamedTuple


class Hit(NamedTuple):
    """`start` and `end` are characters of the text."""

    entity: str
    start: int
    end: int
    score: float


def without_weaker_overlaps(hits: Iterable[Hit]) -> list[Hit]:
    """The hits, less those that lie inside a surer one (a bank account inside a phone number) and exact repeats."""
    distinct = list(dict.fromkeys(sorted(hits, key=lambda hit: (hit.start, -hit.end, -hit.score))))
    return [
        hit
        for hit in distinct
        if not any(
            other is not hit
            and other.start <= hit.start
            and hit.end <= other.end
            and (other.score > hit.score or (other.entity == hit.entity and other[1:3] != hit[1:3]))
            for other in distinct
        )
    ]
