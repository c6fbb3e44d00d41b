"""Rows of the prompts room."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, LargeBinary, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from llmops_resources.database import Base
from llmops_resources.values import utc_now


class ContentRow(Base):
    """The content of one prompt version as canonical JSON; text, so that what is kept is what was hashed."""

    __tablename__ = "prompt_contents"

    version_id: Mapped[UUID] = mapped_column(ForeignKey("catalog_versions.id"), primary_key=True)
    content: Mapped[str]


class BindingRow(Base):
    """What a route was bound to from a moment on; the highest number holds, and a NULL prompt is none."""

    __tablename__ = "prompt_bindings"
    __table_args__ = (UniqueConstraint("route", "number", name="uq_prompt_bindings_route_number"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    route: Mapped[str] = mapped_column(String(64))
    number: Mapped[int]
    prompt_id: Mapped[UUID | None] = mapped_column(ForeignKey("catalog_versions.id"), index=True)
    digest: Mapped[str | None] = mapped_column(String(80))
    restores: Mapped[int | None]
    experiment_id: Mapped[UUID | None]
    reason: Mapped[str]
    bound_by: Mapped[str]
    bound_at: Mapped[datetime] = mapped_column(default=utc_now)


class ExperimentRow(Base):
    """An experiment: its plan, where it stands, and what came of it. A route runs one at a time."""

    __tablename__ = "prompt_experiments"
    __table_args__ = (
        Index("uq_prompt_experiments_running", "route", unique=True, postgresql_where=text("state = 'running'")),
        Index("ix_prompt_experiments_page", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    name: Mapped[str] = mapped_column(String(128))
    route: Mapped[str] = mapped_column(String(64), index=True)
    hypothesis: Mapped[str]
    plan: Mapped[dict[str, Any]]
    salt: Mapped[bytes] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(String(16))
    allocation: Mapped[int] = mapped_column(default=0)
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    started_by: Mapped[str | None]
    started_at: Mapped[datetime | None]
    stopped_by: Mapped[str | None]
    stopped_at: Mapped[datetime | None]
    ending: Mapped[str | None] = mapped_column(String(16))
    ending_reason: Mapped[str] = mapped_column(default="")
    concluded_by: Mapped[str | None]
    concluded_at: Mapped[datetime | None]
    winner: Mapped[str | None] = mapped_column(String(32))
    notes: Mapped[str] = mapped_column(default="")
    evidence: Mapped[dict[str, Any] | None]
    evidence_digest: Mapped[str | None] = mapped_column(String(80))
    binding: Mapped[int | None]


class AllocationRow(Base):
    """The shares that users were assigned by from a moment on; the experiment names the one that holds."""

    __tablename__ = "prompt_experiment_allocations"

    experiment_id: Mapped[UUID] = mapped_column(ForeignKey("prompt_experiments.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    shares: Mapped[dict[str, Any]]
    ratings: Mapped[dict[str, Any]]
    at: Mapped[datetime] = mapped_column(default=utc_now)


class ExposureRow(Base):
    """A user of an experiment, once, with their first call and first rating; telemetry that calls bring along.

    No foreign key: a call was answered, and nothing may keep its record out.
    """

    __tablename__ = "prompt_exposures"
    __audited__: ClassVar[bool] = False

    experiment_id: Mapped[UUID] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(String(32), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, Identity())
    allocation: Mapped[int]
    variant: Mapped[str] = mapped_column(String(32))
    exchange_id: Mapped[UUID]
    exposed_at: Mapped[datetime]
    failed: Mapped[bool]
    latency_ms: Mapped[float | None]
    cost: Mapped[float | None]
    rating: Mapped[float | None]
    rated_at: Mapped[datetime | None]


class LookRow(Base):
    """What a look at an experiment found; telemetry, for its charts."""

    __tablename__ = "prompt_experiment_looks"
    __audited__: ClassVar[bool] = False

    experiment_id: Mapped[UUID] = mapped_column(ForeignKey("prompt_experiments.id"), primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    found: Mapped[dict[str, Any]]
