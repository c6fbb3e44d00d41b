"""`Idempotency-Key`: the same key and request within 24 hours gives the same answer; another request a 409.

The key's row is inserted in the transaction of the effect itself, so the two commit together; a second request with
the same key waits for the first one's row lock and then finds its answer.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, InvalidInput
from llmops_resources.governance.tables import IdempotencyRow
from llmops_resources.values import utc_now

LIFETIME = timedelta(hours=24)


def once(tx: Transaction, key: str | None, fingerprint: str, produce: Callable[[], Any]) -> Any:
    """The answer of `produce` (JSON-ready), or the remembered one of an earlier request with this key.

    Raises Conflict when the key was used for a different request, InvalidInput when it is longer than 255 characters.
    """
    if key is None:
        return produce()
    if not 0 < len(key) <= 255:
        raise InvalidInput("Idempotency-Key must have 1 to 255 characters", remedy="Use a UUID.")
    mine = {"actor_id": tx.actor.id, "key": key}
    expired = delete(IdempotencyRow).filter_by(**mine).where(IdempotencyRow.created_at < utc_now() - LIFETIME)
    tx.session.execute(expired)
    claimed = tx.session.execute(
        insert(IdempotencyRow).values(**mine, fingerprint=fingerprint).on_conflict_do_nothing().returning(
            IdempotencyRow.key
        )
    ).first()
    row = tx.session.scalars(select(IdempotencyRow).filter_by(**mine)).one()
    if claimed is None:
        if row.fingerprint != fingerprint:
            raise Conflict(
                "this Idempotency-Key was used for another request", remedy="Use a new key for a new request."
            )
        return (row.body or {})["answer"]
    answer = produce()
    row.body = {"answer": answer}
    return answer
