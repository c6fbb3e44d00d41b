"""Scores of classification and of named entities over all samples together."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmops_resources.evaluation.estimates import Estimate, bootstrap_totals, each, grouped, interval
from llmops_resources.evaluation.scorers.answers import label

Spans = set[tuple[str, int, int]]


def macro_f1(actual: Sequence[str], expected: Sequence[str], seed: int = 0) -> Estimate | None:
    """The mean F1 of the labels that the references use, each weighing the same; 0 to 1.

    A label that only the model uses is no class of the task: it costs the recall of the label that was right.
    """
    return _f1(actual, expected, seed, macro=True)


def micro_f1(actual: Sequence[str], expected: Sequence[str], seed: int = 0) -> Estimate | None:
    """F1 of the decisions for any label that the references use, counted together; 0 to 1.

    It is above the accuracy where the model answers outside of the labels: such an answer is missed, not wrong too.
    """
    return _f1(actual, expected, seed, macro=False)


def is_tag_sequence(text: str) -> bool:
    """Whether a text is IOB2 tags parted by spaces, such as `B-PER I-PER O`."""
    tags = text.split()
    return bool(tags) and all(_is_tag(tag) for tag in tags)


def entities(actual: str, expected: str) -> tuple[Spans, Spans]:
    """The entities that an answer and its reference tag, by seqeval's strict IOB2: type, start and end in tokens.

    Both are tags parted by spaces. What is no tag counts as `O`; an answer with another number of tags than its
    reference cannot be aligned and tags nothing.
    """
    got, wanted = actual.split(), expected.split()
    return _spans([tag if _is_tag(tag) else "O" for tag in got]) if len(got) == len(wanted) else set(), _spans(wanted)


def entity_f1(got: Spans, wanted: Spans) -> float:
    """F1 of one sample's entities; 1.0 where there are none and none was found."""
    return 2 * len(got & wanted) / (len(got) + len(wanted)) if got or wanted else 1.0


def ner_f1(pairs: Sequence[tuple[Spans, Spans]], seed: int = 0) -> Estimate | None:
    """The micro-averaged strict F1 over the entities of all samples, 0 to 1; None where nobody tagged anything."""
    rows = [(len(got & wanted), len(got), len(wanted)) for got, wanted in pairs]
    return bootstrap_totals(np.reshape(rows, (-1, 3)), lambda t: _ratio(2 * t[0], t[1] + t[2]), seed)


def _f1(actual: Sequence[str], expected: Sequence[str], seed: int, *, macro: bool) -> Estimate | None:
    if len(actual) != len(expected):
        raise ValueError(f"{len(actual)} answers for {len(expected)} references")
    classes = {name: number for number, name in enumerate(dict.fromkeys(map(label, expected)))}
    outside = len(classes)
    answered = zip(map(label, actual), map(label, expected), strict=True)
    pairs = [(classes.get(got, outside), classes[want]) for got, want in answered]
    distinct, counts = grouped(np.reshape(pairs, (-1, 2)).astype(np.int64))
    got, want = distinct[:, 0], distinct[:, 1]

    def figure(times: NDArray[np.float64]) -> float:
        found = np.bincount(got, times, minlength=outside + 1)[:outside]
        there = np.bincount(want, times, minlength=outside)
        right = np.bincount(want, times * (got == want), minlength=outside)
        if not macro:
            return _ratio(2 * right.sum(), found.sum() + there.sum())
        return _macro(right, found, there)

    return interval(counts, each(figure), seed)


def _macro(right: NDArray[Any], found: NDArray[Any], there: NDArray[Any]) -> float:
    drawn = there > 0  # a class that a resample missed has no recall there
    return float(np.mean(2 * right[drawn] / (found + there)[drawn]))


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


def _is_tag(tag: str) -> bool:
    return tag == "O" or (tag[:2] in {"B-", "I-"} and len(tag) > 2)


def _spans(tags: list[str]) -> Spans:
    """As seqeval's strict IOB2: only B begins an entity, and only I of the same type goes on with it."""
    found: Spans = set()
    kind, start = "", -1
    for at, tag in enumerate([*tags, "O"]):
        mark, _, name = tag.partition("-")
        if start >= 0 and (mark, name) != ("I", kind):
            found.add((kind, start, at))
            start = -1
        if mark == "B":
            kind, start = name, at
    return found
