"""The pure queue: capacity and quotas are walls, heads are not delayed, nothing idles, nobody waits for ever."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_resources.training.forecast import expected_end, forecast
from llmops_resources.training.queue import Decision, Usage, WaitsFor, admit, quota_of
from llmops_resources.training.ranking import WINDOW, Facts, Quota, Running, Waiting

HOUR = 3600.0
DAY = 24 * HOUR
TEAMS = ("red", "green", "blue")


def waiting(
    number: int,
    units: int = 1,
    *,
    team: str = "red",
    priority: int = 0,
    since: float = 0.0,
    hours: float = 1.0,
    pool: str = "a100",
    not_before: float | None = None,
) -> Waiting:
    return Waiting(UUID(int=number), team, pool, units, priority, since, hours * HOUR, not_before)


def busy(number: int, units: int, *, team: str = "red", started: float = 0.0, hours: float = 1.0) -> Running:
    return Running(UUID(int=number), team, "a100", units, started, hours * HOUR)


def started(decisions: Iterable[Decision]) -> list[int]:
    return [decision.job.int for decision in decisions if decision.start]


def waits(decisions: Iterable[Decision]) -> dict[int, WaitsFor | None]:
    return {decision.job.int: decision.waits_for for decision in decisions if not decision.start}


# -- one pass, by example ------------------------------------------------------------------------------------------


def test_a_small_job_goes_before_the_head_only_if_it_ends_in_time_or_leaves_enough() -> None:
    running = [busy(90, 6, hours=2)]
    head, short, long = waiting(1, 8), waiting(2, 1, since=1, hours=2), waiting(3, 1, since=2, hours=3)
    decisions = admit(0, [head, short, long], running, {"a100": 8}, {})
    assert started(decisions) == [2]
    assert waits(decisions) == {1: WaitsFor.CAPACITY, 3: WaitsFor.TURN}
    assert decisions[-1].behind == head.id
    spare = admit(0, [replace(head, units=7), long], running, {"a100": 8}, {})
    assert started(spare) == [3]
    assert spare[1].backfilled


def test_what_a_head_leaves_is_given_out_once() -> None:
    head = waiting(1, 6)
    long = [waiting(number, 1, since=number, hours=9) for number in (2, 3, 4)]
    assert started(admit(0, [head, *long], [busy(90, 5, team="blue", hours=2)], {"a100": 8}, {})) == [2, 3]


def test_a_head_that_waits_for_its_teams_quota_is_not_delayed_by_its_own_team() -> None:
    quotas = {("red", "a100"): Quota(4)}
    head, long, other = waiting(1, 4), waiting(2, 1, since=1, hours=9), waiting(3, 4, team="blue", since=2, hours=9)
    decisions = admit(0, [head, long, other], [busy(90, 2)], {"a100": 99}, quotas)
    assert waits(decisions) == {1: WaitsFor.QUOTA, 2: WaitsFor.TURN}
    assert started(decisions) == [3]


def test_teams_take_turns_even_while_their_shares_are_too_small_to_tell() -> None:
    jobs = [waiting(number, team="red" if number < 4 else "blue", since=-HOUR) for number in range(8)]
    decisions = admit(0, jobs, [], {"a100": 10_000}, {}, Facts(last_turn={("blue", "a100"): -HOUR / 2}))
    assert [decision.team for decision in decisions if decision.start][:2] == ["red", "blue"]


def test_a_gang_starts_whole_or_not_at_all() -> None:
    assert started(admit(0, [waiting(1, 8)], [busy(9, 1)], {"a100": 8}, {})) == []
    assert started(admit(0, [waiting(1, 8)], [], {"a100": 8}, {})) == [1]


def test_a_quota_is_a_wall_even_when_all_else_is_idle() -> None:
    quotas = {("red", "a100"): Quota(2), ("*", "a100"): Quota(1)}
    jobs = [waiting(1, 2), waiting(2, 1), waiting(3, 1, team="blue"), waiting(4, 1, team="blue"), waiting(5, 3)]
    decisions = admit(0, jobs, [], {"a100": 8}, quotas)
    assert started(decisions) == [1, 3]
    assert waits(decisions) == {2: WaitsFor.QUOTA, 4: WaitsFor.QUOTA, 5: WaitsFor.LARGER_QUOTA}
    assert all(decision.reason for decision in decisions)


def test_a_job_that_can_never_start_holds_up_nobody() -> None:
    decisions = admit(0, [waiting(1, 9, priority=100), waiting(2, 8, pool="h100"), waiting(3, 8)], [], {"a100": 8}, {})
    assert started(decisions) == [3]
    assert waits(decisions) == {1: WaitsFor.LARGER_POOL, 2: WaitsFor.LARGER_POOL}


def test_a_failed_attempt_waits_out_its_backoff_and_keeps_nothing_meanwhile() -> None:
    jobs = [waiting(1, 8, priority=100, not_before=60), waiting(2, 8)]
    assert started(admit(0, jobs, [], {"a100": 8}, {})) == [2]
    assert started(admit(60, jobs, [], {"a100": 8}, {})) == [1]


def test_teams_share_a_pool_by_their_weights_however_many_jobs_one_of_them_queues() -> None:
    flood = [waiting(number, team="red", since=-10 * HOUR) for number in range(100)]
    late = [waiting(200 + number, team="blue", since=0) for number in range(100)]
    quotas = {("blue", "a100"): Quota(None, weight=3)}

    def got(quotas: dict[tuple[str, str], Quota], facts: Facts = Facts()) -> tuple[int, int]:  # noqa: B008  frozen
        turns = Facts(facts.unit_seconds, {("red", "a100"): 0.0, ("blue", "a100"): 0.0})
        chosen = started(admit(0, [*flood, *late], [], {"a100": 8}, quotas, turns))
        return sum(number < 200 for number in chosen), sum(number >= 200 for number in chosen)

    assert got({}) == (4, 4)
    assert got(quotas) == (2, 6)
    assert got({}, Facts({("red", "a100"): 8 * WINDOW})) == (0, 8)


def test_a_job_of_low_priority_passes_new_urgent_ones_of_its_team_when_it_has_waited_long_enough() -> None:
    low, urgent = waiting(1, priority=-50), waiting(2, priority=100, since=14 * HOUR)
    assert started(admit(14 * HOUR, [low, urgent], [], {"a100": 1}, {})) == [2]
    urgent = replace(urgent, since=16 * HOUR)
    assert started(admit(16 * HOUR, [low, urgent], [], {"a100": 1}, {})) == [1]


# -- any pass --------------------------------------------------------------------------------------------------------

_jobs = st.lists(
    st.builds(
        lambda units, team, priority, since, hours, pool: waiting(
            0, units, team=team, priority=priority, since=-since * HOUR, hours=hours, pool=pool
        ),
        st.integers(1, 10),
        st.sampled_from(TEAMS),
        st.integers(-100, 100),
        st.floats(0, 50),
        st.sampled_from([0.25, 0.5, 1, 2, 5]),
        st.sampled_from(["a100", "t4", "cpu"]),
    ),
    max_size=24,
).map(lambda jobs: [replace(job, id=UUID(int=number + 1)) for number, job in enumerate(jobs)])
_running = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from(TEAMS), st.floats(0, 3), st.sampled_from(["a100", "t4", "cpu"])),
    max_size=5,
).map(
    lambda rows: [
        Running(UUID(int=1000 + number), team, pool, units, -hours * HOUR, 3 * HOUR)
        for number, (units, team, hours, pool) in enumerate(rows)
    ]
)
_capacity = st.fixed_dictionaries({"a100": st.integers(0, 12), "t4": st.integers(0, 6), "cpu": st.integers(0, 3)})
_quotas = st.dictionaries(
    st.tuples(st.sampled_from(["*", *TEAMS]), st.sampled_from(["a100", "t4", "cpu"])),
    st.builds(Quota, st.one_of(st.none(), st.integers(0, 8)), st.sampled_from([0.5, 1.0, 2.0])),
)


@given(_jobs, _running, _capacity, _quotas)
def test_no_pass_exceeds_capacity_or_quota_and_every_job_gets_one_decision(
    jobs: list[Waiting], running: list[Running], capacity: dict[str, int], quotas: dict[tuple[str, str], Quota]
) -> None:
    decisions = admit(0, jobs, running, capacity, quotas)
    assert sorted(decision.job.int for decision in decisions) == sorted(job.id.int for job in jobs)
    for pool, there in capacity.items():
        before = sum(job.units for job in running if job.pool == pool)
        new = sum(decision.needed for decision in decisions if decision.start and decision.pool == pool)
        assert new <= max(there - before, 0)
        for team in TEAMS:
            quota = quota_of(quotas, team, pool)
            if quota is None or quota.units is None:
                continue
            held = sum(job.units for job in running if (job.team, job.pool) == (team, pool))
            got = sum(d.needed for d in decisions if d.start and (d.team, d.pool) == (team, pool))
            assert got <= max(quota.units - held, 0)


#: One pool, small jobs of very different lengths and a little room: the cases in which backfilling has to choose.
_tight = st.lists(
    st.tuples(st.integers(1, 5), st.sampled_from(TEAMS[:2]), st.integers(0, 20), st.sampled_from([0.5, 9.0])),
    min_size=3,
    max_size=12,
).map(
    lambda rows: [
        waiting(number + 1, units, team=team, since=-minutes * 60, hours=hours)
        for number, (units, team, minutes, hours) in enumerate(rows)
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(_jobs, _tight), _running, _capacity, _quotas)
def test_nothing_idles_and_no_head_is_delayed_by_those_behind_it(
    jobs: list[Waiting], running: list[Running], capacity: dict[str, int], quotas: dict[tuple[str, str], Quota]
) -> None:
    by_id = {job.id: job for job in jobs}
    decisions = admit(0, jobs, running, capacity, quotas)
    new = [_begun(by_id[d.job]) for d in decisions if d.start]
    blocked = [d for d in decisions if d.waits_for in {WaitsFor.CAPACITY, WaitsFor.QUOTA, WaitsFor.TURN}]
    heads = {}
    for decision in blocked:
        heads.setdefault(decision.pool, decision)
    for pool, head in heads.items():
        upto = decisions[: decisions.index(head)]
        first = [_begun(by_id[d.job]) for d in upto if d.start]
        promised = _earliest(by_id[head.job], [*running, *first], capacity, quotas)
        assert _earliest(by_id[head.job], [*running, *new], capacity, quotas) <= promised, pool
        for other in blocked:
            if other.pool != pool or other is head:
                continue
            job = by_id[other.job]
            usage = Usage(0, [*running, *new], capacity, quotas)
            if usage.decide(job).start:  # it would fit, but delay the head, and only therefore it waits
                assert other.waits_for is WaitsFor.TURN
                assert _earliest(by_id[head.job], [*running, *new, _begun(job)], capacity, quotas) > promised


@given(_jobs, _running, _capacity, _quotas, st.randoms())
def test_the_order_in_which_rows_are_read_changes_nothing(
    jobs: list[Waiting],
    running: list[Running],
    capacity: dict[str, int],
    quotas: dict[tuple[str, str], Quota],
    random: object,
) -> None:
    shuffled = list(jobs)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert admit(0, jobs, running, capacity, quotas) == admit(0, shuffled, running[::-1], capacity, quotas)


@given(_jobs, _running, _capacity, _quotas)
def test_every_job_that_can_start_has_a_foreseen_start_and_no_other(
    jobs: list[Waiting], running: list[Running], capacity: dict[str, int], quotas: dict[tuple[str, str], Quota]
) -> None:
    by_id = {job.id: job for job in jobs}
    decisions = admit(0, jobs, running, capacity, quotas)
    foreseen = forecast(0, decisions, by_id, running, capacity, quotas)
    never = {d.job for d in decisions if d.waits_for in {WaitsFor.LARGER_POOL, WaitsFor.LARGER_QUOTA}}
    assert set(foreseen) == set(by_id) - never
    assert all(start == 0 for job, start in foreseen.items() if job in {d.job for d in decisions if d.start})
    spans = [(foreseen[job.id], foreseen[job.id] + job.max_seconds, job) for job in jobs if job.id in foreseen]
    for moment in {start for start, _, _ in spans}:
        for pool, there in capacity.items():
            now = [job.units for start, end, job in spans if job.pool == pool and start <= moment < end]
            old = [job.units for job in running if job.pool == pool and expected_end(0, job) > moment]
            assert sum(now) <= max(there - sum(old), 0) or not now


def test_progress_brings_the_foreseen_end_forward_but_never_past_the_longest_time() -> None:
    job = Running(UUID(int=1), "red", "a100", 1, started=0.0, max_seconds=10 * HOUR)
    assert expected_end(HOUR, job) == 10 * HOUR
    assert expected_end(HOUR, replace(job, progress=0.5)) == 2 * HOUR
    assert expected_end(HOUR, replace(job, progress=0.05)) == 10 * HOUR
    assert expected_end(11 * HOUR, job) == 11 * HOUR


# -- over time -------------------------------------------------------------------------------------------------------


@dataclass
class Simulation:
    """The queue in the course of time: jobs arrive, start when admitted, and end within their time."""

    capacity: dict[str, int]
    quotas: dict[tuple[str, str], Quota]
    now: float = 0.0
    line: dict[UUID, Waiting] = field(default_factory=dict)
    running: dict[UUID, tuple[Running, float]] = field(default_factory=dict)
    turns: dict[tuple[str, str], float] = field(default_factory=dict)
    begun: dict[UUID, float] = field(default_factory=dict)

    def arrive(self, job: Waiting, takes: float) -> None:
        self.line[job.id] = replace(job, since=self.now)
        self.takes = getattr(self, "takes", {}) | {job.id: takes}

    def step(self) -> None:
        facts = Facts(last_turn=self.turns)
        running = [job for job, _ in self.running.values()]
        for decision in admit(self.now, self.line.values(), running, self.capacity, self.quotas, facts):
            if decision.start:
                job = self.line.pop(decision.job)
                self.begun[job.id] = self.now
                self.running[job.id] = (_begun(job, self.now), self.now + self.takes[job.id])
                if not decision.backfilled:
                    self.turns[job.team, job.pool] = self.now
        for pool, there in self.capacity.items():
            assert sum(job.units for job, _ in self.running.values() if job.pool == pool) <= there
        for (team, pool), quota in self.quotas.items():
            held = sum(job.units for job, _ in self.running.values() if (job.team, job.pool) == (team, pool))
            assert quota.units is None or held <= quota.units

    def until(self, moment: float) -> None:
        while ends := [end for _, end in self.running.values() if end <= moment]:
            self.now = min(ends)
            self.running = {key: value for key, value in self.running.items() if value[1] > self.now}
            self.step()
        self.now = moment
        self.step()


_arrivals = st.lists(
    st.tuples(
        st.floats(0, 4), st.integers(1, 8), st.sampled_from(TEAMS), st.integers(-100, 100), st.sampled_from([0.5, 1, 4])
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(_arrivals, st.floats(0.1, 1), st.integers(4, 8))
def test_over_time_nothing_is_exceeded_and_the_queue_runs_empty(
    arrivals: list[tuple[float, int, str, int, float]], speed: float, quota: int
) -> None:
    queue = Simulation({"a100": 8}, {("red", "a100"): Quota(quota)})
    for number, (gap, units, team, priority, hours) in enumerate(arrivals):
        queue.until(queue.now + gap * HOUR)
        most = quota if team == "red" else units
        queue.arrive(waiting(number, min(units, most), team=team, priority=priority, hours=hours), speed * hours * HOUR)
        queue.step()
    queue.until(queue.now + 30 * DAY)
    assert not queue.line
    assert len(queue.begun) == len(arrivals)


@settings(max_examples=60, deadline=None)
@given(_arrivals, st.lists(st.floats(-48, 48), min_size=25, max_size=25))
def test_a_clock_that_jumps_exceeds_nothing_and_leaves_nobody_behind(
    arrivals: list[tuple[float, int, str, int, float]], jumps: list[float]
) -> None:
    """What has begun ends when it would have ended: only what the clock says of it changes."""
    queue = Simulation({"a100": 8}, {("red", "a100"): Quota(4)})
    for number, ((gap, units, team, priority, hours), jump) in enumerate(zip(arrivals, jumps, strict=False)):
        queue.until(queue.now + gap * HOUR)
        queue.arrive(waiting(number, min(units, 4), team=team, priority=priority, hours=hours), hours * HOUR)
        queue.now += jump * HOUR
        queue.running = {key: (job, end + jump * HOUR) for key, (job, end) in queue.running.items()}
        queue.step()
    queue.until(queue.now + 60 * DAY)
    assert not queue.line
    assert len(queue.begun) == len(arrivals)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 8), st.booleans(), st.integers(1, 3))
def test_a_stream_of_urgent_jobs_starves_nobody(units: int, same_team: bool, size: int) -> None:
    """The worst case: whatever ends is replaced by something urgent and as long as allowed, for days."""
    queue = Simulation({"a100": 8}, {})
    poor = waiting(0, units, team="red", priority=-100, hours=1)
    number, end = 1, 5 * DAY
    queue.arrive(poor, HOUR)
    while queue.now < end and poor.id not in queue.begun:
        while sum(job.units for job in queue.line.values() if job.id != poor.id) < 16:
            team = "red" if same_team else ("green", "blue")[number % 2]
            queue.arrive(waiting(number, size, team=team, priority=100, hours=1), HOUR)
            number += 1
        queue.until(queue.now + HOUR / 2)
    assert queue.begun[poor.id] < 2 * DAY


def _begun(job: Waiting, now: float = 0.0) -> Running:
    return Running(job.id, job.team, job.pool, job.units, now, job.max_seconds)


def _earliest(
    job: Waiting, running: list[Running], capacity: dict[str, int], quotas: dict[tuple[str, str], Quota]
) -> float:
    """When the job fits at the latest, by trying every end; written without a look at how the queue does it."""
    ends = {other.id: max(other.started + other.max_seconds, 60.0) for other in running}
    quota = quota_of(quotas, job.team, job.pool)
    for moment in sorted({0.0, *ends.values()}):
        there = [other for other in running if other.pool == job.pool and ends[other.id] > moment]
        ours = sum(other.units for other in there if other.team == job.team)
        fits = sum(other.units for other in there) + job.units <= capacity[job.pool]
        if fits and (quota is None or quota.units is None or ours + job.units <= quota.units):
            return moment
    raise AssertionError("it never fits")
