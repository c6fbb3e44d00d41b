"""One match of personal data in a text, and which of several that overlap are told."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

#: (start, end, score) of one kind of data
Span = tuple[int, int, float]


class Hit(NamedTuple):
    """`start` and `end` are characters of the text."""

    entity: str
    start: int
    end: int
    score: float


def without_contained(spans: Sequence[Span]) -> Sequence[Span]:
    """The spans of one kind, less repeats and those that lie inside one that is as sure.

    As Presidio's `EntityRecognizer.remove_duplicates`, without its objects.
    """
    if len(spans) < 2:
        return spans
    kept: list[Span] = []
    open_spans: list[Span] = []  # those that the next one may lie in
    for start, end, score in sorted(set(spans), key=lambda span: (span[0], -span[1], -span[2])):
        open_spans = [span for span in open_spans if span[1] >= start]
        if not any(end <= other[1] and score <= other[2] for other in open_spans):
            kept.append((start, end, score))
            open_spans.append(kept[-1])
    return kept


def merged(found: Sequence[Hit]) -> list[Hit]:
    """The hits of a text as Presidio's engine would return them: without repeats, surest first."""
    if len(found) < 2:
        return list(found)
    kinds: defaultdict[str, list[Span]] = defaultdict(list)
    for entity, start, end, score in found:
        kinds[entity].append((start, end, score))
    kept = [Hit(entity, *span) for entity in sorted(kinds) for span in without_contained(kinds[entity])]
    return sorted(kept, key=lambda hit: (-hit.score, hit.start, hit.start - hit.end))


def without_weaker_overlaps(hits: Iterable[Hit]) -> list[Hit]:
    """The hits, less those that lie inside a surer one (a bank account inside a phone number) and exact repeats."""
    kept: list[Hit] = []
    open_hits: list[Hit] = []  # those before, in this order, that the next one may lie in
    for hit in dict.fromkeys(sorted(hits, key=lambda hit: (hit.start, -hit.end, -hit.score))):
        open_hits = [other for other in open_hits if other.end > hit.start]
        if not any(
            hit.end <= other.end
            and (other.score > hit.score or (other.entity == hit.entity and other[1:3] != hit[1:3]))
            for other in open_hits
        ):
            kept.append(hit)
        open_hits.append(hit)
    return kept
