"""Usage: what each call to a model server took. Written to the spool first, moved here in batches."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import func, select

from llmops_resources import pages
from llmops_resources.database import Transaction
from llmops_resources.gateway.tables import UsageRow
from llmops_resources.pages import Page, Position
from llmops_resources.values import Value


class Outcome(StrEnum):
    """How a call ended: answered, failed by the model server, or given up by the client."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class UsageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One call. `id` is the idempotency key; tokens are the model server's own count unless `estimated`.

    What it cost was fixed when it ended: `amount` by the price that held when it began, None without one. `holder` is
    the process whose part of a budget paid. `prompt_id` is the prompt version that it was made with; the rest is of the
    experiment that chose it. Records of earlier versions have none of it.
    """

    id: UUID
    request_id: str
    at: datetime
    route: str
    endpoint_id: UUID
    model_id: UUID
    model_digest: str
    actor_id: str
    prompt_tokens: int
    completion_tokens: int
    estimated: bool
    latency_ms: float
    status: Outcome
    streamed: bool
    team: str = ""
    key_id: UUID | None = None
    model: str = ""
    amount: Decimal | None = None
    currency: str = ""
    price_id: UUID | None = None
    holder: UUID | None = None
    prompt_id: UUID | None = None
    experiment_id: UUID | None = None
    variant: str | None = None
    subject: str | None = None
    allocation: int = 0


class Usage(Value):
    """A booked record as the API returns it; `at` is UTC, the latency spans the whole call."""

    id: UUID
    request_id: str
    at: datetime
    route: str
    endpoint_id: UUID
    model_id: UUID
    model_digest: str
    actor_id: str
    prompt_tokens: int
    completion_tokens: int
    estimated: bool
    latency_ms: float
    status: Outcome
    streamed: bool
    prompt_id: UUID | None
    experiment_id: UUID | None
    variant: str | None


class UsageSummary(Value):
    """The sums of one route; latencies are percentiles over the calls that succeeded, None without any."""

    route: str
    calls: int
    failed: int
    cancelled: int
    prompt_tokens: int
    completion_tokens: int
    latency_ms_p50: float | None
    latency_ms_p95: float | None
    last_call_at: datetime


encode: Final = msgspec.json.Encoder().encode
decode: Final = msgspec.json.Decoder(UsageRecord).decode

_NAMES: Final = ", ".join((*Usage.model_fields, "subject"))
#: SQL: a row for each of the `calls`, unless there is one. What it cost is the ledger's.
OF_CALLS: Final = (
    f"INSERT INTO usage_records ({_NAMES}) SELECT {_NAMES} FROM calls ON CONFLICT (id) DO NOTHING"  # noqa: S608  our own
)


def search(
    tx: Transaction,
    *,
    route: str | None = None,
    actor_id: str | None = None,
    since: datetime | None = None,
    after: Position | None = None,
    limit: int = 50,
) -> Page[Usage]:
    """Booked records, newest first."""
    exact = {"route": route, "actor_id": actor_id}
    query = select(UsageRow).filter_by(**{name: wanted for name, wanted in exact.items() if wanted is not None})
    if since is not None:
        query = query.where(UsageRow.at >= since)
    return pages.fetch(tx, query, (UsageRow.at, UsageRow.id), after=after, limit=limit, value=_value)


def summary(tx: Transaction, *, route: str | None = None, since: datetime | None = None) -> list[UsageSummary]:
    """Sums per route, by name."""
    succeeded = UsageRow.status == Outcome.SUCCEEDED
    latency = func.percentile_cont
    query = (
        select(
            UsageRow.route,
            func.count().label("calls"),
            func.count().filter(UsageRow.status == Outcome.FAILED).label("failed"),
            func.count().filter(UsageRow.status == Outcome.CANCELLED).label("cancelled"),
            func.sum(UsageRow.prompt_tokens).label("prompt_tokens"),
            func.sum(UsageRow.completion_tokens).label("completion_tokens"),
            latency(0.5).within_group(UsageRow.latency_ms).filter(succeeded).label("latency_ms_p50"),
            latency(0.95).within_group(UsageRow.latency_ms).filter(succeeded).label("latency_ms_p95"),
            func.max(UsageRow.at).label("last_call_at"),
        )
        .group_by(UsageRow.route)
        .order_by(UsageRow.route)
    )
    if route is not None:
        query = query.where(UsageRow.route == route)
    if since is not None:
        query = query.where(UsageRow.at >= since)
    return [UsageSummary(**row) for row in tx.session.execute(query).mappings()]


def _value(row: UsageRow) -> Usage:
    return Usage(**{name: getattr(row, name) for name in Usage.model_fields})
