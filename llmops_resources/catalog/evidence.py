"""Evidence: what the middle rooms found out about exactly these bytes."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import select

from llmops_resources.catalog import versions
from llmops_resources.catalog.airlock import AirlockReport
from llmops_resources.catalog.lifecycle import Kind, PiiStatus
from llmops_resources.catalog.tables import EvidenceRow, RequirementRow
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Transaction
from llmops_resources.values import Value


class EvidenceKind(StrEnum):
    VALIDATION = "validation"
    TRAINING = "training"
    EVALUATION = "evaluation"
    AIRLOCK = "airlock"
    GATE = "gate"


class Evidence(Value):
    """One finding. `passed` is None where nothing is decided by it."""

    id: UUID
    version_id: UUID
    digest: str
    kind: EvidenceKind
    source_id: str
    passed: bool | None
    summary: dict[str, Any]
    recorded_at: datetime


def attach(
    tx: Transaction,
    version_id: UUID,
    kind: EvidenceKind,
    *,
    digest: str,
    source_id: object,
    passed: bool | None,
    summary: dict[str, Any],
) -> Evidence:
    """Attach a finding to a version."""
    row = EvidenceRow(
        version_id=version_id, digest=digest, kind=kind, source_id=str(source_id), passed=passed, summary=summary
    )
    tx.session.add(row)
    tx.session.flush()
    tx.audit(f"evidence.{kind}", "version", version_id, digest=digest, passed=passed, source=str(source_id))
    return _value(row)


def attach_airlock(tx: Transaction, model: Version, report: AirlockReport, *, source_id: object) -> Evidence:
    """Attach what the airlock said about a model's present files. Raises Conflict when it has none."""
    digest = model.manifest.digest
    return attach(
        tx,
        model.id,
        EvidenceKind.AIRLOCK,
        digest=digest,
        source_id=source_id,
        passed=report.accepted and not report.needs_conversion,
        summary={**report.summary, "problems": [problem.json_dict() for problem in report.problems]},
    )


def record_validation(
    tx: Transaction, version_id: UUID, *, pii_status: PiiStatus, quality_score: float | None, row_count: int | None
) -> None:
    """Write the figures lists and filters need onto the data set."""
    row = versions.load(tx, version_id)
    row.pii_status, row.quality_score, row.row_count = pii_status, quality_score, row_count


def require(
    tx: Transaction, kind: Kind, name: str, wanted: EvidenceKind, *, key: str, source_id: object, description: str
) -> None:
    """From now on no version of this name is approved without passed evidence of this kind from this source.

    The same `key` again replaces what it demanded; `source_id` None withdraws it.
    """
    source = None if source_id is None else str(source_id)
    row = RequirementRow(
        kind=kind, name=name, evidence_kind=wanted, key=key, source_id=source, description=description,
        created_by=tx.actor.id,
    )  # fmt: skip
    tx.session.add(row)
    tx.session.flush()
    tx.audit("evidence.require", "requirement", row.number, name=name, kind=wanted, key=key, source=source)


def unmet(tx: Transaction, version: Version) -> list[str]:
    """Why required evidence does not let this version's present digest pass. Unknown is never a pass."""
    query = select(RequirementRow).filter_by(kind=version.kind, name=version.name).order_by(RequirementRow.number)
    newest = {(row.evidence_kind, row.key): row for row in tx.session.scalars(query)}
    problems: list[str] = []
    for row in newest.values():
        if row.source_id is None:
            continue
        found = next(
            (e for e in of_version(tx, version.id, EvidenceKind(row.evidence_kind)) if e.source_id == row.source_id),
            None,
        )
        if found is None or found.digest != version.digest:
            problems.append(f"{row.description} has not judged it")
        elif found.passed is not True:
            reasons = found.summary.get("reasons") or ["it was not passed"]
            problems.append(f"{row.description}: {'; '.join(map(str, reasons))}")
    return problems


def latest(tx: Transaction, version_id: UUID, kind: EvidenceKind) -> Evidence | None:
    """The newest finding of a kind."""
    found = of_version(tx, version_id, kind)
    return found[0] if found else None


def of_version(tx: Transaction, version_id: UUID, kind: EvidenceKind | None = None) -> list[Evidence]:
    """Findings about a version, newest first."""
    query = select(EvidenceRow).filter_by(version_id=version_id).order_by(EvidenceRow.recorded_at.desc())
    if kind is not None:
        query = query.filter_by(kind=kind)
    return [_value(row) for row in tx.session.scalars(query)]


def _value(row: EvidenceRow) -> Evidence:
    return Evidence(
        id=row.id,
        version_id=row.version_id,
        digest=row.digest,
        kind=EvidenceKind(row.kind),
        source_id=row.source_id,
        passed=row.passed,
        summary=row.summary,
        recorded_at=row.recorded_at,
    )
