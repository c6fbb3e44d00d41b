"""Rows of the governance room."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID, uuid4

from sqlalchemy import JSON, BigInteger, Index, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from llmops_resources.database import Base
from llmops_resources.values import utc_now


class AuditRow(Base):
    """One link of the hash chain; never changed, never deleted."""

    __tablename__ = "audit_entries"
    __audited__: ClassVar[bool] = False
    __table_args__ = (Index("ix_audit_resource", "resource_type", "resource_id"),)

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    timestamp: Mapped[datetime] = mapped_column(default=utc_now, index=True)
    actor_id: Mapped[str] = mapped_column(index=True)
    action: Mapped[str]
    resource_type: Mapped[str]
    resource_id: Mapped[str]
    result: Mapped[str] = mapped_column(String(16))
    # JSON rather than JSONB: the text is kept as written, so the hash can be recomputed from what is stored.
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
    previous_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))


class IdempotencyRow(Base):
    """The remembered answer to a POST that created something."""

    __tablename__ = "idempotency_keys"
    __audited__: ClassVar[bool] = False

    actor_id: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=utc_now, index=True)
    body: Mapped[dict[str, Any] | None]


class ApiKeyRow(Base):
    """A key of the gateway; of its secret there is only the SHA-256."""

    __tablename__ = "api_keys"
    __table_args__ = (Index("ix_api_keys_page", "created_at", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    name: Mapped[str] = mapped_column(String(128))
    team: Mapped[str] = mapped_column(String(128), index=True)
    owner: Mapped[str] = mapped_column(String(128), index=True)
    secret_hash: Mapped[str] = mapped_column(String(64), unique=True)
    hint: Mapped[str] = mapped_column(String(16))
    routes: Mapped[list[str] | None] = mapped_column(JSONB(none_as_null=True))  # NULL: every route
    requests_per_minute: Mapped[int | None]
    tokens_per_minute: Mapped[int | None]
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    revoked_by: Mapped[str | None]
