"""Rows that nearly repeat another: MinHash finds candidates (rensa), the exact Jaccard similarity decides.

Compared are the sets of three-word runs of all worded columns of a row together. 12 bands of 4 hashes find a pair of
similarity .8 with a probability of .998; no pair below `NEAR` is ever counted, since each is verified. Exact repeats
are another figure and count here once. Bounded: at most `MOST_ROWS` rows, spread evenly over the data, and the first
`_CHARACTERS` of each; what was looked at is in the answer.
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Collection
from typing import NamedTuple

import polars as pl
import rensa

from llmops_resources.checks.spool import ColumnType, Spool

NEAR = 0.8
MOST_ROWS = 10_000
_BANDS, _BAND = 12, 4
_CHARACTERS = 5_000
_SHORTEST = 12  # words; shorter texts are alike by their form alone ("What is 7 plus 5?")
_ROW = "\0row"  # no column is called so: names with control characters are refused
_COMPARED = 4  # texts that a new one is held against, those with the most bands in common first


class NearRepeats(NamedTuple):
    """How many of `rows` looked at nearly repeat an earlier one; no rows when no row has text enough."""

    rows: int
    repeats: int


def near_repeats(spool: Spool) -> NearRepeats:
    """Count near repeats. Deterministic for equal rows."""
    worded = [c.name for c in spool.columns if c.type in {ColumnType.STRING, ColumnType.LIST, ColumnType.OBJECT}]
    texts = _texts(spool, worded) if worded else []
    buckets: list[defaultdict[bytes, list[int]]] = [defaultdict(list) for _ in range(_BANDS)]
    kept: list[array[int]] = []  # eight bytes a run, not a string each
    repeats = 0
    for text in texts:
        runs = _runs(text)
        sketch = rensa.RMinHash(num_perm=_BANDS * _BAND, seed=0)
        sketch.update(runs)
        digest = array("I", sketch.digest()).tobytes()
        width = len(digest) // _BANDS
        keys = [digest[start : start + width] for start in range(0, len(digest), width)]
        hashes = set(map(hash, runs))
        if any(_similar(hashes, kept[other]) for other in _candidates(buckets, keys)):
            repeats += 1  # not kept: what repeats it repeats the original too, or is another text
            continue
        for bucket, key in zip(buckets, keys, strict=True):
            bucket[key].append(len(kept))
        kept.append(array("q", hashes))
    return NearRepeats(len(texts), repeats)


def _candidates(buckets: list[defaultdict[bytes, list[int]]], keys: list[bytes]) -> Collection[int]:
    """At most `_COMPARED` texts that share a band, those with the most in common."""
    sharing = [
        other for bucket, key in zip(buckets, keys, strict=True) if key in bucket for other in bucket[key][:_COMPARED]
    ]
    different = set(sharing)
    if len(different) <= _COMPARED:
        return different
    return [other for other, _ in Counter(sharing).most_common(_COMPARED)]


def _texts(spool: Spool, columns: list[str]) -> list[str]:
    """The texts that are compared, each once, in the order of their rows."""
    step = max(1, -(-spool.rows // MOST_ROWS))
    joined = pl.concat_str([pl.col(name).cast(pl.String).fill_null("") for name in columns], separator=" ")
    sampled = spool.scan().with_row_index(_ROW).filter(pl.col(_ROW) % step == 0)
    found = sampled.select(joined.str.slice(0, _CHARACTERS).alias("text")).collect(engine="streaming")["text"]
    return [text for text in dict.fromkeys(found) if len(text.split(None, _SHORTEST)) >= _SHORTEST]


def _runs(text: str) -> set[str]:
    words = text.casefold().split()
    return set(map(" ".join, zip(words, words[1:], words[2:], strict=False)))


def _similar(runs: set[int], other: "array[int]") -> bool:
    """Whether two sets of runs, as hashes, have a Jaccard similarity of at least `NEAR`."""
    if min(len(runs), len(other)) < NEAR * max(len(runs), len(other)):
        return False
    common = len(runs.intersection(other))
    return common >= NEAR * (len(runs) + len(other) - common)
