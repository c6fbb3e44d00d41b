"""Figures with their bootstrap intervals. What has no score is no zero: it stays out, and `n` says what is in."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmops_resources.values import Value

CONFIDENCE = 0.95
RESAMPLES = 1_000
Counts = NDArray[np.int64]
#: How often each of some resamples drew of each group, of shape (resamples, groups); whole numbers.
Times = NDArray[np.float64]
_AT_ONCE: Final = 1 << 21  # counts that are held at a time
_ROWS: Final = 2_048
_CODES: Final = 1 << 62


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
    return interval(counts, lambda times: times @ distinct / len(scored), seed)


def bootstrap_totals(
    rows: ArrayLike, figure: Callable[[NDArray[np.float64]], float], seed: int = 0
) -> Estimate | None:
    """A figure of the column totals of `rows`, one row a sample, with its interval over resampled rows (Koehn 2004)."""
    table = np.asarray(rows, dtype=float)
    alone = each(figure)
    return interval(np.ones(len(table), dtype=np.int64), lambda times: alone(_totals(times, table)), seed)


def each(figure: Callable[[NDArray[np.float64]], float]) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """A figure of one row as figures of many."""
    return lambda rows: np.array([figure(row) for row in rows], dtype=float)


def interval(counts: Counts, figures: Callable[[Times], NDArray[np.float64]], seed: int) -> Estimate | None:
    """The figure of all samples, and the bounds within which `CONFIDENCE` of its values over resamples lie.

    Samples that are alike are one group: `counts` says how many each group has, and `figures` is asked for those of
    some resamples at once, with how often each drew of each group. A resample on which the figure is undefined (NaN)
    is left out. The same seed gives the same interval. None where there are no samples, or the figure of all is
    undefined: nothing measured is not zero.
    """
    n = int(counts.sum())
    value = float(figures(counts[None].astype(float))[0]) if n else float("nan")
    if not np.isfinite(value):
        return None
    drawn = np.concatenate([figures(times) for times in _resamples(np.random.default_rng(seed), counts, n)])
    defined = np.sort(drawn[np.isfinite(drawn)])
    if not len(defined):
        return None
    tail = round((1 - CONFIDENCE) / 2 * len(defined))
    return Estimate(value=value, n=n, low=float(defined[tail]), high=float(defined[-1 - tail]))


def grouped(rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], Counts]:
    """The distinct rows of a table of whole numbers from 0 on, in their order, and how many there are of each.

    As `np.unique` over the first axis, which compares rows as bytes and takes many times as long.
    """
    codes, size = np.zeros(len(rows), dtype=np.int64), 1
    for column in rows.T if len(rows) else ():
        base = int(column.max()) + 1
        if size * base > _CODES:
            known, codes = np.unique(codes, return_inverse=True)
            size = len(known)
        codes, size = codes * base + column, size * base
    _, first, counts = np.unique(codes, return_index=True, return_counts=True)
    return rows[first], counts


def _totals(times: Times, table: NDArray[np.float64]) -> NDArray[np.float64]:
    """`times @ table`, some rows at a time: a table that is long and narrow goes through the cache once, not often."""
    parts = range(0, len(table), _ROWS)
    found: NDArray[np.float64] = np.sum([times[:, at : at + _ROWS] @ table[at : at + _ROWS] for at in parts], axis=0)
    return found


def _resamples(rng: np.random.Generator, counts: Counts, n: int) -> Iterator[Times]:
    """`RESAMPLES` resamples, some at a time: of few groups how many of each, of many one sample after another.

    What is yielded is overwritten by the next."""
    groups = len(counts)
    many = max(1, min(RESAMPLES, _AT_ONCE // groups))
    owners: NDArray[Any] | None = np.repeat(np.arange(groups), counts) if groups > n // 8 else None
    times = np.empty((many, groups))
    for start in range(0, RESAMPLES, many):
        size = min(many, RESAMPLES - start)
        if owners is None:
            times[:size] = rng.multinomial(n, counts / n, size=size)
        else:
            for row in times[:size]:
                row[:] = np.bincount(owners[rng.integers(0, n, n)], minlength=groups)
        yield times[:size]
