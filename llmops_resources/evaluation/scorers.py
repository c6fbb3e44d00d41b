"""Scores of an answer against the expected one: exact match and F1 as in SQuAD, BLEU as in sacreBLEU. Pure functions.

A mean is over the samples that have a score. A sample without an answer is counted as unscored and is no zero.
"""

import random
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import partial
from typing import Annotated, TypeVar

from pydantic import Field
from sacrebleu.metrics.bleu import BLEU

from llmops_resources.values import Value

CONFIDENCE = 0.95
RESAMPLES = 1_000
T = TypeVar("T")
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


class Metric(StrEnum):
    """What an evaluation can measure."""

    EXACT_MATCH = "exact_match"
    F1 = "f1"
    BLEU = "bleu"
    PERPLEXITY = "perplexity"


class Suite(Value):
    """How a model is asked and scored; the content of the evaluation program's `suite.json`.

    `sample_size` missing means every row. `max_new_tokens` bounds an answer, in tokens.
    """

    prompt_column: Annotated[str, Field(min_length=1)] = "question"
    answer_column: Annotated[str, Field(min_length=1)] = "answer"
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)] = tuple(Metric)
    sample_size: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    max_new_tokens: Annotated[int, Field(ge=1, le=4_096)] = 48


class Estimate(Value):
    """A figure over `n` samples and the bounds of its bootstrap interval."""

    value: float
    n: int
    low: float
    high: float


def normalize(text: str) -> str:
    """Lower case, no punctuation, no articles, single spaces: `normalize_answer` of SQuAD v1.1 (Rajpurkar 2016)."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(actual: str, expected: str) -> float:
    """1.0 when both are equal after `normalize`, else 0.0."""
    return float(normalize(actual) == normalize(expected))


def f1(actual: str, expected: str) -> float:
    """The harmonic mean of precision and recall over the words after `normalize`, counting repeated words; 0 to 1.

    Where one side is empty it is 1.0 when both are, else 0.0 (as in SQuAD v2.0).
    """
    got, wanted = normalize(actual).split(), normalize(expected).split()
    if not got or not wanted:
        return float(got == wanted)
    common = sum((Counter(got) & Counter(wanted)).values())
    return 2 * common / (len(got) + len(wanted))


def corpus_bleu(actual: Sequence[str], expected: Sequence[str]) -> float:
    """BLEU of all answers together, 0 to 100 (Papineni 2002), tokenized and smoothed as `bleu_signature` says."""
    if len(actual) != len(expected):
        raise ValueError(f"{len(actual)} answers for {len(expected)} references")
    return float(BLEU().corpus_score(list(actual), [list(expected)]).score) if actual else 0.0


def bleu_signature() -> str:
    """The sacreBLEU signature: reference count, case, tokenizer, smoothing and version."""
    metric = BLEU()
    metric.corpus_score(["a"], [["a"]])
    return str(metric.get_signature())


def bootstrap(values: Sequence[float | None], seed: int = 0) -> Estimate | None:
    """The mean of the scored values with its percentile bootstrap interval (Efron 1979); None if nothing is scored."""
    scored = [value for value in values if value is not None]
    return interval(scored, lambda sample: sum(sample) / len(sample), seed)


def bootstrap_bleu(actual: Sequence[str], expected: Sequence[str], seed: int = 0) -> Estimate | None:
    """Corpus BLEU with its interval over resampled sentences (Koehn 2004), from statistics gathered once a sentence."""
    if len(actual) != len(expected):
        raise ValueError(f"{len(actual)} answers for {len(expected)} references")
    metric = BLEU()
    # sacreBLEU's own resampling does the same, but tells mean and half-width and not the bounds.
    rows = metric._extract_corpus_statistics(list(actual), [list(expected)]) if actual else []  # noqa: SLF001
    return interval(rows, partial(_bleu_of, metric), seed)


def interval(samples: Sequence[T], figure: Callable[[Sequence[T]], float], seed: int) -> Estimate | None:
    """`figure` of all samples, and the bounds within which `CONFIDENCE` of its values over resamples lie.

    The same seed gives the same interval. None where there are no samples: nothing measured is not zero.
    """
    if not samples:
        return None
    rng = random.Random(seed)  # noqa: S311  (statistics, no secret)
    drawn = sorted(figure(rng.choices(samples, k=len(samples))) for _ in range(RESAMPLES))
    tail = round((1 - CONFIDENCE) / 2 * RESAMPLES)
    return Estimate(value=figure(samples), n=len(samples), low=drawn[tail], high=drawn[-1 - tail])


def _bleu_of(metric: BLEU, rows: Sequence[list[int]]) -> float:
    totals = [sum(column) for column in zip(*rows, strict=True)]
    return float(metric._compute_score_from_stats(totals).score)  # noqa: SLF001
