"""Rows of the evaluation room."""

from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from llmops_resources.database import Base
from llmops_resources.work import WorkRow


class EvaluationRow(WorkRow, Base):
    """A requested evaluation of one model version on one benchmark version."""

    __tablename__ = "evaluation_runs"

    run_type: Mapped[str] = mapped_column(String(16))
    model_id: Mapped[UUID] = mapped_column(ForeignKey("catalog_versions.id"), index=True)
    model_digest: Mapped[str] = mapped_column(String(80))
    dataset_id: Mapped[UUID] = mapped_column(ForeignKey("catalog_versions.id"), index=True)
    dataset_digest: Mapped[str] = mapped_column(String(80))
    training_job_id: Mapped[UUID | None]
    suite: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any] | None]
