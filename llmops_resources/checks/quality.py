"""A score from 0 to 100 for a data set, from six figures that anyone can recompute.

Each part falls linearly from 100 (figure 0) to 0 (figure at its `limit`); the score is their weighted mean, but no more
than 50 plus half the worst part, so that one ruined part is not hidden by four good ones. A part that cannot be
judged has no score and its weight goes to the others. Outliers: modified z-score above 3.5 (Iglewicz and Hoaglin 1993),
.6745 |x - median| / MAD, on numbers as they are and on log(1 + characters) of texts.
Poisoned rows: median and MAD do not move until half of the values are hostile, and every other figure is a share of the
rows, so k hostile rows among n move each of them by k / n at most, and added rows are told by the row count.
"""

from collections.abc import Collection
from typing import NamedTuple

import polars as pl

from llmops_resources.checks.repeats import near_repeats
from llmops_resources.checks.schema import ExpectedSchema
from llmops_resources.checks.spool import ColumnType, Spool, SpooledColumn
from llmops_resources.checks.statistics import ColumnStatistics, column_statistics
from llmops_resources.checks.structure import StructureReport
from llmops_resources.values import Value

_MAX_Z = 3.5


class _Part(NamedTuple):
    weight: float
    limit: float
    advice: str


_PARTS = {
    "missing_values": _Part(0.25, 0.5, "Fill in empty cells, or drop their rows; declare columns that may be empty."),
    "duplicates": _Part(0.2, 0.5, "Remove rows that repeat another row exactly."),
    "near_duplicates": _Part(0.05, 0.5, "Look at rows that differ from another in a few words, and keep one of each."),
    "distribution": _Part(0.15, 0.2, "Look at the values far from the rest: they may be errors or another unit."),
    "schema_compliance": _Part(0.2, 0.1, "Correct the rows that break the declared schema."),
    "format": _Part(0.15, 0.1, "Repair unreadable rows, and texts with replacement or control characters."),
}  # fmt: skip


class QualityPart(Value):
    """One part: `figure` is the affected share (0 to 1) of what `measure` names; None with no score was not judged."""

    name: str
    measure: str
    figure: float | None
    weight: float
    score: float | None
    recommendation: str = ""
    rows_looked_at: int | None = None  # where the figure comes from a sample, the size of it


class QualityReport(Value):
    score: float
    parts: tuple[QualityPart, ...]


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


def profile(spool: Spool) -> tuple[ColumnProfile, ...]:
    """Every column's figures, one column in memory at a time."""
    frame = spool.scan()
    return tuple(_column_profile(frame, spool, column) for column in spool.columns)


def with_statistics(
    spool: Spool, columns: tuple[ColumnProfile, ...], private: Collection[str]
) -> tuple[ColumnProfile, ...]:
    """The profiles with how their values are spread; of `private` columns no value is kept."""
    spread = (
        column_statistics(spool, column, profiled.distinct, private=column.name in private)
        for column, profiled in zip(spool.columns, columns, strict=True)
    )
    return tuple(
        profiled.model_copy(update={"statistics": found}) for profiled, found in zip(columns, spread, strict=True)
    )


def _column_profile(frame: pl.LazyFrame, spool: Spool, column: SpooledColumn) -> ColumnProfile:
    value, raw = spool.typed(column), pl.col(column.name)
    is_text = frame.select(raw).collect_schema().dtypes()[0] == pl.String
    worded = column.type in {ColumnType.STRING, ColumnType.LIST, ColumnType.OBJECT}
    ordered = column.type in {ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.DATE, ColumnType.DATETIME}
    numeric = column.type in {ColumnType.INTEGER, ColumnType.NUMBER}
    figures = [raw.null_count().alias("nulls"), raw.drop_nulls().hash().n_unique().alias("distinct")]
    if is_text:
        figures += [
            raw.str.contains(r"^\s*$").sum().alias("blank"),
            raw.str.contains("[\ufffd\x00-\x08\x0e-\x1f\x7f]").sum().alias("damaged"),
        ]
    if ordered:
        figures += [value.min().cast(pl.String).alias("minimum"), value.max().cast(pl.String).alias("maximum")]
    if numeric:
        finite = value.cast(pl.Float64)
        figures.append(finite.filter(finite.is_finite()).mean().alias("mean"))
    if worded:
        figures.append(raw.str.len_chars().mean().alias("mean_length"))
    row = frame.select(figures).collect(engine="streaming").row(0, named=True)
    measured = value.cast(pl.Float64) if numeric else raw.str.len_chars().log1p() if worded else None
    outliers = None if measured is None else _outliers(frame.select(measured.alias("x")))
    return ColumnProfile(
        name=column.name, type=column.type, nullable=row["nulls"] > 0, outliers=outliers,
        **{key: figure for key, figure in row.items() if figure is not None},
    )  # fmt: skip


def _outliers(measured: pl.LazyFrame) -> int:
    """How many values have a modified z-score above the limit; none where over half of them are equal."""
    values = measured.drop_nulls().collect(engine="streaming")["x"]
    deviation = (values - values.median()).abs()
    spread = deviation.median()
    if not isinstance(spread, float) or not spread > 0:
        return 0
    return int((deviation * 0.6745 > _MAX_Z * spread).sum())


def check_quality(
    spool: Spool, structure: StructureReport, columns: tuple[ColumnProfile, ...], expected: ExpectedSchema | None
) -> QualityReport:
    """Score the readable rows; unreadable ones count against the format. Equal rows give equal scores."""
    rows, total = spool.rows, spool.rows + spool.unreadable
    may_be_empty = {column.name for column in expected.columns if column.nullable} if expected else set()
    counted = [column for column in columns if column.name not in may_be_empty]
    judged = [column for column in columns if column.outliers is not None]
    missing = sum(column.nulls + column.blank for column in counted)
    outliers = sum(column.outliers or 0 for column in judged)
    damaged = min(sum(column.damaged for column in columns), rows)
    compliant = structure.compliant_rows
    parts = (
        _part("missing_values", "cells", missing / (rows * len(counted)) if counted else 0.0),
        _part("duplicates", "rows", 1 - _distinct_rows(spool) / rows),
        _near_part(spool),
        _part("distribution", "values", outliers / (rows * len(judged)) if judged else None),
        _part(
            "schema_compliance",
            "rows",
            None if compliant is None else 1 - compliant / rows,
            "Declare a schema, so that compliance can be judged.",
        ),
        _part("format", "rows", (spool.unreadable + damaged) / total),
    )
    return QualityReport(score=_score(parts), parts=parts)


def _part(name: str, measure: str, figure: float | None, unjudged: str = "") -> QualityPart:
    weight, limit, advice = _PARTS[name]
    score = None if figure is None else round(100 * max(0.0, 1 - figure / limit), 1)
    return QualityPart(
        name=name,
        measure=measure,
        figure=None if figure is None else round(figure, 6),
        weight=weight,
        score=score,
        recommendation=unjudged if score is None else "" if score == 100 else advice,
    )


def _near_part(spool: Spool) -> QualityPart:
    looked_at, repeats = near_repeats(spool)
    figure = repeats / looked_at if looked_at else None
    part = _part("near_duplicates", "rows", figure, "")
    return part.model_copy(update={"rows_looked_at": looked_at})


def _score(parts: tuple[QualityPart, ...]) -> float:
    judged = [(part.weight, part.score) for part in parts if part.score is not None]
    mean = sum(weight * score for weight, score in judged) / sum(weight for weight, _ in judged)
    return round(min(mean, 50 + min(score for _, score in judged) / 2), 1)


def _distinct_rows(spool: Spool) -> int:
    """Rows that differ from every other, by a 64-bit hash (8 bytes a row in memory)."""
    names = [column.name for column in spool.columns]
    hashed = spool.scan().select(pl.struct(names).hash(seed=0).alias("hash"))
    return int(hashed.select(pl.col("hash").n_unique()).collect(engine="streaming").item())
