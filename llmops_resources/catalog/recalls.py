"""Recalls: one decision that puts a version and everything that came from it into quarantine, until it is lifted."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from llmops_resources.catalog import lineage, notifications, quarantine, versions
from llmops_resources.catalog.tables import QuarantineRow, RecallRow
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, Forbidden, ValidationFailed, field_problem
from llmops_resources.values import Value, utc_now


class Recall(Value):
    """A recall; `version_ids` are the versions it holds, its root among them."""

    id: UUID
    root_id: UUID
    reason: str
    recalled_by: str
    recalled_at: datetime
    lifted_by: str | None
    lifted_at: datetime | None
    lift_notes: str | None
    version_ids: tuple[UUID, ...]


def recall(tx: Transaction, root_id: UUID, reason: str) -> tuple[Recall, list[UUID]]:
    """Open a recall of a version, or extend the open one to what came from the version since.

    Returns the recall and the versions that are newly under it. Raises NotFound, or ValidationFailed without a reason.
    """
    if not reason.strip():
        problem = field_problem("reason", "is empty", "Say why nothing made from it may be used.")
        raise ValidationFailed("a recall needs a reason", details=[problem])
    quarantine.alone(tx)
    root = versions.get(tx, root_id)
    row = _open(tx, root_id)
    if row is None:
        row = RecallRow(root_id=root_id, reason=reason.strip(), recalled_by=tx.actor.id)
        tx.session.add(row)
        tx.session.flush()
        notifications.tell(tx, "recall.opened", root, reason=row.reason)
    fresh = quarantine.hold(tx, row.id, row.reason, lineage.came_from(root_id))
    return _value(tx, row), fresh


def lift(tx: Transaction, root_id: UUID, notes: str) -> tuple[Recall, list[UUID]]:
    """Lift the open recall of a version; returns it and the versions that are free again.

    Raises Conflict when there is none, Forbidden for whoever recalled it, unless SINGLE_USER waives that.
    """
    quarantine.alone(tx)
    root = versions.get(tx, root_id)
    row = _open(tx, root_id)
    if row is None:
        raise Conflict(f"{root.name} {root.version} has no recall of its own", remedy="Lift the one that holds it.")
    if row.recalled_by == tx.actor.id and not tx.single_user:
        raise Forbidden(f"{tx.actor.id} recalled it and may not lift that", remedy="Ask another reviewer.")
    row.lifted_by, row.lifted_at, row.lift_notes = tx.actor.id, utc_now(), notes
    tx.session.flush()
    freed = quarantine.release(tx, row.id)
    notifications.tell(tx, "recall.lifted", root, notes=notes)
    return _value(tx, row), freed


def open_of(tx: Transaction, root_id: UUID) -> Recall | None:
    """The open recall that began with this very version."""
    row = _open(tx, root_id)
    return _value(tx, row) if row else None


def _open(tx: Transaction, root_id: UUID) -> RecallRow | None:
    return tx.session.scalar(select(RecallRow).filter_by(root_id=root_id, lifted_at=None))


def _value(tx: Transaction, row: RecallRow) -> Recall:
    held = select(QuarantineRow.version_id).filter_by(recall_id=row.id).order_by(QuarantineRow.version_id)
    return Recall(
        id=row.id,
        root_id=row.root_id,
        reason=row.reason,
        recalled_by=row.recalled_by,
        recalled_at=row.recalled_at,
        lifted_by=row.lifted_by,
        lifted_at=row.lifted_at,
        lift_notes=row.lift_notes,
        version_ids=tuple(tx.session.scalars(held)),
    )
