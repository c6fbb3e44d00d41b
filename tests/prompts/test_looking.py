"""One look at an experiment: what it advises, and when it ends one."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from llmops_resources.errors import Conflict
from llmops_resources.prompts.experiments import looking
from llmops_resources.prompts.experiments.looks import Advice, Ending, Hold, Look, Period, Seen, Standing
from llmops_resources.prompts.experiments.plan import MOVES, GuardRails, Plan, State, StopRules, Variant, check_move

START = datetime(2026, 3, 1, tzinfo=UTC)


def plan(variants: int = 2, **fields: Any) -> Plan:
    named = tuple(
        Variant(name=name, prompt_id=uuid4(), prompt_name="p", prompt_version=name, digest="sha256:0", weight=1)
        for name in "abcdef"[:variants]
    )
    return Plan(variants=named, **fields)


def seen(users: int, liked: float, *, failed: float = 0.0, latency: float = 100.0, seed: int = 0) -> Seen:
    rng = np.random.default_rng(seed)
    return Seen(
        ratings=(rng.random(users) < liked).astype(float).tolist(),
        failed=(rng.random(users) < failed).astype(float).tolist(),
        latency_ms=rng.lognormal(np.log(latency), 0.3, users).tolist(),
        cost=rng.uniform(0.9, 1.1, users).tolist(),
    )


def look(what: Plan, *each: Seen, days: float = 1, users: tuple[int, ...] = ()) -> Look:
    names = [variant.name for variant in what.variants]
    counts = users or tuple(len(one.failed) for one in each)
    period = Period(what.weights(), dict(zip(names, counts, strict=True)))
    now = START + timedelta(days=days)
    return looking.look(what, dict(zip(names, each, strict=True)), [period], started=START, now=now)


def test_a_better_challenger_is_to_be_adopted_and_ends_the_experiment() -> None:
    found = look(plan(), seen(1500, 0.5), seen(1500, 0.65, seed=1))
    assert (found.advice, found.adopt, found.ending) == (Advice.ADOPT, "b", Ending.WINNER)
    (effect,) = found.effects
    assert effect.standing is Standing.BETTER
    assert 0 < effect.low < 0.15 < effect.high < 0.3
    assert effect.p_value < 0.05
    patient = look(plan(stop_rules=StopRules(on_winner=False)), seen(1500, 0.5), seen(1500, 0.65, seed=1))
    assert (patient.advice, patient.ending) == (Advice.ADOPT, None)


def test_equal_variants_wait_until_the_difference_is_surely_not_worth_it() -> None:
    few = look(plan(minimum_effect=0.1), seen(150, 0.5), seen(150, 0.5, seed=1))
    assert (few.advice, few.ending) == (Advice.WAIT, None)
    many = look(plan(minimum_effect=0.1), seen(2000, 0.5), seen(2000, 0.5, seed=1))
    assert (many.advice, many.ending) == (Advice.KEEP_CONTROL, Ending.FUTILITY)
    assert many.effects[0].standing is Standing.NOT_WORTH_IT


def test_a_worse_challenger_is_harm() -> None:
    found = look(plan(), seen(1000, 0.6), seen(1000, 0.4, seed=1))
    assert (found.advice, found.ending) == (Advice.KEEP_CONTROL, Ending.HARM)


def test_a_broken_guard_rail_ends_even_what_users_like_better() -> None:
    found = look(plan(), seen(1500, 0.5), seen(1500, 0.65, failed=0.3, seed=1))
    assert (found.advice, found.adopt, found.ending) == (Advice.KEEP_CONTROL, None, Ending.HARM)
    assert {check.guard: check.state for check in found.guards} == {"error_rate": Hold.BROKEN, "latency": Hold.HELD}
    slow = look(plan(), seen(1500, 0.5), seen(1500, 0.5, latency=300, seed=1))
    assert slow.ending is Ending.HARM
    (check,) = [each for each in slow.guards if each.guard == "latency"]
    assert check.estimate == pytest.approx(2, abs=0.15)


def test_a_guard_rail_of_cost_is_relative_and_open_where_nothing_costs_anything() -> None:
    dear = seen(1000, 0.5, seed=1)
    dear.cost = [each * 2 for each in dear.cost]
    rails = GuardRails(error_rate=None, latency=None, cost=0.5)
    found = look(plan(guard_rails=rails), seen(1000, 0.5), dear)
    assert found.guards[0].state is Hold.BROKEN
    assert found.guards[0].estimate == pytest.approx(1, abs=0.05)
    free = seen(1000, 0.5)
    free.cost = [0.0] * 1000
    assert look(plan(guard_rails=rails), free, dear).guards[0].state is Hold.OPEN


def test_users_who_arrive_in_other_proportions_make_everything_else_worthless() -> None:
    found = look(plan(), seen(1500, 0.5), seen(1500, 0.65, seed=1), users=(1500, 1000))
    assert (found.balanced, found.advice, found.adopt) == (False, Advice.INVESTIGATE, None)
    assert found.ending is None


def test_size_and_time_end_what_nothing_else_does() -> None:
    rules = StopRules(min_users=10, max_users=200, max_days=3)
    waiting = (seen(50, 0.5), seen(50, 0.5, seed=1))
    assert look(plan(stop_rules=rules), *waiting).ending is None
    assert look(plan(stop_rules=rules), *waiting, days=3).ending is Ending.DURATION
    assert look(plan(stop_rules=rules), seen(100, 0.5), seen(100, 0.5, seed=1)).ending is Ending.SIZE


def test_nothing_is_advised_before_there_are_enough_users_and_nothing_is_known_of_none() -> None:
    eager = look(plan(stop_rules=StopRules(min_users=5_000)), seen(1500, 0.5), seen(1500, 0.65, seed=1))
    assert (eager.advice, eager.ending) == (Advice.WAIT, None)
    empty = look(plan(3), Seen(), Seen(), Seen())
    assert (empty.users, empty.balance_p, empty.advice) == (0, 1.0, Advice.WAIT)
    assert [(each.low, each.high, each.estimate) for each in empty.effects] == [(-1, 1, None)] * 2
    assert all(check.state is Hold.OPEN for check in empty.guards)


def test_several_challengers_share_the_five_percent() -> None:
    pair = look(plan(), seen(600, 0.5), seen(600, 0.6, seed=1)).effects[0]
    among = look(plan(4), *(seen(600, share, seed=n) for n, share in enumerate((0.5, 0.6, 0.5, 0.5)))).effects[0]
    assert among.low < pair.low < pair.high < among.high


@pytest.mark.parametrize("now", State)
@pytest.mark.parametrize("to", State)
def test_an_experiment_moves_as_the_table_says(now: State, to: State) -> None:
    if to in MOVES[now]:
        check_move("x", now, to)
    else:
        with pytest.raises(Conflict, match=f"is {now}"):
            check_move("x", now, to)
