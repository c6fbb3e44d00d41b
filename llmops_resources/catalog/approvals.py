"""Approvals: of content, by digest. Only this module can make an Approved… value.

A decision names the digest the reviewer saw; if the version's files differ, it is refused as stale. The same decision
again is a no-op. Whoever submitted a version may not approve it, unless SINGLE_USER waives that, which the audit
entry then says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from llmops_resources.catalog import evidence, versions
from llmops_resources.catalog.lifecycle import (
    OUTCOMES,
    Decision,
    Kind,
    ModelType,
    PiiStatus,
    Status,
    check_move,
    missing_card_fields,
)
from llmops_resources.catalog.tables import ApprovalRow, VersionRow
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, Forbidden, ValidationFailed
from llmops_resources.values import Value

_PROOF = object()


@dataclass(frozen=True)
class _Approved:
    version: Version
    proof: object

    def __post_init__(self) -> None:
        if self.proof is not _PROOF:
            raise TypeError("only the approvals module can vouch that a version is approved")

    @property
    def digest(self) -> str:
        return self.version.manifest.digest


class ApprovedDataset(_Approved):
    """A data set version whose present digest has a live approval."""


class ApprovedModel(_Approved):
    """A model version whose present digest has a live approval."""


class Approval(Value):
    """One decision."""

    id: UUID
    version_id: UUID
    digest: str
    decision: Decision
    actor_id: str
    notes: str
    decided_at: datetime


def submit(tx: Transaction, version_id: UUID | str) -> Version:
    """draft → under_review. Raises ValidationFailed or Conflict naming everything that is still missing."""
    row = versions.load(tx, version_id)
    if row.status == Status.UNDER_REVIEW:
        return versions.value(row)
    check_move(Status(row.status), Status.UNDER_REVIEW)
    if row.digest is None and row.type != ModelType.EXTERNAL:
        raise Conflict(f"{row.name} {row.version} has no files yet", remedy="Upload its files, then submit it.")
    if row.kind == Kind.MODEL and (problems := missing_card_fields(row.card)):
        raise ValidationFailed("the model card is not complete", details=problems)
    row.status, row.submitted_by = Status.UNDER_REVIEW, tx.actor.id
    tx.audit(f"{row.kind}.submit", row.kind, row.id, digest=row.digest)
    return versions.value(row)


def decide(
    tx: Transaction, version_id: UUID | str, decision: Decision, *, digest: str | None = None, notes: str = ""
) -> Version:
    """Approve, reject or ask for changes. Safe to repeat.

    Raises Conflict when the digest is stale, the move is not possible or evidence forbids approval; Forbidden when
    the submitter approves their own version.
    """
    row = versions.load(tx, version_id)
    target = OUTCOMES[decision]
    if digest is not None and digest != row.digest:
        raise Conflict(
            f"the files of {row.name} {row.version} are not the ones you reviewed",
            remedy=f"Reload: its digest is now {row.digest}.",
        )
    if row.status == target and decision is not Decision.REQUEST_CHANGES:
        return versions.value(row)
    check_move(Status(row.status), target)
    waived = _check_reviewer(tx, row, decision)
    if decision is Decision.APPROVE:
        _check_evidence(tx, row)
    row.status = target
    tx.session.add(
        ApprovalRow(
            version_id=row.id, digest=row.digest or "", decision=decision, actor_id=tx.actor.id, notes=notes
        )
    )
    details = {"decision": decision, "digest": row.digest, "notes": notes}
    if waived:
        details["waived"] = "SINGLE_USER=true lets the submitter decide"
    tx.audit(f"{row.kind}.{decision}", row.kind, row.id, **details)
    return versions.value(row)


def change_status(tx: Transaction, version_id: UUID | str, to: Status, notes: str = "") -> Version:
    """The specification's PATCH …/status: the same moves by the name of the state they lead to."""
    row = versions.load(tx, version_id)
    if row.status == to:
        return versions.value(row)
    if to is Status.UNDER_REVIEW:
        return submit(tx, version_id)
    if to in {Status.APPROVED, Status.REJECTED}:
        decision = Decision.APPROVE if to is Status.APPROVED else Decision.REJECT
        return decide(tx, version_id, decision, notes=notes)
    if to is Status.DRAFT and row.status == Status.UNDER_REVIEW:
        return decide(tx, version_id, Decision.REQUEST_CHANGES, notes=notes)
    check_move(Status(row.status), to)
    row.status = to
    tx.audit(f"{row.kind}.{to}", row.kind, row.id, notes=notes)
    return versions.value(row)


def history(tx: Transaction, version_id: UUID | str) -> list[Approval]:
    """The decisions about a version, newest first."""
    query = (
        select(ApprovalRow).filter_by(version_id=UUID(str(version_id))).order_by(ApprovalRow.decided_at.desc())
    )
    return [
        Approval(
            id=row.id,
            version_id=row.version_id,
            digest=row.digest,
            decision=Decision(row.decision),
            actor_id=row.actor_id,
            notes=row.notes,
            decided_at=row.decided_at,
        )
        for row in tx.session.scalars(query)
    ]


def approved_dataset(tx: Transaction, version_id: UUID | str) -> ApprovedDataset:
    """Proof that a data set may be used. Raises NotFound, or Conflict when it is not approved."""
    return ApprovedDataset(_approved(tx, version_id, Kind.DATASET), _PROOF)


def approved_model(tx: Transaction, version_id: UUID | str) -> ApprovedModel:
    """Proof that a model may be used. Raises NotFound, or Conflict when it is not approved."""
    return ApprovedModel(_approved(tx, version_id, Kind.MODEL), _PROOF)


def newest_approved(tx: Transaction, kind: Kind, name: str) -> Version | None:
    """The youngest approved version of a name."""
    return next((v for v in versions.of_name(tx, kind, name) if v.status is Status.APPROVED), None)


def is_live(tx: Transaction, version_id: UUID, digest: str) -> bool:
    """Whether exactly these bytes are approved now: the version is approved and the digest is the approved one."""
    row = tx.session.get(VersionRow, version_id)
    if row is None or row.status != Status.APPROVED or row.digest != digest:
        return False
    return _last_approved_digest(tx, version_id) == digest


def _approved(tx: Transaction, version_id: UUID | str, kind: Kind) -> Version:
    version = versions.get(tx, version_id, kind)
    if version.status is not Status.APPROVED:
        raise Conflict(
            f"{kind} {version.name} {version.version} is {version.status}, not approved",
            remedy="Submit it for review and have a reviewer approve it first.",
        )
    if version.digest is not None and _last_approved_digest(tx, version.id) != version.digest:
        raise Conflict(
            f"the files of {version.name} {version.version} are not the approved ones",
            remedy="Create a new version from the intended files and have it approved.",
        )
    return version


def _last_approved_digest(tx: Transaction, version_id: UUID) -> str | None:
    query = (
        select(ApprovalRow.digest)
        .filter_by(version_id=version_id, decision=Decision.APPROVE)
        .order_by(ApprovalRow.decided_at.desc())
        .limit(1)
    )
    return tx.session.scalar(query)


def _check_reviewer(tx: Transaction, row: VersionRow, decision: Decision) -> bool:
    """Whether the four-eyes rule was waived. Raises Forbidden when it applies and is broken."""
    if decision is not Decision.APPROVE or tx.actor.id not in {row.submitted_by, row.created_by}:
        return False
    if not tx.single_user:
        raise Forbidden(
            f"{tx.actor.id} submitted {row.name} {row.version} and may not approve it",
            remedy="Ask another reviewer to decide.",
        )
    return True


def _check_evidence(tx: Transaction, row: VersionRow) -> None:
    """Raises Conflict when a data set lacks a passed validation of exactly these bytes. Unknown is never a pass."""
    if row.kind != Kind.DATASET:
        return
    report = evidence.latest(tx, row.id, evidence.EvidenceKind.VALIDATION)
    if report is None or report.digest != row.digest:
        raise Conflict(
            f"{row.name} {row.version} has not been validated yet",
            remedy="Wait for the validation to finish, or start it again.",
        )
    if report.passed is not True or row.pii_status != PiiStatus.CLEAN:
        reasons = "; ".join(_reasons(report.summary)) or "the validation did not pass"
        raise Conflict(
            f"{row.name} {row.version} cannot be approved: {reasons}",
            remedy="Mend the data and upload it as a new version.",
        )


def _reasons(summary: Mapping[str, object]) -> list[str]:
    reasons = summary.get("reasons")
    return [str(reason) for reason in reasons] if isinstance(reasons, list) else []

