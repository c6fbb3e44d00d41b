"""One admission pass over a long queue, beside the plain way: sort everything again after every start.

Both get the same jobs, run in turns in one process, and CPU seconds are compared. The plain way knows no backfill and
no heads, so it does less; it is what remains of fair sharing when one writes it as a loop.
"""

import random
import statistics
import time
from collections.abc import Callable
from uuid import UUID

from llmops_resources.training.queue import admit, quota_of
from llmops_resources.training.ranking import Facts, Quota, Running, Shares, Waiting

JOBS, TEAMS, ROUNDS = 10_000, 20, 5
CAPACITY = {"h100": 512, "a100": 1024, "t4": 256, "cpu": 64}
QUOTAS = {("*", pool): Quota(there // 4) for pool, there in CAPACITY.items()}
NAIVE_JOBS = (500, 1_000, 2_000)


def queue_of(count: int) -> list[Waiting]:
    """Waiting jobs of many teams, sizes and ages, the same ones every time."""
    chance = random.Random(7)
    return [
        Waiting(
            id=UUID(int=number + 1),
            team=f"team-{chance.randrange(TEAMS)}",
            pool=chance.choice(list(CAPACITY)),
            units=chance.choice((1, 1, 1, 2, 4, 8)),
            priority=chance.choice((-50, 0, 0, 0, 50)),
            since=-chance.random() * 48 * 3600,
            max_seconds=chance.choice((900.0, 3600.0, 24 * 3600.0)),
        )
        for number in range(count)
    ]


def naive(waiting: list[Waiting], running: list[Running]) -> int:
    """Take the best job that fits, sort the rest again, and so on; how many were started."""
    shares, left, started = Shares(running, CAPACITY, QUOTAS, Facts()), list(waiting), 0
    free = dict(CAPACITY)
    held: dict[tuple[str, str], int] = {}
    while True:
        left.sort(key=lambda job: -shares.score(0.0, job))
        for job in left:
            quota = quota_of(QUOTAS, job.team, job.pool)
            mine = held.get((job.team, job.pool), 0) + job.units
            if job.units <= free[job.pool] and (quota is None or quota.units is None or mine <= quota.units):
                break
        else:
            return started
        free[job.pool] -= job.units
        held[job.team, job.pool] = mine
        shares.start(0.0, job, backfilled=False)
        left.remove(job)
        started += 1


def cpu_seconds(work: Callable[[], object]) -> float:
    """What one call costs."""
    before = time.process_time()
    work()
    return time.process_time() - before


def main() -> None:
    """Print the figures."""
    waiting = queue_of(JOBS)
    decisions = admit(0.0, waiting, [], CAPACITY, QUOTAS)
    started = [decision for decision in decisions if decision.start]
    by_id = {job.id: job for job in waiting}
    full = [Running(d.job, d.team, d.pool, d.needed, 0.0, by_id[d.job].max_seconds) for d in started]
    rest = [job for job in waiting if job.id not in {d.job for d in started}]
    ours, saturated = [], []
    ratios: dict[int, list[float]] = {count: [] for count in NAIVE_JOBS}
    for _ in range(ROUNDS):
        ours.append(cpu_seconds(lambda: admit(0.0, waiting, [], CAPACITY, QUOTAS)))
        saturated.append(cpu_seconds(lambda: admit(0.0, rest, full, CAPACITY, QUOTAS)))
        for count in NAIVE_JOBS:
            some = queue_of(count)
            plain = cpu_seconds(lambda some=some: naive(some, []))  # type: ignore[misc]
            ratios[count].append(plain / cpu_seconds(lambda some=some: admit(0.0, some, [], CAPACITY, QUOTAS)))  # type: ignore[misc]
    print(f"one pass over {JOBS:,} waiting jobs of {TEAMS} teams: {len(started):,} started")
    print(f"  empty cluster  {statistics.median(ours):.3f} CPU s (goal: under 1 s)")
    print(f"  full cluster   {statistics.median(saturated):.3f} CPU s")
    for count, measured in ratios.items():
        print(f"  sorting again after every start, {count:,} jobs: {statistics.median(measured):.0f} x our CPU time")


if __name__ == "__main__":
    main()
