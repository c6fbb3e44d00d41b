"""Approvals: of content, by digest. Only this module can make an Approved… value.

A decision names the digest the reviewer saw; if the version's files differ, it is refused as stale. The same decision
again is a no-op. Whoever submitted a version may not approve it. An admin may, with a written reason, and SINGLE_USER
waives the rule; the audit entry then says so. An approval publishes: the version is the current one of its name until
another is approved, or an earlier one is made current again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from llmops_resources.catalog import evidence, notifications, versions
from llmops_resources.catalog.lifecycle import (
    OUTCOMES,
    Decision,
    Kind,
    ModelType,
    PiiStatus,
    Status,
    check_move,
    missing_for_review,
)
from llmops_resources.catalog.tables import ApprovalRow, VersionRow
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, Forbidden, ValidationFailed
from llmops_resources.values import Value, utc_now

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


class ApprovedPrompt(_Approved):
    """A prompt version whose present content has a live approval."""

    @property
    def digest(self) -> str:
        assert self.version.digest is not None  # noqa: S101  a prompt is created with its content
        return self.version.digest


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
    """draft → under_review. Raises Conflict, or ValidationFailed naming everything that is still missing."""
    row = versions.load(tx, version_id)
    if row.status == Status.UNDER_REVIEW:
        return versions.value(row)
    check_move(Status(row.status), Status.UNDER_REVIEW)
    problems = missing_for_review(
        Kind(row.kind),
        has_content=row.digest is not None or row.type == ModelType.EXTERNAL,
        card=row.card,
        change_log=row.change_log,
        earlier=_version_before(tx, row),
    )
    if problems:
        raise ValidationFailed(f"{row.name} {row.version} is not ready for review", details=problems)
    row.status, row.submitted_by, row.submitted_at = Status.UNDER_REVIEW, tx.actor.id, utc_now()
    tx.audit(f"{row.kind}.submit", row.kind, row.id, digest=row.digest)
    notifications.tell(tx, "review.requested", versions.value(row))
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
    if row.status == target and _is_last_decision(tx, row, decision):
        return versions.value(row)
    check_move(Status(row.status), target)
    if row.status != Status.UNDER_REVIEW:  # rejected → draft is the owner's move, and no second decision
        raise Conflict(f"{row.name} {row.version} is {row.status} already", remedy="Reload to see who decided.")
    waived = _check_reviewer(tx, row, decision, notes)
    if decision is Decision.APPROVE:
        _check_not_recalled(versions.value(row))
        _check_evidence(tx, row)
        row.published_at = utc_now()
    row.status = target
    tx.session.add(
        ApprovalRow(
            version_id=row.id, digest=row.digest or "", decision=decision, actor_id=tx.actor.id, notes=notes
        )
    )
    details = {"decision": decision, "digest": row.digest, "notes": notes}
    if waived:
        details["waived"] = waived
    tx.audit(f"{row.kind}.{decision}", row.kind, row.id, **details)
    notifications.tell(tx, "review.decided", versions.value(row), decision=decision, notes=notes)
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


def approved_prompt(tx: Transaction, version_id: UUID | str) -> ApprovedPrompt:
    """Proof that a prompt may be used. Raises NotFound, or Conflict when it is not approved."""
    return ApprovedPrompt(_approved(tx, version_id, Kind.PROMPT), _PROOF)


def current(tx: Transaction, kind: Kind, name: str) -> Version | None:
    """The version of a name that is in use: the last one that was approved or made current again."""
    usable = [v for v in versions.of_name(tx, kind, name) if v.status is Status.APPROVED and not v.quarantined_at]
    return max(usable, key=lambda v: (v.published_at or v.created_at, v.id), default=None)


def make_current(tx: Transaction, version_id: UUID | str, notes: str = "") -> Version:
    """Go back, or forward, to another approved version of its name; the standing recipes use it from then on.

    Making the current one current changes nothing. Raises NotFound, or Conflict when it is not approved.
    """
    row = versions.load(tx, version_id)
    version = _approved(tx, row.id, Kind(row.kind))
    before = current(tx, version.kind, version.name)
    if before is not None and before.id == row.id:
        return version
    row.published_at = utc_now()
    tx.audit(
        f"{row.kind}.make_current", row.kind, row.id, version=row.version, notes=notes,
        before=before.version if before else None, digest=row.digest,
    )  # fmt: skip
    return versions.value(row)


def is_live(tx: Transaction, version_id: UUID, digest: str) -> bool:
    """Whether exactly these bytes are approved now: the version is approved and the digest is the approved one."""
    row = tx.session.get(VersionRow, version_id)
    if row is None or row.status != Status.APPROVED or row.digest != digest or row.quarantined_at or row.deleted_at:
        return False
    return _last_approved_digest(tx, version_id) == digest


def _approved(tx: Transaction, version_id: UUID | str, kind: Kind) -> Version:
    version = versions.get(tx, version_id, kind)
    _check_not_recalled(version)
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


def _is_last_decision(tx: Transaction, row: VersionRow, decision: Decision) -> bool:
    """Whether this very decision brought the version where it is, so that repeating it changes nothing."""
    query = select(ApprovalRow.decision, ApprovalRow.digest).filter_by(version_id=row.id)
    last = tx.session.execute(query.order_by(ApprovalRow.decided_at.desc()).limit(1)).first()
    return last is not None and (last.decision, last.digest) == (decision, row.digest or "")


def _version_before(tx: Transaction, row: VersionRow) -> str | None:
    """The version of the same name that was created last before this one."""
    versions_before = select(VersionRow.version).filter_by(kind=row.kind, name=row.name, deleted_at=None)
    versions_before = versions_before.where(VersionRow.created_at < row.created_at)
    return tx.session.scalar(versions_before.order_by(VersionRow.created_at.desc()).limit(1))


def _check_not_recalled(version: Version) -> None:
    if version.quarantined_at is not None:
        raise Conflict(
            f"{version.kind} {version.name} {version.version} was recalled: {version.quarantine_reason}",
            remedy="Use another version; a reviewer can lift the recall once its reason is gone.",
        )


def _check_reviewer(tx: Transaction, row: VersionRow, decision: Decision, notes: str) -> str:
    """Why the four-eyes rule does not count here, "" when it is kept. Raises Forbidden when it is broken."""
    if decision is not Decision.APPROVE or tx.actor.id not in {row.submitted_by, row.created_by}:
        return ""
    if tx.single_user:
        return "SINGLE_USER=true lets the submitter decide"
    is_admin = "admin" in tx.actor.roles
    if is_admin and notes.strip():
        return f"an admin approved their own submission: {notes.strip()}"
    raise Forbidden(
        f"{tx.actor.id} submitted {row.name} {row.version} and may not approve it",
        remedy="Give the reason in the notes, or ask another reviewer to decide."
        if is_admin
        else "Ask another reviewer to decide.",
    )


def _check_evidence(tx: Transaction, row: VersionRow) -> None:
    """Raises Conflict when these very bytes lack what their kind must have passed. Unknown is never a pass."""
    if row.kind == Kind.MODEL:
        _check_airlock(tx, row)
    if unmet := evidence.unmet(tx, versions.value(row)):
        raise Conflict(
            f"{row.name} {row.version} cannot be approved: {'; '.join(unmet)}",
            remedy="Evaluate it on the benchmarks of its gates; a model that fails one is improved as a new version.",
        )
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


def _check_airlock(tx: Transaction, row: VersionRow) -> None:
    """A model's files have passed the airlock; one that was trained here before there was an airlock is trusted."""
    if row.type == ModelType.EXTERNAL:
        return
    found = evidence.latest(tx, row.id, evidence.EvidenceKind.AIRLOCK)
    trained = evidence.latest(tx, row.id, evidence.EvidenceKind.TRAINING)
    if found is None and trained is not None and trained.digest == row.digest:
        return
    if found is None or found.digest != row.digest or found.passed is not True:
        raise Conflict(
            f"the files of {row.name} {row.version} have not passed the airlock",
            remedy="Upload or import the files as a new version; they are inspected on the way in.",
        )


def _reasons(summary: Mapping[str, object]) -> list[str]:
    reasons = summary.get("reasons")
    return [str(reason) for reason in reasons] if isinstance(reasons, list) else []

