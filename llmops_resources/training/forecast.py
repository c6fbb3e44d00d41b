"""When waiting jobs will start, by running the queue ahead of time; pure.

A running job is expected to end when its progress says so, and at the latest when its time is over; a waiting one is
expected to take all the time it may. Nobody is backfilled in here, so jobs start earlier than foreseen as a rule.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final
from uuid import UUID

from llmops_resources.training.queue import Decision, WaitsFor, quota_of
from llmops_resources.training.ranking import Facts, Quota, Running, Shares, Waiting

_TELLING: Final = 0.02  # progress below this says nothing about the speed
_NEVER: Final = frozenset({WaitsFor.LARGER_POOL, WaitsFor.LARGER_QUOTA})


def expected_end(now: float, job: Running) -> float:
    """When a running job ends at the present speed, and not after its time is over."""
    latest = job.started + job.max_seconds
    elapsed = now - job.started
    by_speed = job.started + elapsed / job.progress if job.progress >= _TELLING and elapsed > 0 else latest
    return max(min(by_speed, latest), now)


def forecast(
    now: float,
    decisions: Iterable[Decision],
    waiting: Mapping[UUID, Waiting],
    running: Iterable[Running],
    capacity: Mapping[str, int],
    quotas: Mapping[tuple[str, str], Quota],
    facts: Facts | None = None,
) -> dict[UUID, float]:
    """The expected start of every waiting job, in seconds since 1970; a job that can never start is left out.

    `decisions` is what `queue.admit` said of the waiting jobs; those it starts, start now.
    """
    busy = list(running)
    lines: dict[str, dict[str, deque[Waiting]]] = {}
    starts: dict[UUID, float] = {}
    for decision in decisions:
        job = waiting[decision.job]
        if decision.start:
            starts[job.id] = now
            busy.append(Running(job.id, job.team, job.pool, job.units, now, job.max_seconds))
        elif decision.waits_for not in _NEVER:
            lines.setdefault(job.pool, {}).setdefault(job.team, deque()).append(job)
    shares = Shares(busy, capacity, quotas, facts or Facts())
    for pool, teams in lines.items():
        line = _Pool(pool, capacity[pool], quotas, [job for job in busy if job.pool == pool], now)
        starts |= line.run(now, teams, shares)
    return starts


class _Pool:
    """One pool in the course of time."""

    def __init__(
        self, pool: str, capacity: int, quotas: Mapping[tuple[str, str], Quota], busy: list[Running], now: float
    ) -> None:
        self._pool, self._quotas = pool, quotas
        self._free = capacity - sum(job.units for job in busy)
        self._used: dict[str, int] = {}
        self._ends = [(expected_end(now, job), job.units, job.team) for job in busy]
        for job in busy:
            self._used[job.team] = self._used.get(job.team, 0) + job.units
        heapq.heapify(self._ends)

    def run(self, now: float, teams: dict[str, deque[Waiting]], shares: Shares) -> dict[UUID, float]:
        """Start what fits, the best first; then go on to the next end or to the end of a wait."""
        starts: dict[UUID, float] = {}
        while teams:
            while (job := self._next(now, teams, shares)) is not None:
                starts[job.id] = now
                teams[job.team].popleft()
                if not teams[job.team]:
                    del teams[job.team]
                self._start(now, job, shares)
            later = [job.not_before for line in teams.values() if (job := line[0]).not_before and job.not_before > now]
            if not self._ends and not later:
                break
            now = min([*later, *[end for end, _, _ in self._ends[:1]]])
            self._end(now, shares)
        return starts

    def _next(self, now: float, teams: dict[str, deque[Waiting]], shares: Shares) -> Waiting | None:
        ready = [line[0] for line in teams.values() if (line[0].not_before or 0.0) <= now and self._within(line[0])]
        best = max(ready, key=lambda job: (shares.score(now, job), -job.since, -job.id.int), default=None)
        return best if best is not None and best.units <= self._free else None

    def _within(self, job: Waiting) -> bool:
        quota = quota_of(self._quotas, job.team, self._pool)
        return quota is None or quota.units is None or self._used.get(job.team, 0) + job.units <= quota.units

    def _start(self, now: float, job: Waiting, shares: Shares) -> None:
        self._free -= job.units
        self._used[job.team] = self._used.get(job.team, 0) + job.units
        heapq.heappush(self._ends, (now + job.max_seconds, job.units, job.team))
        shares.start(now, job, backfilled=False)

    def _end(self, now: float, shares: Shares) -> None:
        while self._ends and self._ends[0][0] <= now:
            _, units, team = heapq.heappop(self._ends)
            self._free += units
            self._used[team] -= units
            shares.hold(team, self._pool, -units)
