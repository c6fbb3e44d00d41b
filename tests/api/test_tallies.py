"""Counts of our own are told as Prometheus' client tells its own, and what is left for later is done once."""

import asyncio
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import REGISTRY

from serving_api import afterwards
from serving_api.tallies import Durations, Tally

BOUNDS = (0.01, 0.5, 1, 30)
seconds = st.one_of(st.sampled_from([0.0, 0.01, 0.5, 1.0, 30.0, 31.0]), st.floats(0, 100, allow_nan=False))


def told(registry: CollectorRegistry) -> list[str]:
    """What a scrape reads, without when a counter was made."""
    return sorted(line for line in generate_latest(registry).decode().splitlines() if "_created" not in line)


@given(st.lists(st.tuples(st.sampled_from("abc"), seconds), max_size=30))
def test_a_histogram_of_ours_says_what_the_client_librarys_says(seen: list[tuple[str, float]]) -> None:
    theirs, ours = CollectorRegistry(), CollectorRegistry()
    histogram = Histogram("took", "Seconds", ["route"], buckets=BOUNDS, registry=theirs)
    durations = Durations("took", "Seconds", ["route"], BOUNDS, registry=ours)

    for route, value in seen:
        histogram.labels(route).observe(value)
        durations.observe((route,), value)

    assert told(ours) == told(theirs)


@given(st.lists(st.tuples(st.sampled_from(["GET", "POST"]), st.integers(0, 9)), max_size=30))
def test_a_counter_of_ours_says_what_the_client_librarys_says(seen: list[tuple[str, int]]) -> None:
    theirs, ours = CollectorRegistry(), CollectorRegistry()
    counter = Counter("calls", "Calls", ["method"], registry=theirs)
    tally = Tally("calls", "Calls", ["method"], registry=ours)

    for method, amount in seen:
        counter.labels(method).inc(amount)
        tally.add((method,), amount)

    assert told(ours) == told(theirs)


def test_a_name_is_given_once() -> None:
    with pytest.raises(ValueError, match="Duplicated"):
        Tally("llmops_http_requests", "Again", ["method"], registry=REGISTRY)


def test_what_requests_leave_is_done_together_in_its_order_and_once() -> None:
    done: list[list[int]] = []

    def work(items: Sequence[int]) -> None:
        done.append(list(items))

    async def scenario() -> None:
        later = afterwards.Afterwards()
        for number in range(5):
            later.leave(work, number)
        assert done == []
        await asyncio.sleep(3 * afterwards.LATE)
        later.leave(work, 5)
        later.do_now()
        await asyncio.sleep(2 * afterwards.LATE)

    asyncio.run(scenario())

    assert done == [[0, 1, 2, 3, 4], [5]]


def test_what_was_left_to_a_loop_that_ended_is_done_by_the_next() -> None:
    done: list[int] = []
    later, work = afterwards.Afterwards(), done.extend

    async def leave(number: int) -> None:
        later.leave(work, number)

    asyncio.run(leave(1))
    time.sleep(3 * afterwards.LATE)
    asyncio.run(leave(2))

    assert done == [1, 2]
