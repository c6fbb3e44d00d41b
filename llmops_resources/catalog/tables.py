"""Rows of the catalog."""

from datetime import datetime
from typing import Any, ClassVar, Final
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, ForeignKey, Index, Numeric, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from llmops_resources.database import Base
from llmops_resources.values import utc_now
from llmops_resources.work import WorkRow

#: The columns that lists filter by, under the names of their indexes.
LIST_FILTERS: Final = {
    "name": "name",
    "version": "version",
    "type": "type",
    "status": "status",
    "team": "owner_team",
    "pii": "pii_status",
    "quality": "quality_score",
    "benchmark": "benchmark",
}


class VersionRow(Base):
    """One immutable version of a model or a data set; only its state and evidence move."""

    __tablename__ = "catalog_versions"
    __table_args__ = (
        UniqueConstraint("kind", "name", "version", name="uq_catalog_versions_kind_name_version"),
        # Every column that a list filters by, in the order of its pages: a list by several filters, or by one that
        # most entries pass, and its total read this index alone.
        Index(
            "ix_catalog_versions_page", "kind", "created_at", "id",
            postgresql_include=[
                "name", "version", "type", "status", "owner_team", "pii_status", "quality_score", "benchmark",
            ],
            postgresql_where=text("deleted_at IS NULL"),
        ),
        # One for each filter, in the order of its pages. A filter's total is most of what a list costs, and a narrow
        # index is counted in half the time of a wide one even where every entry has to be looked at, as for names.
        *(
            Index(
                f"ix_catalog_versions_{name}", "kind", column, "created_at", "id",
                postgresql_where=text("deleted_at IS NULL"),
            )
            for name, column in LIST_FILTERS.items()
        ),
        Index(
            "ix_catalog_versions_inbox", "submitted_at", "id",
            postgresql_where=text("status = 'under_review' AND deleted_at IS NULL"),
        ),
        Index(
            "ix_catalog_versions_leftovers", "deleted_at",
            postgresql_where=text("deleted_at IS NOT NULL AND files_removed_at IS NULL"),
        ),
    )  # fmt: skip

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
    submitted_at: Mapped[datetime | None]
    published_at: Mapped[datetime | None]
    quarantined_at: Mapped[datetime | None]
    quarantine_reason: Mapped[str | None]
    deleted_at: Mapped[datetime | None]
    files_removed_at: Mapped[datetime | None]


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


class RequirementRow(Base):
    """Evidence that versions of a name need before their approval; the newest row of a key counts.

    `source_id` names what the evidence must come from; without it the requirement is withdrawn.
    """

    __tablename__ = "catalog_requirements"

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(128), index=True)
    evidence_kind: Mapped[str] = mapped_column(String(32))
    key: Mapped[str]
    source_id: Mapped[str | None]
    description: Mapped[str]
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class LineageRow(Base):
    """`child` was made from `parent`; both are exact versions."""

    __tablename__ = "catalog_lineage"

    parent_id: Mapped[UUID] = mapped_column(ForeignKey("catalog_versions.id"), primary_key=True)
    child_id: Mapped[UUID] = mapped_column(ForeignKey("catalog_versions.id"), primary_key=True, index=True)
    role: Mapped[str] = mapped_column(String(32), primary_key=True)
    recorded_at: Mapped[datetime] = mapped_column(default=utc_now)


class RecallRow(Base):
    """A recall of one version and of everything that came from it; open until it is lifted."""

    __tablename__ = "catalog_recalls"
    __table_args__ = (
        Index("uq_catalog_recalls_open", "root_id", unique=True, postgresql_where=text("lifted_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    root_id: Mapped[UUID] = mapped_column(ForeignKey("catalog_versions.id"))
    reason: Mapped[str]
    recalled_by: Mapped[str]
    recalled_at: Mapped[datetime] = mapped_column(default=utc_now)
    lifted_by: Mapped[str | None]
    lifted_at: Mapped[datetime | None]
    lift_notes: Mapped[str | None]


class QuarantineRow(Base):
    """A version that a recall holds; one that several open recalls hold stays in quarantine until all are lifted."""

    __tablename__ = "catalog_quarantines"

    recall_id: Mapped[UUID] = mapped_column(ForeignKey("catalog_recalls.id"), primary_key=True)
    version_id: Mapped[UUID] = mapped_column(ForeignKey("catalog_versions.id"), primary_key=True, index=True)


class MessageRow(Base):
    """A message to somebody outside, written with what it tells of and delivered afterwards, at least once."""

    __tablename__ = "outbox_messages"
    __audited__: ClassVar[bool] = False
    __table_args__ = (
        Index("ix_outbox_messages_due", "next_attempt_at", postgresql_where=text("settled_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    channel: Mapped[str] = mapped_column(String(32))
    body: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    next_attempt_at: Mapped[datetime] = mapped_column(default=utc_now)
    attempts: Mapped[int] = mapped_column(default=0)
    settled_at: Mapped[datetime | None]
    error: Mapped[str | None]


class UploadRow(Base):
    """An upload of one version's files in chunks; its bytes wait in the staging folder of the same id."""

    __tablename__ = "catalog_uploads"
    __table_args__ = (Index("ix_catalog_uploads_page", "version_id", "created_at", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    version_id: Mapped[UUID] = mapped_column(ForeignKey("catalog_versions.id"))
    status: Mapped[str] = mapped_column(String(16))
    chunk_size: Mapped[int] = mapped_column(BigInteger)
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    finished_at: Mapped[datetime | None]


class UploadFileRow(Base):
    """One file of an upload: what was announced, and how many of its bytes have arrived without a gap."""

    __tablename__ = "catalog_upload_files"
    __audited__: ClassVar[bool] = False

    upload_id: Mapped[UUID] = mapped_column(ForeignKey("catalog_uploads.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(1000))
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str | None] = mapped_column(String(64))
    received: Mapped[int] = mapped_column(BigInteger, default=0)


class UploadChunkRow(Base):
    """One chunk of a file, stored as the object `key`; the chunks of a file follow one another without a gap."""

    __tablename__ = "catalog_upload_chunks"
    __audited__: ClassVar[bool] = False

    upload_id: Mapped[UUID] = mapped_column(ForeignKey("catalog_uploads.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    start: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    key: Mapped[str]
    received_at: Mapped[datetime] = mapped_column(default=utc_now)


class ImportRow(WorkRow, Base):
    """A requested import of one model version's files, or the conversion of pickles that were uploaded for it."""

    __tablename__ = "model_imports"

    model_id: Mapped[UUID] = mapped_column(ForeignKey("catalog_versions.id"), index=True)
    source: Mapped[str] = mapped_column(String(16))
    location: Mapped[str]
    revision: Mapped[str | None]
    resolved: Mapped[str | None]
    files: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    report: Mapped[dict[str, Any] | None]


class SecretRow(Base):
    """The encrypted secret of one version; `digest` names the configuration it was stored for."""

    __tablename__ = "catalog_secrets"

    version_id: Mapped[UUID] = mapped_column(ForeignKey("catalog_versions.id"), primary_key=True)
    digest: Mapped[str] = mapped_column(String(80))
    key_id: Mapped[str] = mapped_column(String(16), index=True)
    nonce: Mapped[bytes]
    ciphertext: Mapped[bytes]
    hint: Mapped[str] = mapped_column(String(8))
    updated_by: Mapped[str]
    updated_at: Mapped[datetime]


class ConnectionTestRow(Base):
    """That somebody had us ask a provider whether it answers; what the bounds on such tests are counted by."""

    __tablename__ = "provider_connection_tests"
    __audited__: ClassVar[bool] = False

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    actor_id: Mapped[str]
    host: Mapped[str]
    asked_at: Mapped[datetime] = mapped_column(default=utc_now, index=True)
