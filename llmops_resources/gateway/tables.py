"""Rows of the gateway."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from llmops_resources.database import Base


class UsageRow(Base):
    """One call that reached a model server; telemetry that is booked, never changed.

    No foreign keys: the record was true when it was spooled, and nothing that happens later may keep it out.
    """

    __tablename__ = "usage_records"
    __audited__: ClassVar[bool] = False
    __table_args__ = (Index("ix_usage_records_route_at", "route", "at"), Index("ix_usage_records_page", "at", "id"))

    id: Mapped[UUID] = mapped_column(primary_key=True)  # the idempotency key
    request_id: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]
    route: Mapped[str] = mapped_column(String(64))
    endpoint_id: Mapped[UUID]
    model_id: Mapped[UUID] = mapped_column(index=True)
    model_digest: Mapped[str] = mapped_column(String(80))
    actor_id: Mapped[str] = mapped_column(index=True)
    prompt_tokens: Mapped[int]
    completion_tokens: Mapped[int]
    estimated: Mapped[bool]
    latency_ms: Mapped[float]
    status: Mapped[str] = mapped_column(String(16))
    streamed: Mapped[bool]
    prompt_id: Mapped[UUID | None]
    experiment_id: Mapped[UUID | None]
    variant: Mapped[str | None] = mapped_column(String(32))
    subject: Mapped[str | None] = mapped_column(String(32))


class FeedbackRow(Base):
    """What a user said of one answer, once; telemetry of the same kind as the usage it belongs to."""

    __tablename__ = "exchange_feedback"
    __audited__: ClassVar[bool] = False
    __table_args__ = (Index("ix_exchange_feedback_experiment", "experiment_id", "given_at"),)

    exchange_id: Mapped[UUID] = mapped_column(primary_key=True)
    route: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(8))
    value: Mapped[float]
    prompt_id: Mapped[UUID | None]
    experiment_id: Mapped[UUID | None]
    variant: Mapped[str | None] = mapped_column(String(32))
    given_by: Mapped[str]
    given_at: Mapped[datetime]


class PolicyRow(Base):
    """How calls to a route are treated; it stays when the endpoint goes, and holds for the next one of this name."""

    __tablename__ = "gateway_policies"

    route: Mapped[str] = mapped_column(String(64), primary_key=True)
    settings: Mapped[dict[str, Any]]
    updated_by: Mapped[str]
    updated_at: Mapped[datetime]


class TeamLimitRow(Base):
    """What a team may take in a minute; NULL is without a limit."""

    __tablename__ = "gateway_team_limits"

    team: Mapped[str] = mapped_column(String(128), primary_key=True)
    requests_per_minute: Mapped[int | None]
    tokens_per_minute: Mapped[int | None]
    updated_by: Mapped[str]
    updated_at: Mapped[datetime]


class ProcessRow(Base):
    """A process that answers calls, as last heard of; telemetry by which processes share their limits."""

    __tablename__ = "gateway_processes"
    __audited__: ClassVar[bool] = False

    id: Mapped[UUID] = mapped_column(primary_key=True)
    seen_at: Mapped[datetime]
