"""A score from 0 to 100 for a data set, from six figures that anyone can recompute.

Each part falls linearly from 100 (figure 0) to 0 (figure at its `limit`); the score is their weighted mean, but no more
than 50 plus half the worst part, so that one ruined part is not hidden by four good ones. A part that cannot be
judged has no score and its weight goes to the others. Outliers: modified z-score above 3.5 (Iglewicz and Hoaglin 1993),
.6745 |x - median| / MAD, on numbers as they are and on log(1 + characters) of texts.
Poisoned rows: median and MAD do not move until half of the values are hostile, and every other figure is a share of the
rows, so k hostile rows among n move each of them by k / n at most, and added rows are told by the row count.
"""

from typing import NamedTuple

from llmops_resources.checks.profiles import TableProfile
from llmops_resources.checks.repeats import near_repeats
from llmops_resources.checks.schema import ExpectedSchema
from llmops_resources.checks.spool import Spool
from llmops_resources.checks.structure import StructureReport
from llmops_resources.values import Value


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
    # Where the figure comes from a sample, its size. A repeat whose original is not in the sample is not seen there,
    # so the share in the whole is no smaller.
    rows_looked_at: int | None = None


class QualityReport(Value):
    score: float
    parts: tuple[QualityPart, ...]


def check_quality(
    spool: Spool, structure: StructureReport, profile: TableProfile, expected: ExpectedSchema | None
) -> QualityReport:
    """Score the readable rows; unreadable ones count against the format. Equal rows give equal scores."""
    columns = profile.columns
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
        _part("duplicates", "rows", 1 - profile.distinct_rows / rows),
        _near_part(spool),
        _part(
            "distribution",
            "values",
            outliers / (rows * len(judged)) if judged else None,
            "No column holds numbers or texts whose spread could be judged.",
        ),
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
    part = _part("near_duplicates", "rows", figure, "No row has the twelve words that a comparison needs.")
    return part.model_copy(update={"rows_looked_at": looked_at})


def _score(parts: tuple[QualityPart, ...]) -> float:
    judged = [(part.weight, part.score) for part in parts if part.score is not None]
    mean = sum(weight * score for weight, score in judged) / sum(weight for weight, _ in judged)
    return round(min(mean, 50 + min(score for _, score in judged) / 2), 1)

