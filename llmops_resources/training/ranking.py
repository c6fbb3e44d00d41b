"""The order in which waiting jobs are considered: fair between teams, by priority, and nobody waits for ever.

Two levels. *Within a team*, by priority plus AGEING points for every hour of waiting. *Between teams*, the first jobs
of all teams are compared by their priority, plus AGEING points for every hour that the team has waited since its last
turn in the pool, minus FAIRNESS points times the share the team has. The share is the larger one over all types of GPU
(dominant resource fairness: Ghodsi and others, NSDI 2011) of what the team holds and what it held in the last WINDOW,
half each, divided by the team's weight. Points for waiting grow without end and everything else is bounded, so every
job is the first one some day.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from llmops_resources.training.profile import CPU_POOL

AGEING: Final = 10.0  # points an hour: a job of low priority passes a new one of high priority after ten hours
FAIRNESS: Final = 50.0  # points: a team that holds everything counts one class lower than one that holds nothing
WINDOW: Final = 24 * 3600.0
_HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queued job. `since`: when its waiting began; `not_before`: when it may be tried again."""

    id: UUID
    team: str
    pool: str
    units: int
    priority: int
    since: float
    max_seconds: float
    not_before: float | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """A job that holds its units, or was just admitted. `progress` from 0 to 1 is only used to foresee its end."""

    id: UUID
    team: str
    pool: str
    units: int
    started: float
    max_seconds: float
    progress: float = 0.0


@dataclass(frozen=True, slots=True)
class Quota:
    """The most units of a pool a team may hold (None: no limit of its own), and its weight in fair sharing."""

    units: int | None
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What teams got lately, by (team, pool): unit-seconds in the last WINDOW, and when their last turn was."""

    unit_seconds: Mapping[tuple[str, str], float] = field(default_factory=dict)
    last_turn: Mapping[tuple[str, str], float] = field(default_factory=dict)


Tell = Callable[[bool], None]


def ranked(
    now: float,
    waiting: Iterable[Waiting],
    running: Iterable[Running],
    capacity: Mapping[str, int],
    quotas: Mapping[tuple[str, str], Quota],
    facts: Facts,
) -> Iterator[tuple[Waiting, Tell]]:
    """Every waiting job once, the next one as things stand by then.

    When a job starts, call what comes with it before the next step (True: it was backfilled, which is no turn).
    """
    shares = Shares(running, capacity, quotas, facts)
    lines: dict[tuple[str, str], list[Waiting]] = {}
    for job in waiting:
        lines.setdefault((job.team, job.pool), []).append(job)
    heap: list[tuple[float, float, UUID, tuple[str, str]]] = []

    def offer(line: tuple[str, str]) -> None:
        job = lines[line][-1]
        heapq.heappush(heap, (-shares.score(now, job), job.since, job.id, line))

    for line, jobs in lines.items():
        jobs.sort(key=lambda job: (-_aged(now, job), job.since, job.id), reverse=True)  # the next one is the last
        offer(line)
    while heap:
        score, _, _, line = heapq.heappop(heap)
        job = lines[line][-1]
        if -shares.score(now, job) > score:  # the team got something since; a score only falls during a pass
            offer(line)
            continue
        lines[line].pop()

        def tell(backfilled: bool, job: Waiting = job) -> None:
            shares.start(now, job, backfilled)

        yield job, tell
        if lines[line]:
            offer(line)


class Shares:
    """The shares and last turns of teams, which change as jobs start and end."""

    def __init__(
        self,
        running: Iterable[Running],
        capacity: Mapping[str, int],
        quotas: Mapping[tuple[str, str], Quota],
        facts: Facts,
    ) -> None:
        self._capacity, self._quotas, self._facts = capacity, quotas, facts
        self._held: dict[tuple[str, str], int] = {}
        self._turns = dict(facts.last_turn)
        self._gpu_types = [pool for pool in capacity if pool != CPU_POOL]
        self._dominant: dict[tuple[str, bool], float] = {}
        for job in running:
            self.hold(job.team, job.pool, job.units)

    def score(self, now: float, job: Waiting) -> float:
        """Points of a team's first job; larger goes first."""
        since = max(job.since, self._turns.get((job.team, job.pool), job.since))
        return job.priority + AGEING * max(now - since, 0.0) / _HOUR - FAIRNESS * self.share(job.team, job.pool)

    def start(self, now: float, job: Waiting, backfilled: bool) -> None:
        """The job holds its units from now on; unless it was backfilled, its team had its turn."""
        self.hold(job.team, job.pool, job.units)
        if not backfilled:
            self._turns[job.team, job.pool] = now

    def hold(self, team: str, pool: str, units: int) -> None:
        """The team holds so many units more; fewer when negative."""
        self._held[team, pool] = self._held.get((team, pool), 0) + units
        self._dominant.pop((team, pool == CPU_POOL), None)

    def share(self, team: str, pool: str) -> float:
        """The team's dominant share of GPUs, or its share of CPU slots; CPU slots do not count against GPUs."""
        key = (team, pool == CPU_POOL)
        if key not in self._dominant:
            pools = [CPU_POOL] if pool == CPU_POOL else self._gpu_types
            self._dominant[key] = max((self._share(team, one) for one in pools), default=0.0)
        return self._dominant[key]

    def _share(self, team: str, pool: str) -> float:
        there = self._capacity.get(pool, 0)
        if there <= 0:
            return 0.0
        quota = self._quotas.get((team, pool)) or self._quotas.get(("*", pool))
        lately = min(self._facts.unit_seconds.get((team, pool), 0.0) / (there * WINDOW), 1.0)
        return (self._held.get((team, pool), 0) / there + lately) / 2 / (quota.weight if quota else 1.0)


def _aged(now: float, job: Waiting) -> float:
    return job.priority + AGEING * max(now - job.since, 0.0) / _HOUR
