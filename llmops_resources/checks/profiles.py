"""What every column of a data set is like, counted in one pass over its rows, each column decoded once.

For every cell the pass keeps a 64-bit hash and, where it means something, a number (the value, a time, or how long a
text is): `_CELLS` of them at a time, so that memory stays bounded however many columns there are. Distinct values and
distinct rows are counted by these hashes: of n of them, two differing ones are taken for equal with a probability of
n² / 2⁶⁵, about 10⁻⁸ for a million.
"""

import math
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from llmops_resources.checks.spool import ColumnType, Spool, SpooledColumn
from llmops_resources.checks.statistics import FEW, ColumnStatistics, TopValue, spread, top_values
from llmops_resources.values import Value

_CELLS = 4_000_000
_MAX_Z = 3.5
_MIX = np.uint64(0x9E3779B97F4A7C15)
_NUMERIC = {ColumnType.INTEGER, ColumnType.NUMBER}
_TIMES = {ColumnType.DATE, ColumnType.DATETIME}
_WORDED = {ColumnType.STRING, ColumnType.LIST, ColumnType.OBJECT}
_BLOCK = 256 * 1024  # bytes that stay in the cache
_BLANK, _BROKEN = 1, 2  # marks of a text; none is both, since what `_DAMAGED` names is no white space
# White space is, in UTF-8, up to 20, or begins with one of these bytes (U+0085, 00A0, 1680, 2000 to 205F, 3000).
_MAY_BE_BLANK = np.isin(np.arange(256), [*range(33), 0xC2, 0xE1, 0xE2, 0xE3])
_DAMAGED = "[\ufffd\x00-\x08\x0e-\x1f\x7f]"

Floats = npt.NDArray[np.float64]
Hashes = npt.NDArray[np.uint64]


class ColumnProfile(Value):
    """One column as people are told it; `outliers` is None where it means nothing."""

    name: str
    type: ColumnType
    nullable: bool
    nulls: int
    blank: int = 0
    distinct: int = 0
    minimum: str | None = None
    maximum: str | None = None
    mean: float | None = None
    mean_length: float | None = None
    outliers: int | None = None
    damaged: int = 0
    statistics: ColumnStatistics | None = None


class TableProfile(NamedTuple):
    """Every column, and how many rows differ from every other."""

    columns: tuple[ColumnProfile, ...]
    distinct_rows: int


def profile(spool: Spool, private: Collection[str] = ()) -> TableProfile:
    """The figures of every column; of `private` ones (with personal data) no value is kept."""
    rows: Hashes = np.zeros(spool.rows, np.uint64)
    figures: dict[str, dict[str, Any]] = {}
    together = max(1, _CELLS // max(spool.rows, 1))
    for start in range(0, len(spool.columns), together):
        columns = spool.columns[start : start + together]
        cells = spool.scan().select(e for c in columns for e in _expressions(spool, c)).collect(engine="streaming")
        for column in columns:
            hashes = cells[f"hash {column.name}"].to_numpy()
            np.multiply(rows, _MIX, out=rows)
            np.add(rows, hashes, out=rows)
            figures[column.name] = _figures(column, cells, private=column.name in private)
    few = [name for name, found in figures.items() if name not in private and 0 < found["distinct"] <= FEW]
    top = top_values(spool, few)
    return TableProfile(
        tuple(_profile(column, figures[column.name], top.get(column.name, ())) for column in spool.columns),
        int(pl.Series(rows).n_unique()),
    )


def _expressions(spool: Spool, column: SpooledColumn) -> Iterator[pl.Expr]:
    raw, value = pl.col(column.name), spool.typed(column)
    yield raw.hash(seed=0).alias(f"hash {column.name}")
    yield raw.is_null().alias(f"null {column.name}")
    if column.type in _WORDED:
        yield raw.str.len_chars().alias(f"x {column.name}")
        marks = raw.map_batches(_marks, return_dtype=pl.UInt8, is_elementwise=True)
        yield marks.alias(f"marks {column.name}")
    elif column.type in _NUMERIC | _TIMES:
        yield value.alias(f"x {column.name}")


def _marks(texts: pl.Series) -> pl.Series:
    """`_BLANK` where a text is white space only, `_BROKEN` where it matches `_DAMAGED`, else 0.

    Hardly any is: the first byte of most texts rules the one out, all bytes of many texts together the other.
    """
    marks = np.zeros(len(texts), np.uint8)
    _, places, whole = (flat := texts.to_arrow(compat_level=pl.CompatLevel.oldest())).buffers()
    data = np.frombuffer(whole or b"", np.uint8)
    starts = np.frombuffer(places or b"", np.int64)[flat.offset : flat.offset + len(texts)]
    if not len(data):
        suspects = np.arange(len(texts))
    else:  # an empty text has the first byte of another one, so its length is asked, too
        first = data[np.minimum(starts, len(data) - 1)]
        suspects = np.flatnonzero(_MAY_BE_BLANK[first] | (texts.str.len_bytes().fill_null(0) == 0).to_numpy())
    if len(suspects):
        blank = ~texts.gather(suspects).str.contains(r"\S").fill_null(True)
        marks[suspects[blank.to_numpy()]] = _BLANK
    if any(_is_suspect(data[start : start + _BLOCK]) for start in range(0, len(data), _BLOCK)):
        marks[texts.str.contains(_DAMAGED).fill_null(False).to_numpy()] = _BROKEN
    return pl.Series(texts.name, marks)


def _is_suspect(data: npt.NDArray[np.uint8]) -> bool:
    """Whether UTF-8 has a byte that `_DAMAGED` names, or one that the replacement character (EF BF BD) begins with."""
    controls = data.min() < 32 and ((data < 9).any() or (data - np.uint8(14) < 18).any())  # below 14 it wraps around
    return bool(controls or (data.max() >= 0x7F and ((data == 0x7F).any() or (data == 0xEF).any())))


def _figures(column: SpooledColumn, cells: pl.DataFrame, *, private: bool) -> dict[str, Any]:
    """The figures of one column; each needs its cells once."""
    name, kind = column.name, column.type
    null = cells[f"null {name}"]
    hashes = cells[f"hash {name}"]
    found: dict[str, Any] = {"nulls": int(null.sum())}
    found["distinct"] = int((hashes.filter(~null) if found["nulls"] else hashes).n_unique())
    if kind in _WORDED:
        lengths, marks = _finite(cells[f"x {name}"]), cells[f"marks {name}"].to_numpy()
        found |= {
            "blank": int(np.count_nonzero(marks == _BLANK)), "damaged": int(np.count_nonzero(marks == _BROKEN)),
            "mean_length": _mean(lengths), "outliers": _outliers(np.log1p(lengths)),
            "statistics": spread(lengths, "length"),
        }  # fmt: skip
    elif kind in _NUMERIC | _TIMES:
        values = cells[f"x {name}"]
        found |= {"minimum": _written(values, values.min()), "maximum": _written(values, values.max())}
        in_time = values.cast(pl.Datetime("us")).dt.timestamp("us").cast(pl.Float64) / 1e6 if kind in _TIMES else values
        numbers = _finite(in_time)
        if kind in _NUMERIC:
            beyond = len(values) - values.null_count() - len(numbers)  # NaN and infinities are far from everything
            found |= {"mean": _mean(numbers), "outliers": _outliers(numbers) + beyond}
        # of private values the smallest and the largest would be somebody's
        found["statistics"] = ColumnStatistics() if private else spread(numbers, "value")
    return found


def _profile(column: SpooledColumn, found: dict[str, Any], top: tuple[TopValue, ...]) -> ColumnProfile:
    statistics = found.pop("statistics", ColumnStatistics()).model_copy(update={"top": top})
    return ColumnProfile(
        name=column.name, type=column.type, nullable=found["nulls"] > 0, statistics=statistics, **found
    )  # fmt: skip


def _finite(values: pl.Series) -> Floats:
    """The finite numbers, sorted."""
    numbers: Floats = np.sort(values.drop_nulls().cast(pl.Float64).to_numpy())  # NaN comes last
    return numbers[np.searchsorted(numbers, -np.inf, "right") : np.searchsorted(numbers, np.inf)]


def _mean(numbers: Floats) -> float | None:
    with np.errstate(over="ignore"):
        mean = float(numbers.mean()) if len(numbers) else None
    return mean if mean is not None and math.isfinite(mean) else None


def _outliers(numbers: Floats) -> int:
    """How many sorted numbers have a modified z-score above the limit; none where over half of them are equal."""
    if not (count := len(numbers)):
        return 0
    middle = sorted({(count - 1) // 2, count // 2})  # one or two
    with np.errstate(over="ignore"):
        median = np.mean(numbers[middle])
        split = int(np.searchsorted(numbers, median))
        sides = median - numbers[:split][::-1], numbers[split:] - median  # deviations, both ascending
        usual = float(np.mean([_of_rank(*sides, rank) for rank in middle]))
        return sum(int(np.count_nonzero(side * 0.6745 > _MAX_Z * usual)) for side in sides) if usual > 0 else 0


def _of_rank(one: Floats, other: Floats, rank: int) -> float:
    """The number with this rank, from 0, among those of two ascending arrays together, without merging them."""
    low, high = max(0, rank - len(other)), min(rank, len(one))
    while low < high:
        taken = (low + high) // 2  # from `one`; the rest of the `rank` smallest are from `other`
        if one[taken] < other[rank - taken - 1]:
            low = taken + 1
        else:
            high = taken
    return float(min(side[at] for side, at in ((one, low), (other, rank - low)) if at < len(side)))


def _written(values: pl.Series, end: Any) -> str | None:
    return None if end is None else str(pl.Series([end], dtype=values.dtype).cast(pl.String)[0])
