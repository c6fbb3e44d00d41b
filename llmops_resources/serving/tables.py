"""Rows of the serving room: what is wanted, its revisions, and what was last observed."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID, uuid4

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from llmops_resources.database import Base
from llmops_resources.values import utc_now
from llmops_resources.work import WorkRow


class EndpointRow(Base):
    """A desired endpoint; a route is unique among the endpoints of an environment that were not deleted."""

    __tablename__ = "endpoints"
    __table_args__ = (
        Index(
            "uq_endpoints_live_route", "environment", "route", unique=True, postgresql_where=text("deleted_at IS NULL")
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    environment: Mapped[str] = mapped_column(String(8))
    route: Mapped[str] = mapped_column(String(64), index=True)
    revision: Mapped[int] = mapped_column(default=0)
    model_id: Mapped[UUID] = mapped_column(ForeignKey("catalog_versions.id"), index=True)
    model_digest: Mapped[str] = mapped_column(String(80))
    backend: Mapped[str] = mapped_column(String(16))
    min_replicas: Mapped[int] = mapped_column(default=1)
    max_replicas: Mapped[int] = mapped_column(default=1)
    rollback_plan: Mapped[str | None]
    config: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    deleted_at: Mapped[datetime | None]


class DeploymentRow(WorkRow, Base):
    """One revision of an endpoint, and the work of making it true.

    `action` is the verb that made it; `restores` the revision it went back to, or that a stop went on from.
    """

    __tablename__ = "deployments"
    __table_args__ = (UniqueConstraint("endpoint_id", "revision", name="uq_deployments_endpoint_revision"),)

    endpoint_id: Mapped[UUID] = mapped_column(ForeignKey("endpoints.id"), index=True)
    revision: Mapped[int]
    backend: Mapped[str] = mapped_column(String(16))
    model_id: Mapped[UUID] = mapped_column(ForeignKey("catalog_versions.id"))
    model_digest: Mapped[str] = mapped_column(String(80))
    min_replicas: Mapped[int]
    max_replicas: Mapped[int]
    config: Mapped[dict[str, Any]]
    rollback_plan: Mapped[str | None]
    action: Mapped[str] = mapped_column(String(16), default="deploy")
    restores: Mapped[int | None]
    note: Mapped[str] = mapped_column(default="")


class ParityRow(Base):
    """Why a setting of a route differs between two environments. It holds for exactly these two values."""

    __tablename__ = "parity_reasons"

    route: Mapped[str] = mapped_column(String(64), primary_key=True)
    environment: Mapped[str] = mapped_column(String(8), primary_key=True)
    against: Mapped[str] = mapped_column(String(8), primary_key=True)
    field: Mapped[str] = mapped_column(String(32), primary_key=True)
    digest: Mapped[str] = mapped_column(String(80))
    reason: Mapped[str]
    written_by: Mapped[str]
    written_at: Mapped[datetime] = mapped_column(default=utc_now)


class ObservedRow(Base):
    """What the backend last saw of an endpoint; telemetry."""

    __tablename__ = "endpoint_observations"
    __audited__: ClassVar[bool] = False

    endpoint_id: Mapped[UUID] = mapped_column(ForeignKey("endpoints.id"), primary_key=True)
    revision: Mapped[int]
    status: Mapped[str] = mapped_column(String(16))
    detail: Mapped[str] = mapped_column(default="")
    base_url: Mapped[str | None]
    ready: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    checked_at: Mapped[datetime] = mapped_column(default=utc_now)


class EventRow(Base):
    """One change of what the backend saw of an endpoint; telemetry, of which the latest are kept."""

    __tablename__ = "endpoint_events"
    __audited__: ClassVar[bool] = False
    __table_args__ = (Index("ix_endpoint_events_endpoint_id_at", "endpoint_id", "at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    endpoint_id: Mapped[UUID] = mapped_column(ForeignKey("endpoints.id"))
    revision: Mapped[int]
    status: Mapped[str] = mapped_column(String(16))
    detail: Mapped[str]
    at: Mapped[datetime] = mapped_column(default=utc_now)


class LogTailRow(Base):
    """The end of what an endpoint's runtime said, fetched while somebody looks; telemetry."""

    __tablename__ = "endpoint_logs"
    __audited__: ClassVar[bool] = False

    endpoint_id: Mapped[UUID] = mapped_column(ForeignKey("endpoints.id"), primary_key=True)
    wanted_until: Mapped[datetime]
    taken_at: Mapped[datetime | None]
    revision: Mapped[int] = mapped_column(default=0)
    text: Mapped[str] = mapped_column(default="")
