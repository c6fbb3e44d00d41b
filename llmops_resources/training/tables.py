"""Rows of the training room."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID, uuid4

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from llmops_resources.database import Base
from llmops_resources.values import utc_now
from llmops_resources.work import WorkRow


class JobRow(WorkRow, Base):
    """A requested training job and where its model goes."""

    __tablename__ = "training_jobs"

    job_type: Mapped[str] = mapped_column(String(16))
    dataset_id: Mapped[UUID] = mapped_column(ForeignKey("catalog_versions.id"), index=True)
    dataset_digest: Mapped[str] = mapped_column(String(80))
    model_id: Mapped[UUID | None] = mapped_column(ForeignKey("catalog_versions.id"), index=True)
    model_digest: Mapped[str | None] = mapped_column(String(80))
    recipe: Mapped[dict[str, Any]]
    recipe_digest: Mapped[str] = mapped_column(String(80))
    resource_profile: Mapped[dict[str, Any]] = mapped_column(default=dict)
    auto_evaluate: Mapped[dict[str, Any] | None]
    output_model_name: Mapped[str] = mapped_column(String(128), index=True)
    output_version: Mapped[str] = mapped_column(String(64))
    output_version_id: Mapped[UUID] = mapped_column(default=uuid4)
    summary: Mapped[dict[str, Any] | None]


class MetricRow(Base):
    """One measured value; the same (job, name, step) again overwrites, so a retried attempt doubles nothing."""

    __tablename__ = "experiment_metrics"
    __audited__: ClassVar[bool] = False

    job_id: Mapped[UUID] = mapped_column(ForeignKey("training_jobs.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[float]
    unit: Mapped[str | None] = mapped_column(String(32))
    recorded_at: Mapped[datetime] = mapped_column(default=utc_now)
