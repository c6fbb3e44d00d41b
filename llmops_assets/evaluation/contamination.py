"""Which samples of a benchmark stand in training data: shared n-grams, and rows that nearly repeat a sample.

N-grams as in Brown et al. 2020 (GPT-3, appendix C): 13 words, case folded, without punctuation. For text scored by
characters, such as Korean, 50 characters without spaces (OpenAI 2023, GPT-4, appendix C). A shorter sample has to stand
there whole, in one piece or as two cells of a row. Near repeats as the data checks find them: MinHash proposes, the
exact Jaccard similarity decides. What is held in memory grows with the benchmark; training rows only pass by.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import rensa

from llmops_resources.checks.repeats import NEAR
from llmops_resources.evaluation.contamination import How
from llmops_resources.evaluation.suite import Tokenization

LENGTH: Final = {Tokenization.WORDS: 13, Tokenization.CHARACTERS: 50}  # of an n-gram, in tokens
# Single words: a text that shares .8 of its longer runs with another shares an n-gram too, and that is seen anyway.
_SHINGLE: Final = {Tokenization.WORDS: 1, Tokenization.CHARACTERS: 5}
_SHORTEST: Final = {Tokenization.WORDS: 12, Tokenization.CHARACTERS: 32}  # different shingles, to nearly repeat
_BANDS, _BAND = 12, 4  # a pair of similarity .8 is proposed with a probability of .998


def method(kind: Tokenization) -> str:
    """What is compared, in a line."""
    near = f"MinHash of {_SHINGLE[kind]}-grams, Jaccard similarity at least {NEAR}"
    return f"{LENGTH[kind]}-grams of {kind}, shorter samples whole; {near}"


def tokens(text: str, kind: Tokenization) -> list[str]:
    """Words, or characters, of a text by NFKC and folded case, without anything but letters, marks and digits."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    kept = "".join(c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in folded)
    return kept.split() if kind is Tokenization.WORDS else list("".join(kept.split()))


def cells(values: Iterable[Any]) -> Iterator[str]:
    """Every text in a row's cells, also those in lists and objects, in order; None and empty ones left out."""
    for value in values:
        if isinstance(value, Mapping):
            yield from cells(value.values())
        elif isinstance(value, list | tuple):
            yield from cells(value)
        elif value is not None and value != "":
            yield str(value)


class Index:
    """The samples of a benchmark, past which training rows are led. Equal input in equal order gives equal answers."""

    def __init__(self, samples: Mapping[int, tuple[str, str]], kind: Tokenization) -> None:
        """`samples`: from a number to prompt and expected answer. Those without a token are not `indexed`."""
        self.kind = kind
        self._between = " " if kind is Tokenization.WORDS else ""
        self._grams: defaultdict[str, set[int]] = defaultdict(set)
        self._lengths: defaultdict[str, set[int]] = defaultdict(set)  # by first token
        self._pairs: defaultdict[str, set[tuple[str, int]]] = defaultdict(set)
        self._bands: defaultdict[tuple[int, ...], set[int]] = defaultdict(set)
        self._shingles: dict[int, frozenset[str]] = {}
        self.indexed: set[int] = set()
        for number, (prompt, answer) in samples.items():
            self._add(number, tokens(prompt, kind), tokens(answer, kind))
        sizes = [len(each) for each in self._shingles.values()]
        self._sizes = (NEAR * min(sizes), max(sizes) / NEAR) if sizes else (1.0, 0.0)

    def _add(self, number: int, prompt: list[str], answer: list[str]) -> None:
        both = prompt + answer
        if not both:
            return
        self.indexed.add(number)
        length = min(LENGTH[self.kind], len(both))
        for at in range(len(both) - length + 1):
            self._grams[self._between.join(both[at : at + length])].add(number)
            self._lengths[both[at]].add(length)
        if prompt and answer:
            self._pairs[self._between.join(prompt)].add((self._between.join(answer), number))
        runs = self._runs(both)
        if len(runs) >= _SHORTEST[self.kind]:
            self._shingles[number] = frozenset(runs)
            for key in _keys(runs):
                self._bands[key].add(number)

    def matches(self, row: Sequence[str]) -> dict[int, How]:
        """The samples that a training row, given as its cells' texts, overlaps with, and how."""
        parts = [tokens(text, self.kind) for text in row]
        whole = [token for part in parts for token in part]
        found = dict.fromkeys(sorted(self._in(whole) | self._as_cells(parts)), How.NGRAM)
        for number in sorted(self._near(whole)):
            found.setdefault(number, How.NEAR_DUPLICATE)
        return found

    def _in(self, whole: list[str]) -> set[int]:
        found: set[int] = set()
        for at, token in enumerate(whole):
            for length in self._lengths.get(token, ()):
                if at + length <= len(whole):
                    found |= self._grams.get(self._between.join(whole[at : at + length]), set())
        return found

    def _as_cells(self, parts: list[list[str]]) -> set[int]:
        joined = {self._between.join(part) for part in parts}
        asked = (pair for prompt in joined for pair in self._pairs.get(prompt, ()))
        return {number for answer, number in asked if answer in joined}

    def _near(self, whole: list[str]) -> set[int]:
        low, high = self._sizes
        if not self._shingles:
            return set()
        runs = self._runs(whole)
        if not low <= len(runs) <= high:
            return set()
        here = set(runs)
        proposed = {number for key in _keys(runs) for number in self._bands.get(key, ())}
        return {number for number in proposed if _jaccard(here, self._shingles[number]) >= NEAR}

    def _runs(self, whole: list[str]) -> list[str]:
        size = _SHINGLE[self.kind]
        return list(dict.fromkeys(self._between.join(whole[at : at + size]) for at in range(len(whole) - size + 1)))


def _keys(runs: list[str]) -> list[tuple[int, ...]]:
    sketch = rensa.RMinHash(num_perm=_BANDS * _BAND, seed=0)
    sketch.update(runs)
    digest = sketch.digest()
    return [(band, *digest[band * _BAND : (band + 1) * _BAND]) for band in range(_BANDS)]


def _jaccard(one: set[str], other: frozenset[str]) -> float:
    common = len(one & other)
    return common / (len(one) + len(other) - common)
