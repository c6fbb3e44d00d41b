"""What two validation reports say about the difference of two versions: personal data and quality."""

from llmops_resources.checks.report import ValidationReport
from llmops_resources.values import Value


class PiiDelta(Value):
    """Findings of one type in each version; None where that version has no report."""

    type: str
    older: int | None
    newer: int | None
    blocking: bool


class QualityDelta(Value):
    """A part's score in each version; None where it was not judged."""

    name: str
    older: float | None
    newer: float | None


class ReportDelta(Value):
    """Statuses and scores of both reports; None stands for a version that was not validated, which is never a pass."""

    older_pii: str | None
    newer_pii: str | None
    older_score: float | None
    newer_score: float | None
    pii: tuple[PiiDelta, ...]
    quality: tuple[QualityDelta, ...]


def report_delta(older: ValidationReport | None, newer: ValidationReport | None) -> ReportDelta:
    """Both reports side by side, types and parts in the order in which they appear."""
    types = dict.fromkeys(kind for report in (older, newer) if report for kind in report.pii.by_type)
    blocking = {kind for report in (older, newer) if report for kind in report.pii.blocking_types}
    scores = [{part.name: part.score for part in report.quality.parts} if report else {} for report in (older, newer)]
    return ReportDelta(
        older_pii=str(older.pii.status) if older else None,
        newer_pii=str(newer.pii.status) if newer else None,
        older_score=older.quality.score if older else None,
        newer_score=newer.quality.score if newer else None,
        pii=tuple(
            PiiDelta(type=kind, older=_found(older, kind), newer=_found(newer, kind), blocking=kind in blocking)
            for kind in types
        ),
        quality=tuple(
            QualityDelta(name=name, older=scores[0].get(name), newer=scores[1].get(name))
            for name in dict.fromkeys((*scores[0], *scores[1]))
        ),
    )


def _found(report: ValidationReport | None, kind: str) -> int | None:
    return None if report is None else report.pii.by_type.get(kind, 0)
