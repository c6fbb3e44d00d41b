"""Experiment records: what a job measured while it ran."""

import math
from datetime import datetime
from uuid import UUID

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from llmops_resources import work
from llmops_resources.database import Transaction
from llmops_resources.errors import ValidationFailed, field_problem
from llmops_resources.training.tables import JobRow, MetricRow
from llmops_resources.values import Value, utc_now


class Metric(Value):
    """One measured value at one step."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_./-]+$")
    value: float
    unit: str | None = Field(default=None, max_length=32)
    step: int = Field(default=0, ge=0)
    recorded_at: datetime = Field(default_factory=utc_now)


def record(tx: Transaction, job_id: UUID | str, metrics: list[Metric]) -> list[Metric]:
    """Store metrics; the same name and step again overwrites. Raises NotFound for an unknown job.

    Telemetry: not audited. Not-a-number and infinity are refused with ValidationFailed, since no chart can show them.
    """
    problems = [
        field_problem(f"{number}.value", "is not a finite number", "Leave the metric out, or record why it diverged.")
        for number, metric in enumerate(metrics)
        if not math.isfinite(metric.value)
    ]
    if problems:
        raise ValidationFailed("metrics must be finite", details=problems)
    job = work.read(tx, JobRow, job_id, "training job")
    newest = {(metric.name, metric.step): metric for metric in metrics}
    if newest:
        rows = [{"job_id": job.id, **metric.model_dump()} for metric in newest.values()]
        statement = insert(MetricRow).values(rows)
        changed = {name: statement.excluded[name] for name in ("value", "unit", "recorded_at")}
        tx.session.execute(
            statement.on_conflict_do_update(index_elements=["job_id", "name", "step"], set_=changed)
        )
    return metrics


def of_job(tx: Transaction, job_id: UUID | str, *, name: str | None = None, after_step: int = -1) -> list[Metric]:
    """A job's metrics in the order they were recorded. Raises NotFound for an unknown job."""
    job = work.read(tx, JobRow, job_id, "training job")
    query = (
        select(MetricRow)
        .where(MetricRow.job_id == job.id, MetricRow.step > after_step)
        .order_by(MetricRow.recorded_at, MetricRow.step, MetricRow.name)
    )
    if name is not None:
        query = query.where(MetricRow.name == name)
    return [
        Metric(name=row.name, value=row.value, unit=row.unit, step=row.step, recorded_at=row.recorded_at)
        for row in tx.session.scalars(query)
    ]
