"""Token buckets: what they let through over any time, what they never do, and what a client is told."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_resources.errors import TooLarge, TooManyRequests
from llmops_resources.gateway.limits import Bucket, Demand, Limiter

steps = st.lists(st.tuples(st.floats(0, 90), st.integers(1, 40)), min_size=1, max_size=60)


def calls(amount: int = 1, per_minute: int = 10, scope: str = "key", unit: str = "requests") -> Demand:
    return Demand(scope, unit, per_minute, amount)


def admitted(limiter: Limiter, demands: list[Demand], now: float) -> float | None:
    """None when the call was let through, else after how many seconds to come back."""
    try:
        limiter.admit(demands, now)
    except TooManyRequests as error:
        return error.retry_after
    return None


@given(steps, st.integers(1, 40))
def test_over_any_time_no_more_is_let_through_than_the_capacity_and_the_refill(
    steps: list[tuple[float, int]], per_minute: int
) -> None:
    limiter, now, let_through = Limiter(), 0.0, list[tuple[float, int]]()
    for pause, amount in steps:
        now += pause
        if amount <= per_minute and admitted(limiter, [calls(amount, per_minute)], now) is None:
            let_through.append((now, amount))
    for first in range(len(let_through)):
        for last in range(first, len(let_through)):
            taken = sum(amount for _, amount in let_through[first : last + 1])
            seconds = let_through[last][0] - let_through[first][0]
            assert taken <= per_minute + per_minute / 60 * seconds + 1e-6


@given(steps, st.integers(40, 100))
def test_who_waits_as_long_as_told_is_let_through_and_not_much_sooner(
    steps: list[tuple[float, int]], per_minute: int
) -> None:
    limiter, now = Limiter(), 0.0
    for pause, amount in steps:
        now += pause
        wait = admitted(limiter, [calls(amount, per_minute)], now)
        if wait is not None:
            assert admitted(limiter, [calls(amount, per_minute)], now + wait - 1.01) is not None
            now += wait
            assert admitted(limiter, [calls(amount, per_minute)], now) is None


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 80)), max_size=30))
def test_after_settling_only_what_was_really_taken_is_gone(taken: list[tuple[int, int]]) -> None:
    limiter, level = Limiter(), 100.0
    for bound, real in taken:
        demand = calls(bound, 100, unit="tokens")
        if admitted(limiter, [demand], 0.0) is None:
            limiter.settle([demand], "tokens", real)
            level = min(100.0, level - real)
    assert not limiter.buckets or math.isclose(limiter.buckets["key", "tokens"].level, level, abs_tol=1e-6)


@given(st.lists(st.floats(-1e6, 1e6), max_size=20))
def test_a_clock_that_goes_back_fills_no_bucket(times: list[float]) -> None:
    bucket = Bucket(capacity=1e9, rate=1.0, level=0.0, at=0.0)
    for now in times:
        bucket.refill(now)
    assert bucket.level <= max([0.0, *times]) + 1e-3


def test_a_call_that_one_limit_refuses_costs_the_others_nothing() -> None:
    limiter = Limiter()
    narrow, wide = calls(per_minute=1, scope="key"), calls(per_minute=10, scope="team")
    limiter.admit([narrow, wide], 0.0)
    for _ in range(5):
        assert admitted(limiter, [narrow, wide], 0.0) == 60
    assert limiter.buckets["team", "requests"].level == 9.0


def test_a_call_that_could_never_fit_is_refused_as_too_large_and_not_told_to_wait() -> None:
    with pytest.raises(TooLarge, match="11 tokens"):
        Limiter().admit([calls(11, unit="tokens")], 0.0)


def test_a_changed_limit_holds_at_once_and_raising_it_gives_nothing_away() -> None:
    limiter = Limiter()
    limiter.admit([calls(10)], 0.0)
    assert admitted(limiter, [calls(per_minute=1000)], 0.0) is not None
    limiter.admit([calls(1, per_minute=1000)], 60.0)
    assert admitted(limiter, [calls(3, per_minute=5)], 60.0) is None
    assert admitted(limiter, [calls(3, per_minute=5)], 60.0) is not None


def test_processes_that_share_a_limit_fill_it_together_no_faster_than_one() -> None:
    first, second = Limiter(), Limiter()
    for limiter in (first, second):
        limiter.admit([calls(10)], 0.0, share=2)
    through = 0
    for second_of in range(1, 601):
        for limiter in (first, second):
            try:
                limiter.admit([calls()], float(second_of), share=2)
                through += 1
            except TooManyRequests:
                continue
    assert through <= 100


def test_full_buckets_are_forgotten_before_they_fill_the_memory() -> None:
    limiter = Limiter()
    for number in range(25_000):
        limiter.admit([calls(scope=f"key {number}")], number * 0.01)
    assert len(limiter.buckets) <= 10_001
