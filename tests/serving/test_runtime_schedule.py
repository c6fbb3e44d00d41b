"""The schedule of the model thread, driven through many turns: every request ends, in order, and no turn is idle."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from llmops_assets.serving.runtime.schedule import Schedule


@dataclass(eq=False)
class Job:
    """A request that ends after so many steps; its client leaves at a turn, or never."""

    number: int
    length: int
    steps: int
    leaves_at: int | None = None
    arrives_at: int = 0
    gone: bool = False
    done: int = 0

    @property
    def most(self) -> int:
        return self.length + self.steps


JOBS = st.lists(
    st.builds(
        Job,
        number=st.just(0),
        length=st.integers(1, 50),
        steps=st.integers(1, 12),
        leaves_at=st.none() | st.integers(0, 40),
        arrives_at=st.integers(0, 15),
    ),
    max_size=30,
)


def turns(schedule: Schedule[Job], jobs: list[Job]) -> list[list[Job]]:
    """Who was let in at each turn, until nothing is left. Checks what must hold at every turn."""
    admitted: list[list[Job]] = []
    coming = sorted(jobs, key=lambda job: job.arrives_at)
    for number, job in enumerate(coming):
        job.number = number
    while coming or not schedule.idle:
        turn = len(admitted)
        while coming and coming[0].arrives_at <= turn:
            assert schedule.offer([coming.pop(0)])
        for job in jobs:
            job.gone = job.gone or job.leaves_at == turn
        for job in [job for job in schedule.running if job.gone]:
            schedule.end(job)
        waited = schedule.waiting
        admitted.append(schedule.admit())
        assert not any(job.gone for job in admitted[-1])
        assert schedule.running or not schedule.waiting, "work waits and nothing is done"
        assert schedule.waiting <= waited
        for job in list(schedule.running):
            job.done += 1
            if job.done == job.steps:
                row = schedule.running.index(job)
                last = schedule.running[-1]
                assert schedule.end(job) == row
                assert last is job or schedule.running[row] is last
        assert turn < 2000, "somebody starves"
    return admitted


@given(JOBS, st.integers(1, 6), st.integers(1, 200), st.integers(1, 80))
def test_every_request_ends_and_nobody_overtakes(jobs: list[Job], slots: int, cache: int, reading: int) -> None:
    schedule: Schedule[Job] = Schedule(slots, 100, cache=cache, reading=reading)
    admitted = turns(schedule, jobs)
    order = [job.number for turn in admitted for job in turn]
    assert order == sorted(order)
    for job in jobs:
        assert job.done == job.steps or job.gone


@given(JOBS, st.integers(1, 6), st.integers(1, 200), st.integers(1, 80))
def test_what_runs_at_once_stays_within_its_bounds(jobs: list[Job], slots: int, cache: int, reading: int) -> None:
    schedule: Schedule[Job] = Schedule(slots, 100, cache=cache, reading=reading)
    assert schedule.offer(jobs)
    while not schedule.idle:
        joined = schedule.admit()
        running = schedule.running
        assert len(running) <= slots
        assert len(running) == 1 or len(running) * max(job.most for job in running) <= cache
        assert len(joined) <= 1 or sum(job.length for job in joined) <= reading
        schedule.end(running[0])


@given(JOBS)
def test_with_room_for_all_a_free_slot_is_never_left_empty_while_somebody_waits(jobs: list[Job]) -> None:
    schedule: Schedule[Job] = Schedule(3, 100, cache=10**6, reading=10**6)
    assert schedule.offer(jobs)
    while not schedule.idle:
        schedule.admit()
        assert len(schedule.running) == 3 or schedule.waiting == 0
        schedule.end(schedule.running[-1])


def test_a_group_that_does_not_fit_into_the_queue_is_refused_whole() -> None:
    schedule: Schedule[Job] = Schedule(1, 2, cache=100, reading=100)
    assert schedule.offer([Job(1, 1, 1)])
    assert not schedule.offer([Job(2, 1, 1), Job(3, 1, 1)])
    assert schedule.waiting == 1
    assert schedule.offer([Job(4, 1, 1)])


def test_a_request_larger_than_the_cache_runs_alone_and_does_not_block_for_ever() -> None:
    schedule: Schedule[Job] = Schedule(4, 10, cache=10, reading=100)
    small, large, later = Job(1, 1, 2), Job(2, 50, 2), Job(3, 1, 2)
    schedule.offer([small, large, later])
    assert schedule.admit() == [small]
    schedule.end(small)
    assert schedule.admit() == [large]
    assert schedule.admit() == []
    schedule.end(large)
    assert schedule.admit() == [later]
