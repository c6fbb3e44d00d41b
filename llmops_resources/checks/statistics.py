"""How the values of a column are spread: counted once by the validation, kept with its report.

Numbers and times: a histogram of equal bins between the smallest and the largest value, and quantiles by the nearest
rank. Texts: the same of their lengths in characters. Columns of few distinct values: the most frequent ones, unless
personal data was found in the column, since a report outlives the files.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from llmops_resources.checks.display import shown
from llmops_resources.checks.spool import Spool
from llmops_resources.values import Value

FEW = 1_000  # distinct values of which the most frequent are told
_BINS = 20
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_TOP = 8


class TopValue(Value):
    """One frequent value and how many rows have it."""

    value: Any
    count: int


class ColumnStatistics(Value):
    """`edges` (one more than `counts`) bound the bins of the histogram; a value on an edge is in the bin below it.

    `of` says what is binned: value or length. Times are seconds since 1970. `quantiles` are at 5, 25, 50, 75, 95 %.
    """

    of: str = "value"
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    quantiles: tuple[float, ...] = ()
    top: tuple[TopValue, ...] = ()


def spread(numbers: npt.NDArray[np.float64], of: str) -> ColumnStatistics:
    """Histogram and quantiles of sorted finite numbers."""
    if not len(numbers):
        return ColumnStatistics(of=of)
    low, high = float(numbers[0]), float(numbers[-1])
    edges: tuple[float, ...] = ()
    if low == high:
        edges = (low, high)
    elif np.isfinite(high - low):
        edges = (*(low + (high - low) * step / _BINS for step in range(_BINS)), high)
    steps = np.searchsorted(numbers, edges[1:], side="right") if edges else np.zeros(0, np.int64)
    ranks = [int((len(numbers) - 1) * share + 0.5) for share in _QUANTILES]
    return ColumnStatistics(
        of=of,
        edges=edges,
        counts=tuple(int(count) for count in np.diff(steps, prepend=0)),
        quantiles=tuple(float(numbers[rank]) for rank in ranks),
    )


def top_values(spool: Spool, names: Sequence[str]) -> dict[str, tuple[TopValue, ...]]:
    """The most frequent values of columns with few distinct ones, all of them in one pass."""
    if not names:
        return {}
    counted = (pl.col(name).drop_nulls().value_counts(name="count").implode() for name in names)
    found = spool.scan().select(counted).collect(engine="streaming")
    top: dict[str, tuple[TopValue, ...]] = {}
    for name in names:
        pairs = pl.DataFrame({"pair": found[name].explode()}).select(
            pl.col("pair").struct.field(name).alias("value"), pl.col("pair").struct.field("count").alias("rows")
        )
        first = pairs.sort(["rows", "value"], descending=[True, False]).head(_TOP)
        top[name] = tuple(TopValue(value=shown(value, 100), count=count) for value, count in first.iter_rows())
    return top
