"""The processes that answer calls: each says every few seconds that it lives, so that they can share rate limits."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from llmops_resources.database import Transaction
from llmops_resources.gateway.tables import ProcessRow

SEEN_EVERY: Final = 3.0
_LIVES: Final = timedelta(seconds=10)
_FORGOTTEN: Final = timedelta(days=1)


def seen(tx: Transaction, process: UUID) -> None:
    """Say that a process lives."""
    statement = insert(ProcessRow).values(id=process, seen_at=func.now())
    tx.session.execute(statement.on_conflict_do_update(index_elements=["id"], set_={"seen_at": func.now()}))
    tx.session.execute(delete(ProcessRow).where(ProcessRow.seen_at < func.now() - _FORGOTTEN))


def gone(tx: Transaction, process: UUID) -> None:
    """Say that a process has ended."""
    tx.session.execute(delete(ProcessRow).filter_by(id=process))


def count(tx: Transaction) -> int:
    """How many processes live; at least the one that asks."""
    living = select(func.count()).select_from(ProcessRow).where(ProcessRow.seen_at > func.now() - _LIVES)
    return max(1, tx.session.scalar(living) or 0)
