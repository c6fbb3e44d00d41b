"""What changed of training jobs, told from fingerprints: a few short queries however many jobs are watched."""

import hashlib
from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Text, cast, extract, func, literal, select
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import InstrumentedAttribute

from llmops_resources.database import Transaction
from llmops_resources.training.tables import JobRow, LogRow, SeriesRow
from llmops_resources.values import Value
from llmops_resources.work import ACTIVE, WorkStatus

_STATE = (
    JobRow.status, JobRow.attempt, JobRow.progress, JobRow.progress_message, JobRow.run_id, JobRow.error,
    JobRow.cancel_requested, JobRow.priority, JobRow.admitted_attempt, extract("epoch", JobRow.not_before),
    extract("epoch", JobRow.finished_at),
)  # fmt: skip  times as numbers: as words they depend on the session's time zone


class Glance(Value):
    """Where a job stands. `log`: the number of its newest line, 0 without any.

    `fingerprint` is another one as soon as anything of the job, its metrics or its log changed; it depends on the
    rows alone, so every server and every start of one makes the same.
    """

    job_id: UUID
    status: WorkStatus
    progress: float
    log: int
    fingerprint: str

    @property
    def ended(self) -> bool:
        return self.status not in ACTIVE


def glance(tx: Transaction, job_ids: Collection[UUID]) -> dict[UUID, Glance]:
    """Where these jobs stand, in three queries; one that does not exist is left out."""
    rows = tx.session.execute(select(JobRow.id, *_STATE).where(JobRow.id.in_(job_ids))).all()
    logs: dict[UUID, int] = dict(_newest_lines(tx, job_ids))
    series = dict(_series(tx, job_ids))
    found = {}
    for job_id, *state in rows:
        seen = [*state, logs.get(job_id, 0), series.get(job_id, "")]
        found[job_id] = Glance(
            job_id=job_id, status=state[0], progress=state[2], log=logs.get(job_id, 0), fingerprint=_digest(seen)
        )
    return found


def glance_at_all(tx: Transaction) -> str:
    """The fingerprint of the list of jobs: how many there are, what ended last, and each active one's state."""
    last = extract("epoch", func.max(JobRow.finished_at))
    every = tx.session.execute(select(func.count(), last).select_from(JobRow)).one()
    active = tx.session.scalar(select(_together(JobRow.id, JobRow.id, *_STATE)).where(JobRow.status.in_(ACTIVE)))
    return _digest([*every, active])


def _newest_lines(tx: Transaction, job_ids: Collection[UUID]) -> list[tuple[UUID, int]]:
    # A look-up in the primary key for each job; grouping would read every line.
    newest = select(func.max(LogRow.number)).where(LogRow.job_id == JobRow.id).scalar_subquery()
    rows = tx.session.execute(select(JobRow.id, newest).where(JobRow.id.in_(job_ids)))
    return [(job_id, number or 0) for job_id, number in rows]


def _series(tx: Transaction, job_ids: Collection[UUID]) -> list[tuple[UUID, str]]:
    state = (SeriesRow.name, SeriesRow.last_step, SeriesRow.last_value, extract("epoch", SeriesRow.last_at))
    query = select(SeriesRow.job_id, _together(SeriesRow.name, *state)).where(SeriesRow.job_id.in_(job_ids))
    query = query.group_by(SeriesRow.job_id)
    return [(job_id, text) for job_id, text in tx.session.execute(query)]


def _together(order: InstrumentedAttribute[Any], *columns: ColumnElement[Any] | InstrumentedAttribute[Any]) -> Any:
    """A hash over a group of rows, made where the rows are."""
    one = cast(func.row(*columns), Text)
    return func.md5(func.string_agg(one, aggregate_order_by(literal("\n"), order)))


def _digest(values: list[Any]) -> str:
    return hashlib.sha256("\x1f".join(map(str, values)).encode()).hexdigest()[:24]
