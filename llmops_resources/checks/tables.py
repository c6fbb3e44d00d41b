"""Rows of the checks room."""

from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from llmops_resources.database import Base
from llmops_resources.work import WorkRow


class ValidationRow(WorkRow, Base):
    """A requested check of one data set version."""

    __tablename__ = "validations"

    dataset_id: Mapped[UUID] = mapped_column(ForeignKey("catalog_versions.id"), index=True)
    digest: Mapped[str] = mapped_column(String(80))
    report: Mapped[dict[str, Any] | None]
