"""Rows of the training room."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID, uuid4

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from llmops_resources.database import Base
from llmops_resources.values import utc_now
from llmops_resources.work import WorkRow


class JobRow(WorkRow, Base):
    """A requested training job, where it waits, and where its model goes.

    `job_type` is the type as submitted; the recipe names what is trained. What a job is charged (`team`, `pool`,
    `units`, `max_minutes`) is written once, when it is submitted. It is admitted while `admitted_attempt` is the
    present attempt; attempts before `first_attempt` belong to an earlier request to run it.
    """

    __tablename__ = "training_jobs"
    __table_args__ = (Index("ix_training_jobs_pool", "status", "pool", "team"),)

    job_type: Mapped[str] = mapped_column(String(16))
    dataset_id: Mapped[UUID] = mapped_column(ForeignKey("catalog_versions.id"), index=True)
    dataset_digest: Mapped[str] = mapped_column(String(80))
    model_id: Mapped[UUID | None] = mapped_column(ForeignKey("catalog_versions.id"), index=True)
    model_digest: Mapped[str | None] = mapped_column(String(80))
    recipe: Mapped[dict[str, Any]]
    recipe_digest: Mapped[str] = mapped_column(String(80))
    resource_profile: Mapped[dict[str, Any]] = mapped_column(default=dict)
    resource_decision: Mapped[dict[str, Any]]
    use_gpu: Mapped[bool]
    team: Mapped[str] = mapped_column(String(128))
    pool: Mapped[str] = mapped_column(String(32))
    units: Mapped[int]
    max_minutes: Mapped[int]
    priority: Mapped[int] = mapped_column(default=0)
    waiting_since: Mapped[datetime] = mapped_column(default=utc_now)
    not_before: Mapped[datetime | None]
    first_attempt: Mapped[int] = mapped_column(default=1)
    admitted_attempt: Mapped[int | None]
    admitted_at: Mapped[datetime | None]
    backfilled: Mapped[bool] = mapped_column(default=False)
    retry_policy: Mapped[dict[str, Any]] = mapped_column(default=dict)
    notifications: Mapped[dict[str, Any]] = mapped_column(default=dict)
    api_base_url: Mapped[str | None] = mapped_column(String(500))
    failure: Mapped[dict[str, Any] | None]
    auto_evaluate: Mapped[dict[str, Any] | None]
    output_model_name: Mapped[str] = mapped_column(String(128), index=True)
    output_version: Mapped[str] = mapped_column(String(64))
    output_version_id: Mapped[UUID] = mapped_column(default=uuid4)
    summary: Mapped[dict[str, Any] | None]


class QuotaRow(Base):
    """The most units of a pool that a team may hold at once (NULL: no limit of its own), and its weight in sharing."""

    __tablename__ = "training_quotas"

    team: Mapped[str] = mapped_column(String(128), primary_key=True)
    pool: Mapped[str] = mapped_column(String(32), primary_key=True)
    units: Mapped[int | None]
    weight: Mapped[float] = mapped_column(default=1.0)
    updated_by: Mapped[str]
    updated_at: Mapped[datetime] = mapped_column(default=utc_now)


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


class SeriesRow(Base):
    """A metric of a job, and its value at the highest step: what runs are found and sorted by."""

    __tablename__ = "experiment_series"
    __table_args__ = (Index("ix_experiment_series_name", "name", "last_value"),)
    __audited__: ClassVar[bool] = False

    job_id: Mapped[UUID] = mapped_column(ForeignKey("training_jobs.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    unit: Mapped[str | None] = mapped_column(String(32))
    last_step: Mapped[int]
    last_value: Mapped[float]
    last_at: Mapped[datetime]


class LogRow(Base):
    """A line of a job's log; numbers count through all attempts, and a missing one is a line that was left out."""

    __tablename__ = "training_log_lines"
    __audited__: ClassVar[bool] = False

    job_id: Mapped[UUID] = mapped_column(ForeignKey("training_jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int]
    at: Mapped[datetime]
    source: Mapped[str] = mapped_column(String(16))
    text: Mapped[str] = mapped_column(String(2000))


class MirrorRow(Base):
    """How far an experiment has come in MLflow.

    `sent` is, for each metric, the highest step sent and how many values were. `state` is the job's status and attempt
    that MLflow was told last, as `<status>:<attempt>`. While a sender holds the row, `next_attempt_at` lies ahead.
    """

    __tablename__ = "mlflow_mirrors"
    __audited__: ClassVar[bool] = False

    job_id: Mapped[UUID] = mapped_column(ForeignKey("training_jobs.id"), primary_key=True)
    run_id: Mapped[str | None] = mapped_column(String(64))
    sent: Mapped[dict[str, Any]] = mapped_column(default=dict)
    described: Mapped[bool] = mapped_column(default=False)
    state: Mapped[str | None] = mapped_column(String(32))
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime] = mapped_column(default=utc_now, index=True)
    error: Mapped[str | None] = mapped_column(String(1000))
