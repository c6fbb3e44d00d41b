"""Validations as work: requested with the upload, claimed by a run, finished with a report that becomes evidence."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select

from llmops_resources import work
from llmops_resources.catalog import evidence, lineage_events, versions
from llmops_resources.catalog.deletion import Blocker
from llmops_resources.catalog.evidence import EvidenceKind
from llmops_resources.catalog.lifecycle import Kind, PiiStatus
from llmops_resources.catalog.lineage_events import Phase
from llmops_resources.catalog.versions import Version
from llmops_resources.checks.report import ValidationReport
from llmops_resources.checks.tables import ValidationRow
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, NotFound
from llmops_resources.values import Value
from llmops_resources.work import WorkItem, WorkState, WorkStatus

ROOM = "checks"


class Validation(Value):
    """One check of a data set version; `report` is there once it succeeded."""

    id: UUID
    dataset_id: UUID
    digest: str
    state: WorkState
    report: ValidationReport | None


class ValidationTask(Value):
    """What the run that claimed a validation needs."""

    id: UUID
    dataset: Version


def request(tx: Transaction, dataset_id: UUID) -> Validation:
    """Ask for the data set's files to be checked; while one check is under way, that one is returned."""
    dataset = versions.get(tx, dataset_id, Kind.DATASET)
    manifest = dataset.manifest
    active = select(ValidationRow).filter_by(dataset_id=dataset.id).where(ValidationRow.status.in_(work.ACTIVE))
    if (running := tx.session.scalar(active)) is not None:
        return _value(running)
    row = ValidationRow(dataset_id=dataset.id, digest=manifest.digest, requested_by=tx.actor.id)
    tx.session.add(row)
    tx.session.flush()
    tx.audit("validation.request", "dataset", dataset.id, validation=str(row.id), digest=manifest.digest)
    return _value(row)


def latest(tx: Transaction, dataset_id: UUID) -> Validation:
    """The newest validation of a data set. Raises NotFound when none was ever requested."""
    query = select(ValidationRow).filter_by(dataset_id=dataset_id).order_by(ValidationRow.requested_at.desc())
    row = tx.session.scalar(query.limit(1))
    if row is None:
        raise NotFound("this data set was never validated", remedy="Upload its files; the validation then starts.")
    return _value(row)


def newest_report(tx: Transaction, dataset_id: UUID) -> ValidationReport | None:
    """The report of the newest validation that was done, if one was."""
    done = select(ValidationRow).filter_by(dataset_id=dataset_id, status=WorkStatus.SUCCEEDED)
    row = tx.session.scalar(done.order_by(ValidationRow.requested_at.desc()).limit(1))
    return _value(row).report if row else None


def active(tx: Transaction) -> list[WorkItem]:
    """Validations that still need a run."""
    query = select(ValidationRow).where(ValidationRow.status.in_(work.ACTIVE)).order_by(ValidationRow.queued_at)
    rows = tx.session.scalars(query)
    return [work.item(tx, row, ROOM, versions.get(tx, row.dataset_id).dagster_asset_key) for row in rows]


def claim(tx: Transaction, validation_id: UUID, *, attempt: int, run_id: str) -> ValidationTask:
    """Take the validation for a run that holds its lease. Raises Conflict when it is not this attempt's any more."""
    row = work.load(tx, ValidationRow, validation_id, "validation")
    work.claim(row, attempt=attempt, run_id=run_id)
    dataset = versions.get(tx, row.dataset_id, Kind.DATASET)
    if dataset.digest != row.digest:
        raise Conflict("the data set's files changed after the request", remedy="Request a new validation.")
    tx.audit("validation.start", "dataset", row.dataset_id, validation=str(row.id), run=run_id)
    _tell(tx, row, Phase.START)
    return ValidationTask(id=row.id, dataset=dataset)


def finish(tx: Transaction, validation_id: UUID, report: ValidationReport, *, run_id: str) -> Validation:
    """Keep the report, attach it as evidence and write its figures onto the data set."""
    row = work.load(tx, ValidationRow, validation_id, "validation")
    work.succeed(row, run_id=run_id)
    row.report = report.json_dict()
    evidence.record_validation(
        tx,
        row.dataset_id,
        pii_status=PiiStatus(report.pii.status),
        quality_score=report.quality.score,
        row_count=report.row_count,
    )
    summary: dict[str, Any] = {
        "reasons": list(report.reasons),
        "rows": report.row_count,
        "pii": report.pii.status,
        "quality": report.quality.score,
    }
    evidence.attach(
        tx,
        row.dataset_id,
        EvidenceKind.VALIDATION,
        digest=row.digest,
        source_id=row.id,
        passed=report.passed,
        summary=summary,
    )
    _tell(tx, row, Phase.COMPLETE, columns=[(column.name, str(column.type)) for column in report.columns])
    return _value(row)


def fail(tx: Transaction, validation_id: UUID, error: str, *, run_id: str | None = None) -> None:
    """The check itself could not be done; the data set stays unvalidated."""
    row = work.load(tx, ValidationRow, validation_id, "validation")
    if run_id is not None:
        work.check_run(row, run_id)
    work.fail(row, error)
    tx.audit("validation.fail", "dataset", row.dataset_id, validation=str(row.id), error=error[:500])
    _tell(tx, row, Phase.FAIL, error=error)


def report_progress(tx: Transaction, validation_id: UUID, fraction: float, message: str) -> None:
    """Show how far the check is; telemetry, not audited."""
    work.report_progress(tx, ValidationRow, validation_id, fraction, message)


def retry_dead(tx: Transaction, validation_id: UUID, *, attempt: int, reason: str) -> bool:
    """Put a validation whose process died back into the queue; False when it was given up or already moved on."""
    row = work.load(tx, ValidationRow, validation_id, "validation")
    again = work.retry_dead(row, attempt=attempt, reason=reason)
    tx.audit("validation.retry", "dataset", row.dataset_id, validation=str(row.id), attempt=row.attempt, reason=reason)
    return again


def blockers(tx: Transaction, dataset_id: UUID) -> list[Blocker]:
    """The validation that still reads a data set's files."""
    active = select(ValidationRow).filter_by(dataset_id=dataset_id).where(ValidationRow.status.in_(work.ACTIVE))
    return [
        Blocker(
            type="validation",
            id=row.id,
            name="its validation",
            reason=f"is {row.status}",
            remedy="Wait for it to finish.",
        )
        for row in tx.session.scalars(active)
    ]


def _tell(
    tx: Transaction,
    row: ValidationRow,
    phase: Phase,
    *,
    columns: Sequence[tuple[str, str]] = (),
    error: str | None = None,
) -> None:
    dataset = versions.remembered(tx, row.dataset_id)
    lineage_events.tell(
        tx,
        phase,
        work="validation",
        job=f"validate.{dataset.name}",
        row_id=row.id,
        attempt=row.attempt,
        inputs=[lineage_events.artifact(dataset, columns)],
        error=error,
    )


def _value(row: ValidationRow) -> Validation:
    return Validation(
        id=row.id,
        dataset_id=row.dataset_id,
        digest=row.digest,
        state=work.state(row),
        report=ValidationReport.model_validate(row.report) if row.report else None,
    )
