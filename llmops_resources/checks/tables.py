"""Rows of the checks room."""

from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from llmops_resources.database import Base
from llmops_resources.work import WorkRow


class ValidationRow(WorkRow, Base):
    """A requested check of one data set version."""

    __tablename__ = "validations"

    dataset_id: Mapped[UUID] = mapped_column(ForeignKey("catalog_versions.id"), index=True)
    digest: Mapped[str] = mapped_column(String(80))
    report: Mapped[dict[str, Any] | None]


class ComparisonRow(WorkRow, Base):
    """A requested comparison of two data set versions; one that failed may be requested again."""

    __tablename__ = "comparisons"
    __table_args__ = (
        Index(
            "uq_comparisons_wanted",
            "newer_id",
            "older_id",
            "options_digest",
            unique=True,
            postgresql_where=text("status IN ('queued', 'running', 'succeeded')"),
        ),
    )

    older_id: Mapped[UUID] = mapped_column(ForeignKey("catalog_versions.id"), index=True)
    newer_id: Mapped[UUID] = mapped_column(ForeignKey("catalog_versions.id"), index=True)
    options: Mapped[dict[str, Any]]
    options_digest: Mapped[str] = mapped_column(String(80))
    result: Mapped[dict[str, Any] | None]
