"""Messages to the outside: written with what they tell of, delivered afterwards, at least once.

A channel that has no receiver in the settings takes nothing in. A message is claimed for a minute before it is sent,
so a sender that dies loses nothing: after that minute somebody sends it again, under the same id, by which the
receiver knows it. Waiting doubles from 5 s to an hour; after MAX_ATTEMPTS a message is given up and says why.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import func, select

from llmops_resources.catalog.tables import MessageRow
from llmops_resources.database import Transaction
from llmops_resources.values import Value, utc_now

CLAIM = timedelta(minutes=1)
FIRST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(hours=1)
#: With the waits above, two days and a half.
MAX_ATTEMPTS = 68


class Channel(StrEnum):
    """Where messages go; a channel is open when the settings name a receiver."""

    REVIEWS = "reviews"
    TRAINING = "training"
    OPENLINEAGE = "openlineage"


class Message(Value):
    """A message as it is sent; `attempt` counts from 1."""

    id: UUID
    channel: Channel
    body: dict[str, Any]
    created_at: datetime
    attempt: int


def put(tx: Transaction, channel: Channel, body: dict[str, Any]) -> None:
    """Send a message when this transaction commits; nothing when the channel has no receiver."""
    if channel in tx.channels:
        tx.session.add(MessageRow(channel=channel, body=body))


def claim_due(tx: Transaction, *, limit: int = 20) -> list[Message]:
    """The messages to send now, kept from other senders for a minute; the oldest first."""
    due = select(MessageRow).where(MessageRow.settled_at.is_(None), MessageRow.next_attempt_at <= utc_now())
    rows = tx.session.scalars(due.order_by(MessageRow.next_attempt_at).limit(limit).with_for_update(skip_locked=True))
    claimed = []
    for row in rows:
        row.attempts += 1
        row.next_attempt_at = utc_now() + CLAIM
        claimed.append(_value(row))
    return claimed


def delivered(tx: Transaction, message_id: UUID) -> None:
    """The receiver took the message."""
    row = tx.session.get_one(MessageRow, message_id, with_for_update=True)
    row.settled_at, row.error = utc_now(), None


def failed(tx: Transaction, message_id: UUID, error: str) -> None:
    """The receiver did not take it: try again later, or give it up after the last attempt."""
    row = tx.session.get_one(MessageRow, message_id, with_for_update=True)
    if row.settled_at is not None:
        return
    row.error = error[:1000]
    row.next_attempt_at = utc_now() + backoff(row.attempts)
    if row.attempts >= MAX_ATTEMPTS:
        row.settled_at = utc_now()


def backoff(attempts: int) -> timedelta:
    """How long to wait after so many attempts."""
    doublings = min(max(attempts - 1, 0), 20)  # more would only overflow
    return min(LONGEST_WAIT, FIRST_WAIT * (1 << doublings))


def waiting(tx: Transaction) -> int:
    """How many messages were not delivered yet."""
    return tx.session.scalar(select(func.count()).select_from(MessageRow).where(MessageRow.settled_at.is_(None))) or 0


def _value(row: MessageRow) -> Message:
    return Message(
        id=row.id, channel=Channel(row.channel), body=row.body, created_at=row.created_at, attempt=row.attempts
    )
