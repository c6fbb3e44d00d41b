"""Calls are kept one by one for a while; what they cost, in the ledger, for ever."""

from datetime import timedelta
from typing import Final

from sqlalchemy import delete, select

from llmops_resources.database import Transaction
from llmops_resources.gateway.tables import FeedbackRow, UsageRow
from llmops_resources.values import utc_now

BATCH: Final = 10_000  # rows of a kind in one transaction: calls are booked beside it


def forget(tx: Transaction, age: timedelta, *, batch: int = BATCH) -> int:
    """Remove at most `batch` records of calls, and as many words of users, older than `age`; how many.

    Telemetry: not audited.
    """
    since = utc_now() - age
    calls = select(UsageRow.id).where(UsageRow.at < since).limit(batch)
    words = select(FeedbackRow.exchange_id).where(FeedbackRow.given_at < since).limit(batch)
    return sum(
        tx.erase(statement)
        for statement in (
            delete(UsageRow).where(UsageRow.id.in_(calls)),
            delete(FeedbackRow).where(FeedbackRow.exchange_id.in_(words)),
        )
    )
