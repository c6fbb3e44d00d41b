"""How many n-grams answers share with their references, of many pairs at once: sorted numbers instead of dictionaries.

An n-gram is one whole number: its pair, then its tokens as digits. Sorted with the side it is from as the last bit,
equal n-grams of a pair lie together, and the smaller of their two counts is what is shared (Papineni 2002).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
_AT_ONCE: Final = 1 << 18  # tokens, so that sorting stays within the processor's cache
_LARGEST: Final = 1 << 62  # one bit is the sign, and one the side


@dataclass(frozen=True)
class Texts:
    """Texts one after another: their tokens as numbers from 0 on, and how many tokens each has."""

    tokens: Numbers
    lengths: Numbers


def of_words(texts: Sequence[Sequence[str]], others: Sequence[Sequence[str]]) -> tuple[Texts, Texts]:
    """Two sides of texts that are cut into words, with the same number for the same word."""
    known = {word: number for number, word in enumerate(dict.fromkeys(chain.from_iterable(chain(texts, others))))}
    return _numbered(texts, known), _numbered(others, known)


def of_characters(texts: Sequence[str]) -> Texts:
    """Each character's code point."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    return Texts(codes.astype(np.int64), np.fromiter(map(len, texts), np.int64, len(texts)))


def shared(answers: Texts, references: Texts, order: int) -> tuple[Numbers, Numbers, Numbers]:
    """Of 1-grams to `order`-grams, each of shape (pairs, order): the answers', the references' and the shared ones."""
    sizes = np.arange(order)
    got, wanted = (np.maximum(side.lengths[:, None] - sizes, 0) for side in (answers, references))
    both = np.zeros_like(got)
    for pairs, parts in _chunks(answers, references):
        for at, numbers in enumerate(_sorted(parts, [side.lengths[pairs] for side in (answers, references)], order)):
            both[pairs, at] = _common(numbers, got[pairs, at] + wanted[pairs, at])
    return got, wanted, both


def _numbered(texts: Sequence[Sequence[str]], known: dict[str, int]) -> Texts:
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    tokens = map(known.__getitem__, chain.from_iterable(texts))
    return Texts(np.fromiter(tokens, np.int64, int(lengths.sum())), lengths)


def _chunks(answers: Texts, references: Texts) -> Iterator[tuple[slice, list[Numbers]]]:
    """Pairs of about `_AT_ONCE` tokens together, and their tokens on both sides."""
    ends = [np.concatenate([[0], side.lengths.cumsum()]) for side in (answers, references)]
    so_far = ends[0] + ends[1]
    first = 0
    while first < len(answers.lengths):
        last = int(np.searchsorted(so_far, so_far[first] + _AT_ONCE, side="right")) - 1
        last = max(last, first + 1)
        tokens = zip((answers, references), ends, strict=True)
        yield slice(first, last), [side.tokens[end[first] : end[last]] for side, end in tokens]
        first = last


def _sorted(parts: list[Numbers], lengths: list[Numbers], order: int) -> Iterator[Numbers]:
    """The n-grams of a chunk, n from 1 to `order`, as sorted numbers of which the last bit says the side."""
    tokens, count = _ranked(np.concatenate(parts))
    pairs = len(lengths[0])
    side = np.repeat([0, 1], [len(part) for part in parts])
    owner = np.concatenate([np.repeat(np.arange(pairs), each) for each in lengths])
    ends = np.repeat(np.concatenate(lengths).cumsum(), np.concatenate(lengths))
    at = np.arange(len(tokens))
    numbers, size = owner * count + tokens, pairs * count
    for longer in range(1, order + 1):
        yield np.sort(numbers * 2 + side[at])
        keep = at + longer < ends[at]
        at, numbers = at[keep], numbers[keep]
        if size * count >= _LARGEST:
            distinct, numbers = np.unique(numbers, return_inverse=True)  # in the same order, so pairs stay together
            size = len(distinct)
        numbers, size = numbers * count + tokens[at + longer], size * count


def _ranked(tokens: Numbers) -> tuple[Numbers, int]:
    """The tokens numbered by what there is of them, and how many different ones there are."""
    if not len(tokens):
        return tokens, 1
    there = np.zeros(int(tokens.max()) + 1, dtype=np.int64)
    there[tokens] = 1
    ranks = there.cumsum() - 1
    return ranks[tokens], int(ranks[-1]) + 1


def _common(numbers: Numbers, counts: Numbers) -> Numbers:
    """How many n-grams the sides share, of each pair, which has `counts` of the sorted numbers."""
    if not len(numbers):
        return np.zeros_like(counts)
    begins = np.flatnonzero(np.diff(numbers >> 1, prepend=-1))
    of_second = np.add.reduceat(numbers & 1, begins)
    of_both = np.diff(begins, append=len(numbers))
    fewer = np.minimum(of_second, of_both - of_second)
    so_far = np.concatenate([[0], fewer.cumsum()])
    return np.diff(so_far[np.searchsorted(begins, np.concatenate([[0], counts.cumsum()]))])
