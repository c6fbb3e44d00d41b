"""Experiment records: what a job measured while it ran."""

import math
from datetime import datetime
from typing import Final
from uuid import UUID

from pydantic import Field
from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert

from llmops_resources import work
from llmops_resources.database import Transaction
from llmops_resources.errors import ValidationFailed, field_problem
from llmops_resources.training.tables import JobRow, MetricRow, SeriesRow
from llmops_resources.values import Value, utc_now

NAMES: Final = 500  # different metrics a job may record: more is a mistake or an attack, and no page can show them
LAST_STEP: Final = 2**31 - 1


class Metric(Value):
    """One measured value at one step."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_./-]+$")
    value: float
    unit: str | None = Field(default=None, max_length=32)
    step: int = Field(default=0, ge=0, le=LAST_STEP)
    recorded_at: datetime = Field(default_factory=utc_now)


def record(tx: Transaction, job_id: UUID | str, metrics: list[Metric]) -> list[Metric]:
    """Store metrics; the same name and step again overwrites. Raises NotFound for an unknown job.

    Telemetry: not audited. Not-a-number and infinity are refused with ValidationFailed, since no chart can show them,
    and so are more than `NAMES` different names a job.
    """
    problems = [
        field_problem(f"{number}.value", "is not a finite number", "Leave the metric out, or record why it diverged.")
        for number, metric in enumerate(metrics)
        if not math.isfinite(metric.value)
    ]
    if problems:
        raise ValidationFailed("metrics must be finite", details=problems)
    job = work.read(tx, JobRow, job_id, "training job")
    # In one order everywhere, so that two batches at once wait for each other and never for both.
    newest = sorted({(metric.name, metric.step): metric for metric in metrics}.items())
    if newest:
        _check_names(tx, job.id, metrics)
        _store(tx, job.id, [metric for _, metric in newest])
        _note_last(tx, job.id, {metric.name: metric for _, metric in newest})
    return metrics


def of_job(tx: Transaction, job_id: UUID | str, *, name: str | None = None, after_step: int = -1) -> list[Metric]:
    """A job's metrics in the order they were recorded. Raises NotFound for an unknown job."""
    job = work.read(tx, JobRow, job_id, "training job")
    query = select(*_COLUMNS).where(MetricRow.job_id == job.id, MetricRow.step > after_step)
    if name is not None:
        query = query.where(MetricRow.name == name)
    query = query.order_by(MetricRow.recorded_at, MetricRow.step, MetricRow.name)
    return [Metric.model_construct(**row) for row in tx.session.execute(query).mappings()]


def points(
    tx: Transaction, job_id: UUID | str, name: str, *, after_step: int = -1, limit: int = 100
) -> list[Metric]:
    """One metric's values in the order of steps, for tables. Raises NotFound for an unknown job."""
    job = work.read(tx, JobRow, job_id, "training job")
    mine = (MetricRow.job_id == job.id, MetricRow.name == name, MetricRow.step > after_step)
    query = select(*_COLUMNS).where(*mine).order_by(MetricRow.step).limit(limit)
    return [Metric.model_construct(**row) for row in tx.session.execute(query).mappings()]


#: Columns as arrays: one short statement however many rows, which also takes far less time to make.
_INSERT: Final = text(
    "INSERT INTO experiment_metrics (job_id, name, value, unit, step, recorded_at) SELECT :job_id, * FROM unnest("
    "CAST(:name AS varchar[]), CAST(:value AS float8[]), CAST(:unit AS varchar[]), CAST(:step AS integer[]), "
    "CAST(:recorded_at AS timestamptz[])) ON CONFLICT (job_id, name, step) DO UPDATE "
    "SET value = excluded.value, unit = excluded.unit, recorded_at = excluded.recorded_at"
)
_COLUMNS = (MetricRow.name, MetricRow.value, MetricRow.unit, MetricRow.step, MetricRow.recorded_at)


def _check_names(tx: Transaction, job_id: UUID, metrics: list[Metric]) -> None:
    """Raises ValidationFailed for the names that are too many; the job is locked while there are new ones."""
    wanted = {metric.name for metric in metrics}
    mine = select(SeriesRow.name).where(SeriesRow.job_id == job_id)
    if not wanted - set(tx.session.scalars(mine.where(SeriesRow.name.in_(wanted)))):
        return
    work.load(tx, JobRow, job_id, "training job")
    known = set(tx.session.scalars(mine))
    new = sorted(wanted - known)
    if len(known) + len(new) > NAMES:
        remedy = f"Record at most {NAMES} different names a job, and put what varies into the step."
        extra = set(new[max(NAMES - len(known), 0) :])
        first = {metric.name: number for number, metric in reversed(list(enumerate(metrics)))}
        raise ValidationFailed(
            f"the job has {len(known)} different metrics, and {len(new)} more would be over {NAMES}",
            details=[
                field_problem(f"{first[name]}.name", "is one name too many", remedy) for name in sorted(extra)[:20]
            ],
        )


def _store(tx: Transaction, job_id: UUID, metrics: list[Metric]) -> None:
    columns = {name: [getattr(metric, name) for metric in metrics] for name in Metric.model_fields}
    tx.session.execute(_INSERT, {"job_id": job_id, **columns})


def _note_last(tx: Transaction, job_id: UUID, last: dict[str, Metric]) -> None:
    """Keep each metric's value at its highest step; `last` is in the order of names."""
    rows = [
        {"job_id": job_id, "name": metric.name, "unit": metric.unit, "last_step": metric.step,
         "last_value": metric.value, "last_at": metric.recorded_at}
        for metric in last.values()
    ]  # fmt: skip
    statement = insert(SeriesRow).values(rows)
    new = statement.excluded
    changed = {name: new[name] for name in ("unit", "last_step", "last_value", "last_at")}
    tx.session.execute(
        statement.on_conflict_do_update(
            index_elements=["job_id", "name"], set_=changed, where=new.last_step >= SeriesRow.last_step
        )
    )


def count(tx: Transaction, job_id: UUID) -> int:
    """How many values a job has recorded."""
    return tx.session.scalar(select(func.count()).select_from(MetricRow).where(MetricRow.job_id == job_id)) or 0
