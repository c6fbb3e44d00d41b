"""Rows of the catalog."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, ForeignKey, Index, Numeric, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from llmops_resources.database import Base
from llmops_resources.values import utc_now


class VersionRow(Base):
    """One immutable version of a model or a data set; only its state and evidence move."""

    __tablename__ = "catalog_versions"
    __table_args__ = (
        UniqueConstraint("kind", "name", "version", name="uq_catalog_versions_kind_name_version"),
        Index("ix_catalog_versions_page", "kind", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    kind: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(128))
    version: Mapped[str] = mapped_column(String(64))
    type: Mapped[str | None] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(16))
    owner_team: Mapped[str] = mapped_column(String(128))
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    submitted_by: Mapped[str | None]
    change_log: Mapped[str] = mapped_column(default="")
    card: Mapped[dict[str, Any]] = mapped_column(default=dict)
    expected_schema: Mapped[dict[str, Any] | None]
    benchmark: Mapped[bool] = mapped_column(default=False)
    digest: Mapped[str | None] = mapped_column(String(80))
    storage_uri: Mapped[str | None]
    storage_prefix: Mapped[str | None]
    files: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    size_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    pii_status: Mapped[str | None] = mapped_column(String(16))
    quality_score: Mapped[float | None] = mapped_column(Numeric(5, 2, asdecimal=False))
    row_count: Mapped[int | None] = mapped_column(BigInteger)


class ApprovalRow(Base):
    """One decision about one digest."""

    __tablename__ = "catalog_approvals"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    version_id: Mapped[UUID] = mapped_column(ForeignKey("catalog_versions.id"), index=True)
    digest: Mapped[str] = mapped_column(String(80))
    decision: Mapped[str] = mapped_column(String(20))
    actor_id: Mapped[str]
    notes: Mapped[str] = mapped_column(default="")
    decided_at: Mapped[datetime] = mapped_column(default=utc_now)


class EvidenceRow(Base):
    """What a middle room found out about one digest: a validation report, an evaluation, training metrics."""

    __tablename__ = "catalog_evidence"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    version_id: Mapped[UUID] = mapped_column(ForeignKey("catalog_versions.id"), index=True)
    digest: Mapped[str] = mapped_column(String(80))
    kind: Mapped[str] = mapped_column(String(32))
    source_id: Mapped[str]
    passed: Mapped[bool | None]
    summary: Mapped[dict[str, Any]]
    recorded_at: Mapped[datetime] = mapped_column(default=utc_now)


class LineageRow(Base):
    """`child` was made from `parent`; both are exact versions."""

    __tablename__ = "catalog_lineage"

    parent_id: Mapped[UUID] = mapped_column(ForeignKey("catalog_versions.id"), primary_key=True)
    child_id: Mapped[UUID] = mapped_column(ForeignKey("catalog_versions.id"), primary_key=True, index=True)
    role: Mapped[str] = mapped_column(String(32), primary_key=True)
    recorded_at: Mapped[datetime] = mapped_column(default=utc_now)
