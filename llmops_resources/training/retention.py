"""What is measured and said is kept for a while; what a job came to, for ever.

Of a job that ended long ago the points of its curves and the lines of its log go. Its record, its summary, and each
metric's last value stay, so it is still found, compared and explained.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import delete, exists, or_, select, tuple_

from llmops_resources import work
from llmops_resources.database import Transaction
from llmops_resources.training.tables import JobRow, LogRow, MetricRow
from llmops_resources.values import utc_now

BATCH: Final = 10_000  # rows in one transaction: recording goes on beside it


def outlived(tx: Transaction, age: timedelta, *, limit: int = 100) -> Sequence[UUID]:
    """Jobs that ended longer ago than `age` and still have points or lines; those that ended first come first."""
    kept = or_(exists().where(MetricRow.job_id == JobRow.id), exists().where(LogRow.job_id == JobRow.id))
    query = (
        select(JobRow.id)
        .where(JobRow.status.not_in(work.ACTIVE), JobRow.finished_at < utc_now() - age, kept)
        .order_by(JobRow.finished_at, JobRow.id)
        .limit(limit)
    )
    return tx.session.scalars(query).all()


def forget(tx: Transaction, job_id: UUID, age: timedelta, *, batch: int = BATCH) -> int:
    """Remove at most `batch` points, or when there are none lines, of such a job; how many. Telemetry: not audited.

    A job that was retried in the meantime keeps everything.
    """
    row = work.load(tx, JobRow, job_id, "training job")  # locked, so that nobody retries it at the same time
    if row.status in work.ACTIVE or row.finished_at is None or row.finished_at >= utc_now() - age:
        return 0
    points = select(MetricRow.name, MetricRow.step).where(MetricRow.job_id == job_id).limit(batch)
    lines = select(LogRow.number).where(LogRow.job_id == job_id).order_by(LogRow.number).limit(batch)
    statements = (
        delete(MetricRow).where(MetricRow.job_id == job_id, tuple_(MetricRow.name, MetricRow.step).in_(points)),
        delete(LogRow).where(LogRow.job_id == job_id, LogRow.number.in_(lines)),
    )
    for statement in statements:
        if gone := tx.erase(statement):
            return gone
    return 0
