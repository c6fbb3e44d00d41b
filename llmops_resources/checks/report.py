"""The check of a data set from its files to one verdict: structure, personal data and quality together."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from llmops_resources.checks.formats import DatasetFormat
from llmops_resources.checks.options import CheckOptions
from llmops_resources.checks.pii import PiiCoverage, PiiReport, PiiStatus, check_pii
from llmops_resources.checks.profiles import ColumnProfile, profile
from llmops_resources.checks.quality import QualityReport, check_quality
from llmops_resources.checks.schema import ExpectedSchema
from llmops_resources.checks.structure import StructureReport, check_structure
from llmops_resources.values import Value


class ValidationReport(Value):
    """Everything a check found. `reasons` says why it did not pass; `format` is None when that was not clear."""

    format: DatasetFormat | None
    row_count: int
    column_count: int
    columns: tuple[ColumnProfile, ...]
    structure: StructureReport
    pii: PiiReport
    quality: QualityReport
    quality_threshold: float
    recommendations: tuple[str, ...]
    passed: bool
    reasons: tuple[str, ...]


def check(
    files: Sequence[tuple[str, Path]],
    *,
    expected: ExpectedSchema | None = None,
    options: CheckOptions | None = None,
    progress: Callable[[str, float], None] = lambda _step, _fraction: None,
) -> ValidationReport:
    """Check `files`, pairs of declared name and local path, all of one format.

    `progress` is called with the step ("structure", "pii", "quality") and the finished fraction of that step.
    Bad data never raises: it is in the report. What could not be scanned is `pending` and does not pass.
    The rows are spooled to the temporary directory, about as many bytes as they decode to.
    """
    options = options or CheckOptions()
    with tempfile.TemporaryDirectory(prefix="llmops-check-") as folder:
        progress("structure", 0.0)
        fmt, structure, spool = check_structure(files, Path(folder), expected=expected, options=options)
        progress("structure", 1.0)
        if spool is None:
            columns: tuple[ColumnProfile, ...] = ()
            pii, quality = _nothing_scanned(structure, options), QualityReport(score=0, parts=())
        else:
            progress("pii", 0.0)
            pii = check_pii(spool, options, lambda fraction: progress("pii", fraction))
            progress("quality", 0.0)
            found = profile(spool, {count.column for count in pii.counts})
            progress("quality", 0.5)
            quality, columns = check_quality(spool, structure, found, expected), found.columns
            progress("quality", 1.0)
    reasons = reasons_against(structure, pii, quality, options.quality_threshold)
    return ValidationReport(
        format=fmt,
        row_count=spool.rows if spool else 0,
        column_count=len(columns),
        columns=columns,
        structure=structure,
        pii=pii,
        quality=quality,
        quality_threshold=options.quality_threshold,
        recommendations=recommendations(structure, pii, quality),
        passed=not reasons,
        reasons=reasons,
    )


def reasons_against(
    structure: StructureReport, pii: PiiReport, quality: QualityReport, threshold: float
) -> tuple[str, ...]:
    """Every reason why a data set with these reports does not pass; empty when it does."""
    reasons = []
    if not structure.passed:
        first = structure.problems[0].message if structure.problems else "no details"
        reasons.append(f"The structure has {_plural(structure.problem_count, 'problem')}, first: {first}")
    if pii.status is PiiStatus.FAILED:
        found = ", ".join(f"{kind} ({count})" for kind, count in pii.by_type.items() if kind in pii.blocking_types)
        reasons.append(f"Personal data was found: {found}")
    elif pii.status is PiiStatus.PENDING:
        reasons.append(f"The scan for personal data is not complete: {pii.detail}")
    if not quality.score >= threshold:
        reasons.append(f"The quality score {quality.score:g} is below {threshold:g}")
    return tuple(reasons)


def recommendations(structure: StructureReport, pii: PiiReport, quality: QualityReport) -> tuple[str, ...]:
    """What to do about the findings, each sentence once, the blocking ones first."""
    advice = [problem.remedy for problem in structure.problems]
    if pii.status is PiiStatus.FAILED:
        advice.append("Mask or remove the personal data of the blocking types, then upload the data as a new version.")
    advice += [part.recommendation for part in quality.parts]
    return tuple(dict.fromkeys(sentence for sentence in advice if sentence))


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _nothing_scanned(structure: StructureReport, options: CheckOptions) -> PiiReport:
    coverage = PiiCoverage(
        total_rows=structure.unreadable_rows,
        rows_scanned_rules=0,
        rows_scanned_ner=0,
        unreadable_rows=structure.unreadable_rows,
        columns=(),
        recognizers=(),
        model=None,
        ner_max_characters=options.ner_max_characters,
    )
    return PiiReport(
        status=PiiStatus.PENDING,
        findings=(),
        counts=(),
        by_type={},
        coverage=coverage,
        blocking_types=options.blocking_types,
        detail="the rows cannot be read",
    )
