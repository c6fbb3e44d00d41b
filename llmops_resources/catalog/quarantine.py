"""Quarantine: versions that open recalls hold, and how what is made from them falls under it too."""

from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, literal, select, text, update
from sqlalchemy.dialects.postgresql import insert

from llmops_resources.catalog.tables import QuarantineRow, RecallRow, VersionRow
from llmops_resources.database import Transaction
from llmops_resources.values import utc_now

_LOCK = 7_265_003


def keep_recalls_out(tx: Transaction) -> None:
    """Until this transaction ends no recall begins, so none overlooks what is being made right now."""
    tx.session.execute(text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": _LOCK})


def alone(tx: Transaction) -> None:
    """One recall or lift at a time, after everything that was being made from something."""
    tx.session.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def inherit(tx: Transaction, *, parent: UUID, child: UUID) -> None:
    """Put a new version under every open recall that holds its parent."""
    holding = select(RecallRow).join(QuarantineRow, QuarantineRow.recall_id == RecallRow.id)
    holding = holding.where(QuarantineRow.version_id == parent, RecallRow.lifted_at.is_(None))
    for recall in tx.session.scalars(holding.order_by(RecallRow.recalled_at)).all():
        hold(tx, recall.id, recall.reason, select(literal(child)))
        tx.audit("version.quarantine", "version", child, recall=str(recall.id), parent=str(parent))


def hold(tx: Transaction, recall_id: UUID, reason: str, ids: Select[Any]) -> list[UUID]:
    """Put versions under a recall; returns those that it did not hold before."""
    rows = select(literal(recall_id), ids.subquery())
    statement = insert(QuarantineRow).from_select(["recall_id", "version_id"], rows)
    fresh = list(tx.session.scalars(statement.on_conflict_do_nothing().returning(QuarantineRow.version_id)))
    held = select(QuarantineRow.version_id).where(QuarantineRow.recall_id == recall_id)
    tx.session.execute(
        update(VersionRow)
        .where(VersionRow.id.in_(held), VersionRow.quarantined_at.is_(None))
        .values(quarantined_at=utc_now(), quarantine_reason=reason)
    )
    return fresh


def release(tx: Transaction, recall_id: UUID) -> list[UUID]:
    """Let go of what no other open recall holds, and say what that is."""
    mine = select(QuarantineRow.version_id).where(QuarantineRow.recall_id == recall_id)
    others = (
        select(QuarantineRow.version_id)
        .join(RecallRow, RecallRow.id == QuarantineRow.recall_id)
        .where(RecallRow.lifted_at.is_(None), RecallRow.id != recall_id)
    )
    statement = (
        update(VersionRow)
        .where(VersionRow.id.in_(mine), VersionRow.id.not_in(others))
        .values(quarantined_at=None, quarantine_reason=None)
        .returning(VersionRow.id)
    )
    return list(tx.session.scalars(statement))
