"""Who may start now: a pure function of the waiting and the running jobs, the capacity and the quotas.

Jobs are charged to pools (see `placement`): so many units, all at once. One pass goes through the waiting jobs in the
order of `ranking` and starts what fits the pool and its team's quota. The first job that does not fit is its pool's
*head*: the earliest time at which it will fit, if every running job takes all the time it may, is kept for it. Later
jobs start only if they end before that time, or leave enough for the head at that time (EASY backfilling: Lifka, "The
ANL/IBM SP Scheduling System", 1995). So a pass never exceeds capacity or quota, leaves nothing idle that somebody may
use, and never delays a head by a job behind it.

Times are seconds since 1970, durations seconds.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from llmops_resources.training.ranking import Facts, Quota, Running, Waiting, ranked

_OVERDUE: Final = 60.0  # what a running job past its time is given to go away, when others' starts are foreseen


class WaitsFor(StrEnum):
    """Why a job does not start in this pass."""

    CAPACITY = "capacity"  # the pool is in use
    QUOTA = "quota"  # its team's quota is in use
    TURN = "turn"  # it would fit, but delay the head of its pool
    BACKOFF = "backoff"  # a failed attempt is not to be repeated yet
    LARGER_POOL = "larger_pool"  # it needs more than the pool has
    LARGER_QUOTA = "larger_quota"  # it needs more than the quota allows


@dataclass(frozen=True, slots=True)
class Decision:
    """What a pass says of one job. `behind` is the head it must not delay; `backfilled`: it started before a head.

    `needed`, `available` and `limit` are units: what it needs, what was free in what it waits for, and how much there
    is at all.
    """

    job: UUID
    start: bool
    waits_for: WaitsFor | None
    needed: int
    available: int
    limit: int
    pool: str
    team: str
    backfilled: bool = False
    behind: UUID | None = None

    @property
    def reason(self) -> str:
        """A sentence for people."""
        what = f"{self.needed} {self.pool}"
        there = max(self.available, 0)
        sentences = {
            None: f"{what}: before its turn, which delays nobody" if self.backfilled else what,
            WaitsFor.CAPACITY: f"needs {what}, and {there} of {self.limit} are free",
            WaitsFor.QUOTA: f"needs {what}, and team {self.team} has {there} of its {self.limit} left",
            WaitsFor.TURN: f"needs {what}, which are kept for a job before it",
            WaitsFor.BACKOFF: "waits a while before it is tried again",
            WaitsFor.LARGER_POOL: f"needs {what}, but there are only {self.limit} in all",
            WaitsFor.LARGER_QUOTA: f"needs {what}, but the quota of team {self.team} is {self.limit}",
        }
        return sentences[self.waits_for]


def admit(
    now: float,
    waiting: Iterable[Waiting],
    running: Iterable[Running],
    capacity: Mapping[str, int],
    quotas: Mapping[tuple[str, str], Quota],
    facts: Facts | None = None,
) -> list[Decision]:
    """One decision a waiting job, in the order in which they were considered; equal input gives equal output.

    `quotas` by (team, pool); the team `*` stands for every team without an entry, and without one only the capacity
    limits. A quota is a wall: what other teams leave idle is not lent beyond it. `facts` is what teams used lately.
    """
    busy = list(running)
    usage = Usage(now, busy, capacity, quotas)
    decisions = []
    for job, tell in ranked(now, waiting, busy, capacity, quotas, facts or Facts()):
        decision = usage.decide(job)
        decisions.append(decision)
        if decision.start:
            tell(decision.backfilled)
    return decisions


def quota_of(quotas: Mapping[tuple[str, str], Quota], team: str, pool: str) -> Quota | None:
    """The team's own quota of a pool, or everybody's."""
    return quotas.get((team, pool)) or quotas.get(("*", pool))


@dataclass(slots=True)
class _Head:
    """The first job of a pool that had to wait, when it will fit, and what it leaves to others from then on."""

    job: UUID
    team: str
    start: float
    spare: float
    spare_of_team: float

    def lets(self, job: Waiting, now: float) -> bool:
        """Whether a job behind it may start; one that goes on beyond the head's start takes of what is spare."""
        if now + job.max_seconds <= self.start:
            return True
        ours = job.team == self.team
        if job.units > self.spare or (ours and job.units > self.spare_of_team):
            return False
        self.spare -= job.units
        self.spare_of_team -= job.units if ours else 0
        return True


class Usage:
    """What is taken in every pool and by every team, in the course of one pass."""

    def __init__(
        self,
        now: float,
        running: Iterable[Running],
        capacity: Mapping[str, int],
        quotas: Mapping[tuple[str, str], Quota],
    ) -> None:
        self._now, self._capacity, self._quotas = now, capacity, quotas
        self._free = dict(capacity)
        self._used: dict[tuple[str, str], int] = {}
        self._ends: dict[str, list[tuple[float, int, str]]] = {}
        self._heads: dict[str, _Head] = {}
        for job in running:
            self._take(job.pool, job.team, job.units, max(job.started + job.max_seconds, now + _OVERDUE))

    def decide(self, job: Waiting) -> Decision:
        """Start the job or say what it waits for; what it takes is taken for those after it."""
        pool, team, needed = job.pool, job.team, job.units
        limit, free = self._capacity.get(pool, 0), self._free.get(pool, 0)
        quota = quota_of(self._quotas, team, pool)
        most: float = math.inf if quota is None or quota.units is None else quota.units
        left = most - self._used.get((team, pool), 0)
        head = self._heads.get(pool)
        waits_for: WaitsFor | None = None
        if needed > limit:
            waits_for = WaitsFor.LARGER_POOL
        elif needed > most:
            waits_for = WaitsFor.LARGER_QUOTA
        elif job.not_before is not None and job.not_before > self._now:
            waits_for = WaitsFor.BACKOFF
        elif needed > free or needed > left:
            waits_for = WaitsFor.CAPACITY if needed > free else WaitsFor.QUOTA
            if head is None:
                self._heads[pool] = self._reserve(job, most)
        elif head is not None and not head.lets(job, self._now):
            waits_for = WaitsFor.TURN
        else:
            self._take(pool, team, needed, self._now + job.max_seconds)
        of_quota = waits_for in {WaitsFor.QUOTA, WaitsFor.LARGER_QUOTA}
        return Decision(
            job=job.id, start=waits_for is None, waits_for=waits_for, needed=needed, pool=pool, team=team,
            available=int(left) if of_quota else free, limit=int(most) if of_quota else limit,
            backfilled=waits_for is None and head is not None,
            behind=head.job if head and waits_for is WaitsFor.TURN else None,
        )  # fmt: skip

    def _take(self, pool: str, team: str, units: int, end: float) -> None:
        self._free[pool] = self._free.get(pool, 0) - units
        self._used[team, pool] = self._used.get((team, pool), 0) + units
        self._ends.setdefault(pool, []).append((end, units, team))

    def _reserve(self, job: Waiting, most: float) -> _Head:
        """When the job fits at the latest; jobs that end at the same moment leave together."""
        free, used = float(self._free[job.pool]), float(self._used.get((job.team, job.pool), 0))
        start = self._now
        for end, units, team in sorted(self._ends.get(job.pool, [])):
            if end > start and free >= job.units and used + job.units <= most:
                break
            start = end
            free += units
            used -= units if team == job.team else 0
        return _Head(job.id, job.team, start, free - job.units, most - used - job.units)
