"""Usage records for tests, and the way that they go to the database."""

from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import UUID, uuid4

from llmops_resources.database import Transaction
from llmops_resources.gateway import booking, usage
from llmops_resources.gateway.usage import Outcome, UsageRecord


def a_record(**changes: object) -> UsageRecord:
    """A call that succeeded, with a fresh id."""
    fields: dict[str, object] = {
        "id": uuid4(), "request_id": "r-1", "at": datetime(2026, 11, 23, tzinfo=UTC), "route": "support",
        "endpoint_id": UUID(int=1), "model_id": UUID(int=2), "model_digest": "sha256:00", "actor_id": "local-admin",
        "prompt_tokens": 3, "completion_tokens": 5, "estimated": False, "latency_ms": 12.5,
        "status": Outcome.SUCCEEDED, "streamed": False,
    }  # fmt: skip
    return UsageRecord(**{**fields, **changes})  # type: ignore[arg-type]


def book(tx: Transaction, records: Iterable[UsageRecord]) -> int:
    """Book records; how many were new."""
    return booking.book(tx, [usage.encode(record) for record in records])
