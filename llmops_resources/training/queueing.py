"""The queue over rows: one pass of admission, and what the queue looks like to people.

A row that the queue let go is marked with its attempt, in one transaction with the decision; from then on it is
charged, whatever happens to its run. Passes exclude one another by a lock of the database, so two daemons cannot let
more go than fits. A run may only claim a row that is marked.
"""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, or_, select, text

from llmops_resources import work
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict
from llmops_resources.training import queue, quotas
from llmops_resources.training.forecast import forecast
from llmops_resources.training.placement import Capacity
from llmops_resources.training.queue import Decision
from llmops_resources.training.ranking import WINDOW, Facts, Running, Waiting
from llmops_resources.training.tables import JobRow
from llmops_resources.values import utc_now
from llmops_resources.work import WorkStatus

_LOCK: Final = 7_265_003
_LET_GO: Final = and_(JobRow.status == WorkStatus.QUEUED, JobRow.admitted_attempt == JobRow.attempt)
_HOLDS: Final = or_(JobRow.status == WorkStatus.RUNNING, _LET_GO)
_WAITS: Final = and_(
    JobRow.status == WorkStatus.QUEUED, JobRow.admitted_attempt.is_distinct_from(JobRow.attempt)
)


class Pass:
    """The facts of one pass, read at one moment, and what the queue decides on them."""

    def __init__(self, tx: Transaction, capacity: Capacity) -> None:
        self.moment = utc_now()
        self.now = self.moment.timestamp()
        self.capacity, self.quotas = capacity, quotas.table(tx)
        self.waiting, self.running = _waiting(tx), _running(tx)
        self.facts = Facts(_unit_seconds(tx, self.moment), _last_turns(tx, self.moment))
        self.decisions: list[Decision] = queue.admit(
            self.now, self.waiting.values(), self.running, capacity, self.quotas, self.facts
        )

    def forecast(self) -> dict[UUID, float]:
        """The expected start of every job that can start some day."""
        return forecast(
            self.now, self.decisions, self.waiting, self.running, self.capacity, self.quotas, self.facts
        )


def admit_waiting(tx: Transaction, capacity: Capacity) -> list[UUID]:
    """Let go what may start now, and say so in the audit log; the jobs in the order of the queue."""
    if not _something_may_fit(tx, capacity):
        return []
    tx.session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    admitted = []
    for decision in Pass(tx, capacity).decisions:
        if not decision.start:
            continue
        row = work.load(tx, JobRow, decision.job, "training job")
        if row.status != WorkStatus.QUEUED:  # it was cancelled since it was read
            continue
        row.admitted_attempt, row.admitted_at, row.backfilled = row.attempt, utc_now(), decision.backfilled
        admitted.append(row.id)
        tx.audit(
            "training.admit", "training_job", row.id, attempt=row.attempt, team=row.team, pool=row.pool,
            units=row.units, backfilled=row.backfilled,
        )  # fmt: skip
    return admitted


def admit_now(tx: Transaction, job_id: UUID, capacity: Capacity) -> None:
    """Let one job go that somebody starts by hand. Raises Conflict when the queue would have it wait."""
    tx.session.flush()
    if job_id not in admit_waiting(tx, capacity):
        reason = next((d.reason for d in Pass(tx, capacity).decisions if d.job == job_id), "it is not waiting")
        raise Conflict(f"the job cannot start now: {reason}", remedy="Submit it, and the queue starts it in its turn.")


def free_now(tx: Transaction, capacity: Capacity) -> dict[str, int]:
    """Units of each pool that no job holds."""
    query = select(JobRow.pool, func.sum(JobRow.units)).where(_HOLDS).group_by(JobRow.pool)
    held: dict[str, int] = {pool: int(units) for pool, units in tx.session.execute(query)}
    return {pool: units - held.get(pool, 0) for pool, units in capacity.items()}


def _something_may_fit(tx: Transaction, capacity: Capacity) -> bool:
    """Whether the smallest waiting job of some pool fits what is free; so a look at a full house is cheap."""
    query = select(JobRow.pool, func.min(JobRow.units)).where(_WAITS).group_by(JobRow.pool)
    smallest = {pool: int(units) for pool, units in tx.session.execute(query)}
    return bool(smallest) and any(
        units >= smallest[pool] for pool, units in free_now(tx, capacity).items() if pool in smallest
    )


def _waiting(tx: Transaction) -> dict[UUID, Waiting]:
    columns = (
        JobRow.id, JobRow.team, JobRow.pool, JobRow.units, JobRow.priority, JobRow.waiting_since,
        JobRow.max_minutes, JobRow.not_before,
    )  # fmt: skip
    return {
        row_id: Waiting(row_id, team, pool, units, priority, since.timestamp(), minutes * 60.0, _seconds(not_before))
        for row_id, team, pool, units, priority, since, minutes, not_before in tx.session.execute(
            select(*columns).where(_WAITS)
        )
    }


def _running(tx: Transaction) -> list[Running]:
    started = func.coalesce(JobRow.started_at, JobRow.admitted_at, func.now())
    columns = (JobRow.id, JobRow.team, JobRow.pool, JobRow.units, started, JobRow.max_minutes, JobRow.progress)
    return [
        Running(row_id, team, pool, units, begun.timestamp(), minutes * 60.0, progress)
        for row_id, team, pool, units, begun, minutes, progress in tx.session.execute(select(*columns).where(_HOLDS))
    ]


def _unit_seconds(tx: Transaction, moment: datetime) -> dict[tuple[str, str], float]:
    """What each team used of each pool in the window; of a job that was tried again, the last attempt."""
    since = moment - timedelta(seconds=WINDOW)
    end = func.coalesce(JobRow.finished_at, moment)
    spent = func.extract("epoch", end - func.greatest(JobRow.started_at, since)) * JobRow.units
    ended: ColumnElement[bool] = JobRow.finished_at > since
    query = (
        select(JobRow.team, JobRow.pool, func.sum(spent))
        .where(JobRow.started_at.is_not(None), or_(JobRow.status == WorkStatus.RUNNING, ended))
        .group_by(JobRow.team, JobRow.pool)
    )
    return _by_team(tx.session.execute(query).all())


def _last_turns(tx: Transaction, moment: datetime) -> dict[tuple[str, str], float]:
    query = (
        select(JobRow.team, JobRow.pool, func.extract("epoch", func.max(JobRow.admitted_at)))
        .where(JobRow.backfilled.is_(False), JobRow.admitted_at > moment - timedelta(days=30))
        .group_by(JobRow.team, JobRow.pool)
    )
    return _by_team(tx.session.execute(query).all())


def _by_team(rows: Any) -> dict[tuple[str, str], float]:
    return {(team, pool): float(number) for team, pool, number in rows}


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
