"""What a pass over the training data is: an order of small arrays that name rows, and the batches made of them.

An order is cheap, so a run that goes on at step 10,000 takes its place in it without making 9,999 batches, and every
process of a distributed run knows what the others have.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from llmops_assets.training.tokens import IGNORED, Batch, Pair

Rows = NDArray[np.int64]
DOCUMENTS_AT_ONCE = 1_000


class Source(Protocol):
    """Where batches come from; `tokens_a_pass` counts tokens, `steps_a_pass` the entries of about one order."""

    steps_a_pass: int
    tokens_a_pass: int

    def order(self, rng: np.random.Generator) -> list[Rows]:
        """One pass: what each step takes."""

    def batch(self, rows: Rows) -> Batch:
        """The sequences that `rows` names."""

    def learned(self, rows: Rows) -> int:
        """How many tokens the loss on `batch(rows)` is over."""


class Packed:
    """Documents end to end in one array of token ids, read in windows of `length`: no padding anywhere."""

    def __init__(self, tokens: NDArray[Any], length: int, batch_size: int) -> None:
        self._tokens, self._length, self._batch_size = tokens, min(length, len(tokens)), batch_size
        self.steps_a_pass = max(1, len(tokens) // max(self._length, 1) // batch_size)
        self.tokens_a_pass = len(tokens)

    def order(self, rng: np.random.Generator) -> list[Rows]:
        """Where the windows of each step begin: shuffled, from a random offset."""
        last = len(self._tokens) - self._length
        offset = int(rng.integers(0, min(self._length, last + 1)))
        starts = rng.permutation(np.arange(offset, last + 1, self._length))
        return _cut(starts, self._batch_size)

    def batch(self, rows: Rows) -> Batch:
        """Windows as inputs and labels at once, shape `(len(rows), length)`."""
        windows = np.stack([self._tokens[start : start + self._length] for start in rows])
        inputs = torch.from_numpy(windows.astype(np.int64))
        return Batch(inputs, inputs)

    def learned(self, rows: Rows) -> int:
        """Every token but the first of each window."""
        return len(rows) * (self._length - 1)


class Pairs:
    """Questions with answers in flat arrays, padded or packed.

    Padded, a step holds pairs of like length, so that little is padding. With `packing` a step's pairs are any, and
    short ones share a sequence, which is as long as the longest; for models whose attention stays within each text.
    """

    POOL = 16  # steps whose pairs are sorted by length together

    def __init__(self, pairs: Iterable[Pair], batch_size: int, pad: int, *, packing: bool = False) -> None:
        chosen = list(pairs)
        self._packing = packing
        self._lengths = np.asarray([len(pair.ids) for pair in chosen], dtype=np.int64)
        self._prompts = np.asarray([pair.prompt for pair in chosen], dtype=np.int64)
        self._ends = np.cumsum(self._lengths)
        self._ids = np.fromiter((token for pair in chosen for token in pair.ids), dtype=np.int64)
        self._batch_size, self._pad = batch_size, pad
        self.steps_a_pass = math.ceil(len(chosen) / batch_size)
        self.tokens_a_pass = len(self._ids)

    def order(self, rng: np.random.Generator) -> list[Rows]:
        """The pairs of each step, shuffled."""
        shuffled = rng.permutation(len(self._lengths))
        if self._packing:
            return _cut(shuffled, self._batch_size)
        pool = self._batch_size * self.POOL
        steps = []
        for start in range(0, len(shuffled), pool):
            rows = shuffled[start : start + pool]
            steps += _cut(rows[np.argsort(self._lengths[rows], kind="stable")], self._batch_size)
        return [steps[index] for index in rng.permutation(len(steps))]

    def batch(self, rows: Rows) -> Batch:
        """The pairs padded on the right, where a causal model never looks, so no attention mask is needed."""
        if self._packing:
            return self._packed(rows)
        width = int(self._lengths[rows].max())
        inputs = torch.full((len(rows), width), self._pad, dtype=torch.long)
        labels = torch.full((len(rows), width), IGNORED, dtype=torch.long)
        for row, index in enumerate(rows):
            end, length, prompt = self._ends[index], int(self._lengths[index]), int(self._prompts[index])
            ids = torch.from_numpy(self._ids[end - length : end])
            inputs[row, :length] = ids
            labels[row, prompt:length] = ids[prompt:]
        return Batch(inputs, labels)

    def _packed(self, rows: Rows) -> Batch:
        """The pairs, longest first, each in the first sequence that has room for it; the rest is a text too."""
        width = int(self._lengths[rows].max())
        sequences: list[list[int]] = []
        room: list[int] = []
        for index in rows[np.argsort(-self._lengths[rows], kind="stable")]:
            length = int(self._lengths[index])
            at = next((at for at, left in enumerate(room) if left >= length), len(room))
            if at == len(room):
                sequences.append([])
                room.append(width)
            sequences[at].append(int(index))
            room[at] -= length
        inputs = torch.full((len(sequences), width), self._pad, dtype=torch.long)
        labels, positions = torch.full_like(inputs, IGNORED), torch.zeros_like(inputs)
        for row, members in enumerate(sequences):
            start = 0
            for index in members:
                end, length = self._ends[index], int(self._lengths[index])
                first = max(int(self._prompts[index]), 1)  # nothing of its own text is before the first token
                ids = torch.from_numpy(self._ids[end - length : end])
                inputs[row, start : start + length] = ids
                labels[row, start + first : start + length] = ids[first:]
                positions[row, start : start + length] = torch.arange(length)
                start += length
            positions[row, start:] = torch.arange(width - start)
        return Batch(inputs, labels, positions)

    def learned(self, rows: Rows) -> int:
        """The tokens of the answers (a sequence's first token has nothing before it)."""
        return int((self._lengths[rows] - np.maximum(self._prompts[rows], 1)).sum())


def pack(tokenizer: PreTrainedTokenizerBase, documents: Iterable[str], path: Path) -> NDArray[Any]:
    """All documents in one array, each followed by the end-of-text token; it lies in `path` and is mapped from there.

    uint16 where the vocabulary fits in it, else uint32.
    """
    kind = np.uint16 if len(tokenizer) <= 2**16 else np.uint32
    end = tokenizer.eos_token_id
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        for some in _some(documents, DOCUMENTS_AT_ONCE):
            for ids in tokenizer(some, add_special_tokens=False)["input_ids"]:
                file.write(np.asarray([*ids, end], dtype=kind).tobytes())
    part.rename(path)
    return packed(tokenizer, path)


def packed(tokenizer: PreTrainedTokenizerBase, path: Path) -> NDArray[Any]:
    """What `pack` wrote."""
    kind = np.uint16 if len(tokenizer) <= 2**16 else np.uint32
    return np.memmap(path, dtype=kind, mode="r") if path.stat().st_size else np.empty(0, dtype=kind)


def from_step(source: Source, seed: int, first: int) -> Iterator[Rows]:
    """What the steps from `first` (counted from 0) on take, pass after pass without end."""
    epoch, skipped = 0, 0
    while True:
        order = source.order(np.random.default_rng((seed, epoch)))
        yield from order[max(first - skipped, 0) :]
        skipped += len(order)
        epoch += 1


def _cut(rows: Rows, size: int) -> list[Rows]:
    return [rows[first : first + size] for first in range(0, len(rows), size)]


def _some(texts: Iterable[str], count: int) -> Iterator[Sequence[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == count:
            yield batch
            batch = []
    if batch:
        yield batch
