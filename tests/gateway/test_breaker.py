"""The circuit breaker: a state machine that opens on failures in a row and finds back on its own."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llmops_resources.gateway.breaker import FAILURES, FIRST_PAUSE, LONGEST_PAUSE, Breaker, State


class Calls(RuleBasedStateMachine):
    """Calls that begin, end in each way, and overlap; the clock only goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker, self.now, self.under_way = Breaker(), 0.0, 0
        self.on_trial = False

    @rule(seconds=st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def a_call_comes(self) -> None:
        resting = self.breaker.wait(self.now) > 0
        was = self.breaker.state
        admitted = self.breaker.admits(self.now)
        assert not (admitted and resting)
        if admitted:
            self.under_way += 1
            assert was is State.CLOSED or not self.on_trial or not self.breaker.probing or was is State.OPEN
            self.on_trial = self.breaker.state is State.HALF_OPEN

    @precondition(lambda self: self.under_way)
    @rule(how=st.sampled_from(["succeeded", "failed", "released"]))
    def a_call_ends(self, how: str) -> None:
        self.under_way -= 1
        if how == "failed":
            self.breaker.failed(self.now)
        else:
            getattr(self.breaker, how)()
        self.on_trial = self.breaker.probing

    @invariant()
    def it_rests_never_longer_than_the_longest_pause(self) -> None:
        assert self.breaker.wait(self.now) <= LONGEST_PAUSE
        assert FIRST_PAUSE <= self.breaker.pause <= LONGEST_PAUSE

    @invariant()
    def closed_it_has_seen_few_failures_in_a_row(self) -> None:
        if self.breaker.state is State.CLOSED:
            assert self.breaker.failures < FAILURES
            assert not self.breaker.probing

    @invariant()
    def after_the_longest_pause_a_call_goes_through_unless_one_is_on_trial(self) -> None:
        later = Breaker(**vars(self.breaker))
        assert later.admits(self.now + LONGEST_PAUSE) or (later.state is State.HALF_OPEN and later.probing)


TestCalls = Calls.TestCase


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES):
        assert breaker.admits(now)
        breaker.failed(now)
    return breaker


def test_failures_in_a_row_open_it_and_a_success_between_starts_the_count_anew() -> None:
    breaker = Breaker()
    for _ in range(FAILURES - 1):
        breaker.failed(0.0)
    breaker.succeeded()
    for _ in range(FAILURES - 1):
        breaker.failed(0.0)
    assert breaker.admits(0.0)
    breaker.failed(0.0)
    assert not breaker.admits(0.0)
    assert breaker.wait(1.0) == FIRST_PAUSE - 1


def test_after_its_pause_one_call_is_on_trial_and_decides() -> None:
    breaker = opened()
    assert breaker.admits(FIRST_PAUSE)
    assert not breaker.admits(FIRST_PAUSE)
    breaker.failed(FIRST_PAUSE)
    assert breaker.wait(FIRST_PAUSE) == 2 * FIRST_PAUSE
    assert breaker.admits(3 * FIRST_PAUSE)
    breaker.succeeded()
    assert all(breaker.admits(3 * FIRST_PAUSE) for _ in range(3))


def test_a_call_on_trial_that_says_nothing_lets_the_next_one_try() -> None:
    breaker = opened()
    assert breaker.admits(FIRST_PAUSE)
    breaker.released()
    assert breaker.admits(FIRST_PAUSE)


def test_calls_from_before_it_opened_neither_close_it_nor_prolong_its_pause() -> None:
    breaker = opened()
    breaker.succeeded()
    breaker.failed(4.0)
    assert breaker.wait(0.0) == FIRST_PAUSE


@given(st.integers(1, 30))
def test_the_pause_doubles_up_to_the_longest(times: int) -> None:
    breaker, now = opened(), 0.0
    for _ in range(times):
        now = breaker.until
        assert breaker.admits(now)
        breaker.failed(now)
    assert breaker.wait(now) == min(FIRST_PAUSE * 2**times, LONGEST_PAUSE)
