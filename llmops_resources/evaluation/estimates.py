"""Figures with their bootstrap intervals. What has no score is no zero: it stays out, and `n` says what is in."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmops_resources.values import Value

CONFIDENCE = 0.95
RESAMPLES = 1_000
Counts = NDArray[np.int64]


class Estimate(Value):
    """A figure over `n` samples and the bounds of its bootstrap interval."""

    value: float
    n: int
    low: float
    high: float


def bootstrap(values: Sequence[float | None], seed: int = 0) -> Estimate | None:
    """The mean of the scored values with its percentile bootstrap interval (Efron 1979); None if nothing is scored."""
    scored = np.array([value for value in values if value is not None], dtype=float)
    distinct, counts = np.unique(scored, return_counts=True)
    return interval(counts, lambda times: float(times @ distinct / times.sum()), seed)


def bootstrap_totals(
    rows: ArrayLike, figure: Callable[[NDArray[np.float64]], float], seed: int = 0
) -> Estimate | None:
    """A figure of the column totals of `rows`, one row a sample, with its interval over resampled rows (Koehn 2004)."""
    table = np.asarray(rows, dtype=float)
    return interval(np.ones(len(table), dtype=np.int64), lambda times: figure(times @ table), seed)


def interval(counts: Counts, figure: Callable[[Counts], float], seed: int) -> Estimate | None:
    """`figure` of all samples, and the bounds within which `CONFIDENCE` of its values over resamples lie.

    Samples that are alike are one group: `counts` says how many each group has, and `figure` is asked with how often a
    resample drew of each. A resample on which the figure is undefined (NaN) is left out. The same seed gives the same
    interval. None where there are no samples, or the figure of all is undefined: nothing measured is not zero.
    """
    n = int(counts.sum())
    value = figure(counts) if n else float("nan")
    if not np.isfinite(value):
        return None
    rng = np.random.default_rng(seed)
    drawn = np.array([figure(_draw(rng, counts, n)) for _ in range(RESAMPLES)])
    defined = np.sort(drawn[np.isfinite(drawn)])
    if not len(defined):
        return None
    tail = round((1 - CONFIDENCE) / 2 * len(defined))
    return Estimate(value=value, n=n, low=float(defined[tail]), high=float(defined[-1 - tail]))


def _draw(rng: np.random.Generator, counts: Counts, n: int) -> Counts:
    if len(counts) == n:
        return np.bincount(rng.integers(0, n, n), minlength=n)
    return rng.multinomial(n, counts / n)
