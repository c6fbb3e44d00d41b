"""What the queue looks like: places, what each job waits for, expected starts, targets, and who uses what."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import select

from llmops_resources.database import Transaction
from llmops_resources.training.placement import Capacity
from llmops_resources.training.profile import PriorityClass, class_of
from llmops_resources.training.queue import Decision, WaitsFor, quota_of
from llmops_resources.training.queueing import Pass
from llmops_resources.training.tables import JobRow
from llmops_resources.values import Value


class QueueEntry(Value):
    """A waiting job. `position` counts from 1 in its pool; `waits_for` is None for one that starts at the next look.

    `expected_start` is None for a job that can never start as things are. `sla_seconds_left` counts down to the time
    by which jobs of this priority are meant to have started, and is negative after it.
    """

    job_id: UUID
    output_model_name: str
    output_version: str
    requested_by: str
    team: str
    pool: str
    units: int
    priority: int
    priority_class: PriorityClass
    position: int
    waits_for: WaitsFor | None
    reason: str
    behind: UUID | None
    waiting_since: datetime
    not_before: datetime | None
    expected_start: datetime | None
    sla_due: datetime
    sla_seconds_left: float


class TeamUsage(Value):
    """What a team holds of a pool now, of its quota (None: no limit of its own), and how many of its jobs wait."""

    team: str
    pool: str
    used: int
    quota: int | None
    weight: float
    waiting: int


class PoolUsage(Value):
    """A type of GPU, or `cpu`: how much there is, how much is held, and how many jobs wait for it."""

    pool: str
    capacity: int
    used: int
    waiting: int


class QueueView(Value):
    """The queue at one moment; `entries` in the order in which they are considered."""

    at: datetime
    total: int
    entries: tuple[QueueEntry, ...]
    pools: tuple[PoolUsage, ...]
    teams: tuple[TeamUsage, ...]


def view(
    tx: Transaction,
    capacity: Capacity,
    sla_minutes: Mapping[str, int],
    *,
    job_id: UUID | None = None,
    limit: int = 100,
) -> QueueView:
    """The queue as the next pass would see it; only one job's entry when `job_id` says so."""
    now = Pass(tx, capacity)
    starts = now.forecast()
    places: dict[str, int] = {}
    shown: list[tuple[Decision, int]] = []
    for decision in now.decisions:
        place = places[decision.pool] = places.get(decision.pool, 0) + 1
        if decision.job == job_id or (job_id is None and len(shown) < limit):
            shown.append((decision, place))
    columns = (
        JobRow.id, JobRow.output_model_name, JobRow.output_version, JobRow.requested_by, JobRow.waiting_since,
        JobRow.not_before,
    )  # fmt: skip
    named = select(*columns).where(JobRow.id.in_([decision.job for decision, _ in shown]))
    about = {row.id: row for row in tx.session.execute(named)}
    entries = []
    for decision, place in shown:
        row, job = about[decision.job], now.waiting[decision.job]
        level = class_of(job.priority)
        due = row.waiting_since + timedelta(minutes=sla_minutes[level])
        start = starts.get(decision.job)
        entries.append(
            QueueEntry(
                job_id=row.id, output_model_name=row.output_model_name, output_version=row.output_version,
                requested_by=row.requested_by, team=job.team, pool=job.pool, units=job.units, priority=job.priority,
                priority_class=level, position=place, waits_for=decision.waits_for, behind=decision.behind,
                reason=decision.reason if decision.waits_for else "starts at the next look",
                waiting_since=row.waiting_since, not_before=row.not_before,
                expected_start=None if start is None else datetime.fromtimestamp(start, UTC),
                sla_due=due, sla_seconds_left=(due - now.moment).total_seconds(),
            )
        )  # fmt: skip
    return QueueView(
        at=now.moment, total=len(now.decisions), entries=tuple(entries), pools=_pools(now), teams=_teams(now)
    )


def _pools(now: Pass) -> tuple[PoolUsage, ...]:
    names = {*now.capacity, *(job.pool for job in now.running), *(job.pool for job in now.waiting.values())}
    return tuple(
        PoolUsage(
            pool=pool,
            capacity=now.capacity.get(pool, 0),
            used=sum(job.units for job in now.running if job.pool == pool),
            waiting=sum(job.pool == pool for job in now.waiting.values()),
        )
        for pool in sorted(names)
    )


def _teams(now: Pass) -> tuple[TeamUsage, ...]:
    used: Counter[tuple[str, str]] = Counter()
    for job in now.running:
        used[job.team, job.pool] += job.units
    waiting = Counter((job.team, job.pool) for job in now.waiting.values())
    found = []
    for team, pool in sorted({*used, *waiting, *(pair for pair in now.quotas if pair[0] != "*")}):
        quota = quota_of(now.quotas, team, pool)
        found.append(
            TeamUsage(
                team=team,
                pool=pool,
                used=used[team, pool],
                quota=quota.units if quota else None,
                weight=quota.weight if quota else 1.0,
                waiting=waiting[team, pool],
            )
        )
    return tuple(found)
