"""How the values of a column are spread: counted once by the validation, kept with its report.

Numbers and times: a histogram of equal bins between the smallest and the largest value, and quantiles by the nearest
rank. Texts: the same of their lengths in characters. Columns of few distinct values: the most frequent ones, unless
personal data was found in the column, since a report outlives the files.
"""

from typing import Any

import polars as pl

from llmops_resources.checks.display import shown
from llmops_resources.checks.spool import ColumnType, Spool, SpooledColumn
from llmops_resources.values import Value

_BINS = 20
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_TOP = 8
_FEW = 1_000
_NUMERIC = {ColumnType.INTEGER, ColumnType.NUMBER}
_TIMES = {ColumnType.DATE, ColumnType.DATETIME}
_WORDED = {ColumnType.STRING, ColumnType.LIST, ColumnType.OBJECT}


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


def column_statistics(spool: Spool, column: SpooledColumn, distinct: int, *, private: bool) -> ColumnStatistics:
    """The statistics of one column with so many `distinct` values; a `private` one keeps none of its values."""
    value, of = _measured(spool, column)
    top = () if private or not 0 < distinct <= _FEW else _top(spool, column)
    if value is None:
        return ColumnStatistics(top=top)
    figures = spool.scan().select(value.alias("x")).filter(pl.col("x").is_finite())
    if private and of == "value":  # the smallest and the largest would be somebody's
        return ColumnStatistics(top=top)
    ends = figures.select(low=pl.col("x").min(), high=pl.col("x").max()).collect(engine="streaming").row(0)
    if ends[0] is None:
        return ColumnStatistics(of=of, top=top)
    low, high = float(ends[0]), float(ends[1])
    if high - low in (0.0, float("inf")):
        edges: tuple[float, ...] = (low, high) if low == high else ()
    else:
        edges = (*(low + (high - low) * step / _BINS for step in range(_BINS)), high)
    below = [(pl.col("x") <= edge).sum().alias(f"b{place}") for place, edge in enumerate(edges[1:])]
    ranks = [pl.col("x").quantile(q, "nearest").alias(f"q{place}") for place, q in enumerate(_QUANTILES)]
    row = figures.select(*below, *ranks).collect(engine="streaming").row(0)
    steps = [0, *row[: len(below)]]
    counts = tuple(int(steps[i + 1] - steps[i]) for i in range(len(below)))
    return ColumnStatistics(of=of, edges=edges, counts=counts, quantiles=tuple(map(float, row[len(below) :])), top=top)


def _measured(spool: Spool, column: SpooledColumn) -> tuple[pl.Expr | None, str]:
    value = spool.typed(column)
    if column.type in _NUMERIC:
        return value.cast(pl.Float64), "value"
    if column.type in _TIMES:
        return value.cast(pl.Datetime("us")).dt.timestamp("us").cast(pl.Float64) / 1e6, "value"
    if column.type in _WORDED:
        return pl.col(column.name).cast(pl.String).str.len_chars().cast(pl.Float64), "length"
    return None, "value"


def _top(spool: Spool, column: SpooledColumn) -> tuple[TopValue, ...]:
    groups = spool.scan().select(pl.col(column.name).alias("value")).drop_nulls().group_by("value").len()
    rows = groups.sort(["len", "value"], descending=[True, False]).head(_TOP).collect(engine="streaming").iter_rows()
    return tuple(TopValue(value=shown(value, 100), count=count) for value, count in rows)
