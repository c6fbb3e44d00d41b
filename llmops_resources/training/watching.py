"""What changed of training jobs, told from fingerprints: a few short queries however many jobs are watched."""

import hashlib
from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import func, literal, select
from sqlalchemy.dialects.postgresql import aggregate_order_by

from llmops_resources.database import Transaction
from llmops_resources.training.tables import JobRow, LogRow, SeriesRow
from llmops_resources.values import Value
from llmops_resources.work import ACTIVE, WorkStatus

_STATE = (
    JobRow.status, JobRow.attempt, JobRow.progress, JobRow.progress_message, JobRow.run_id, JobRow.error,
    JobRow.cancel_requested, JobRow.priority, JobRow.admitted_attempt, JobRow.not_before, JobRow.finished_at,
)  # fmt: skip


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
    every = tx.session.execute(select(func.count(), func.max(JobRow.finished_at)).select_from(JobRow)).one()
    active = tx.session.execute(select(JobRow.id, *_STATE).where(JobRow.status.in_(ACTIVE)).order_by(JobRow.id))
    return _digest([*every, *(value for row in active for value in row)])


def _newest_lines(tx: Transaction, job_ids: Collection[UUID]) -> list[tuple[UUID, int]]:
    # A look-up in the primary key for each job; grouping would read every line.
    newest = select(func.max(LogRow.number)).where(LogRow.job_id == JobRow.id).scalar_subquery()
    rows = tx.session.execute(select(JobRow.id, newest).where(JobRow.id.in_(job_ids)))
    return [(job_id, number or 0) for job_id, number in rows]


def _series(tx: Transaction, job_ids: Collection[UUID]) -> list[tuple[UUID, str]]:
    one = func.concat_ws(" ", SeriesRow.name, SeriesRow.last_step, SeriesRow.last_value, SeriesRow.last_at)
    together = func.md5(func.string_agg(one, aggregate_order_by(literal("\n"), SeriesRow.name)))
    query = select(SeriesRow.job_id, together).where(SeriesRow.job_id.in_(job_ids)).group_by(SeriesRow.job_id)
    return [(job_id, text) for job_id, text in tx.session.execute(query)]


def _digest(values: list[Any]) -> str:
    return hashlib.sha256("\x1f".join(map(str, values)).encode()).hexdigest()[:24]
