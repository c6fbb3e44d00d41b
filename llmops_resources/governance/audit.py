"""The audit log: a hash chain in which every entry names the hash of the one before.

hash = SHA-256 over the canonical JSON of the entry's fields and the previous hash, so editing, deleting or reordering
an entry breaks the chain from there on. Entries are appended under one advisory lock, taken just before the commit.
Whoever may write to the database can also take entries off the end, or write the whole chain anew: that is found by a
hash that was noted elsewhere, which then is in the chain no longer.
"""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from llmops_resources.database import AuditEvent, Transaction
from llmops_resources.governance.tables import AuditRow
from llmops_resources.values import Value, canonical_json, utc_now

GENESIS = "0" * 64
_CHAIN_LOCK = 7_265_001


class AuditEntry(Value):
    """One entry as the API returns it."""

    id: int
    timestamp: datetime
    actor_id: str
    action: str
    resource_type: str
    resource_id: str
    result: str
    metadata: dict[str, Any]
    previous_hash: str
    hash: str


class ChainVerdict(Value):
    """Whether the chain holds; if not, at which entry it breaks first and how. `last_hash`: what to note elsewhere."""

    intact: bool
    entries: int
    last_hash: str
    first_broken_id: int | None = None
    reason: str = ""


def append(tx: Transaction) -> None:
    """Write the transaction's audit events to the chain; called once, right before the commit."""
    session = tx.session
    session.execute(select(func.pg_advisory_xact_lock(_CHAIN_LOCK)))
    last = session.execute(select(AuditRow.id, AuditRow.hash).order_by(AuditRow.id.desc()).limit(1)).first()
    previous_id, previous_hash = (last.id, last.hash) if last else (0, GENESIS)
    for number, audit_event in enumerate(tx.events, start=previous_id + 1):
        row = _row(number, tx.actor.id, audit_event, previous_hash)
        session.add(row)
        previous_hash = row.hash
    session.flush()


def deny(tx: Transaction, action: str, resource_type: str, resource_id: str, reason: str) -> None:
    """Record a refusal."""
    tx.events.append(AuditEvent(action, resource_type, resource_id, "denied", {"reason": reason}))


def search(
    tx: Transaction,
    *,
    actor_id: str | None = None,
    resource_type: str | None = None,
    resource_id: str | None = None,
    action: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    before_id: int | None = None,
    limit: int = 50,
) -> list[AuditEntry]:
    """Entries that match every given filter, newest first."""
    query = select(AuditRow).order_by(AuditRow.id.desc()).limit(limit)
    exact = {"actor_id": actor_id, "resource_type": resource_type, "resource_id": resource_id, "action": action}
    for column, wanted in exact.items():
        if wanted is not None:
            query = query.where(getattr(AuditRow, column) == wanted)
    if since is not None:
        query = query.where(AuditRow.timestamp >= since)
    if until is not None:
        query = query.where(AuditRow.timestamp < until)
    if before_id is not None:
        query = query.where(AuditRow.id < before_id)
    return [_entry(row) for row in tx.session.scalars(query)]


def verify(session: Session, noted: str | None = None) -> ChainVerdict:
    """Recompute the whole chain in order; with a hash `noted` earlier, also whether it is in the chain still."""
    previous, count, found = GENESIS, 0, noted in {None, GENESIS}
    query = select(AuditRow).order_by(AuditRow.id).execution_options(yield_per=1000)
    with session.scalars(query) as rows:
        for row in rows:
            count += 1
            if reason := _break(row, count, previous):
                return ChainVerdict(
                    intact=False, entries=count, last_hash=previous, first_broken_id=count, reason=reason
                )
            previous = row.hash
            found = found or previous == noted
    if not found:
        reason = "the noted hash is not in the chain: entries were taken off its end, or it was written anew"
        return ChainVerdict(
            intact=False, entries=count, last_hash=previous, first_broken_id=count + 1, reason=reason
        )
    return ChainVerdict(intact=True, entries=count, last_hash=previous)


def _break(row: AuditRow, number: int, previous: str) -> str:
    if row.id != number:
        return "an entry is missing"
    if row.previous_hash != previous:
        return "the link is broken"
    return "" if _hash(row) == row.hash else "the entry was changed"


def _row(number: int, actor_id: str, audit_event: AuditEvent, previous_hash: str) -> AuditRow:
    row = AuditRow(
        id=number,
        timestamp=utc_now(),
        actor_id=actor_id,
        action=audit_event.action,
        resource_type=audit_event.resource_type,
        resource_id=audit_event.resource_id,
        result=audit_event.result,
        details=json.loads(canonical_json(audit_event.metadata)),
        previous_hash=previous_hash,
    )
    row.hash = _hash(row)
    return row


def _hash(row: AuditRow) -> str:
    content = {
        "id": row.id,
        "timestamp": row.timestamp.astimezone(UTC).isoformat(),
        "actorId": row.actor_id,
        "action": row.action,
        "resourceType": row.resource_type,
        "resourceId": row.resource_id,
        "result": row.result,
        "metadata": row.details,
        "previousHash": row.previous_hash,
    }
    return hashlib.sha256(canonical_json(content)).hexdigest()


def _entry(row: AuditRow) -> AuditEntry:
    return AuditEntry(
        id=row.id,
        timestamp=row.timestamp,
        actor_id=row.actor_id,
        action=row.action,
        resource_type=row.resource_type,
        resource_id=row.resource_id,
        result=row.result,
        metadata=row.details,
        previous_hash=row.previous_hash,
        hash=row.hash,
    )
