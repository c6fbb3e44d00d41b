"""How much of a benchmark the model may have seen in training: the shape of what the evaluation program measured."""

from enum import StrEnum
from uuid import UUID

from pydantic import Field

from llmops_resources.evaluation.scores import Score
from llmops_resources.values import Value


class How(StrEnum):
    """By what a sample overlaps: a run of its tokens, or a row that nearly repeats it (Jaccard similarity)."""

    NGRAM = "ngram"
    NEAR_DUPLICATE = "near_duplicate"


class Overlap(Value):
    """A sample (by its row in the benchmark) and the first training row, counted from 0, that overlaps with it."""

    index: int
    how: How
    dataset: str
    version: str
    row: int


class Source(Value):
    """A data set version the model came from: how many of its rows were read, and why not all (`reason`)."""

    id: UUID
    name: str
    version: str
    rows_total: int | None = None
    rows_read: int = 0
    reason: str | None = None


class Training(Value):
    """Where a model came from: `sources` with its data, `unknown` with the models whose data the catalog lacks."""

    sources: tuple[Source, ...] = ()
    unknown: tuple[str, ...] = ()


class Contamination(Value):
    """What of the benchmark was found in the training data.

    `measured` is false, with the `reason`, where no training row could be read. `complete` says that all of the data
    the model came from is known and was read; otherwise a sample without an overlap may still have been seen.
    `clean` are the metrics over the `samples - len(overlaps)` samples without a found overlap.
    """

    measured: bool
    reason: str | None = None
    complete: bool = False
    method: str = ""
    samples: int = 0
    overlaps: tuple[Overlap, ...] = ()
    clean: dict[str, Score] = Field(default_factory=dict)
    training: Training = Training()
