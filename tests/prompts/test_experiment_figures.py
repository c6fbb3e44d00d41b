"""What experiments compute: assignments, intervals that hold at every look, proportions, weights that follow."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_resources.prompts.experiments import assignment, balance, sequential, thompson

SALT = b"0123456789abcdef"
WEIGHTS = st.lists(st.integers(1, 50), min_size=2, max_size=6)
RATINGS = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=60)


def named(weights: list[int]) -> list[tuple[str, float]]:
    return [(f"v{number}", float(weight)) for number, weight in enumerate(weights)]


@given(st.text(max_size=40), WEIGHTS, st.integers(1, 9))
def test_a_user_always_gets_the_same_variant_whatever_the_scale_and_order_of_weights(
    user: str, weights: list[int], scale: int
) -> None:
    name = assignment.subject(SALT, user)
    chosen = assignment.assign(name, named(weights))
    assert chosen in {variant for variant, _ in named(weights)}
    assert assignment.assign(name, named(weights)[::-1]) == chosen
    assert assignment.assign(name, [(variant, weight * scale) for variant, weight in named(weights)]) == chosen


@given(st.text(max_size=40), WEIGHTS, st.integers(0, 5), st.integers(1, 50))
def test_when_a_weight_grows_users_only_move_to_the_variant_that_grew(
    user: str, weights: list[int], which: int, more: int
) -> None:
    name, which = assignment.subject(SALT, user), which % len(weights)
    grown = [weight + more * (number == which) for number, weight in enumerate(weights)]
    before, after = (assignment.assign(name, named(each)) for each in (weights, grown))
    assert after in {before, f"v{which}"}


def test_variants_get_their_shares_and_two_experiments_do_not_go_together() -> None:
    shares = [("a", 0.5), ("b", 0.3), ("c", 0.2)]

    def drawn(salt: bytes) -> list[str]:
        return [assignment.assign(assignment.subject(salt, f"user {n}"), shares) for n in range(20_000)]

    one, other = drawn(SALT), drawn(b"another salt....")
    for each in (Counter(one), Counter(other)):
        assert all(abs(each[name] / 20_000 - share) < 0.012 for name, share in shares)
    both = Counter(zip(one, other, strict=True))
    assert abs(both["a", "a"] / 20_000 - 0.25) < 0.012


def test_a_subject_says_nothing_about_the_user_without_the_salt() -> None:
    subject = assignment.subject(SALT, "ada@example.org")
    assert len(subject) == 32
    assert subject != assignment.subject(b"another salt....", "ada@example.org")


@given(RATINGS, RATINGS)
def test_an_interval_has_the_mean_of_its_differences_and_turns_around_with_the_variants(
    control: list[float], challenger: list[float]
) -> None:
    there = sequential.bounded(sequential.differences(control, challenger), 0.05)
    back = sequential.bounded(sequential.differences(challenger, control), 0.05)
    assert -1 <= there.low <= there.mean + 1e-9 <= there.high + 2e-9 <= 1 + 3e-9
    assert math.isclose(there.low, -back.high, abs_tol=1e-9)
    assert math.isclose(there.high, -back.low, abs_tol=1e-9)
    assert there.n == min(len(control), len(challenger))


@given(RATINGS, RATINGS)
def test_zero_is_outside_of_the_interval_exactly_when_the_p_value_says_so(
    control: list[float], challenger: list[float]
) -> None:
    values = sequential.differences(control, challenger)
    found = sequential.bounded(values, 0.05)
    p = sequential.p_value(values)
    if abs(p - 0.05) > 1e-6:
        assert (p <= 0.05) == (found.low > 0 or found.high < 0)


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_blocks_take_users_in_the_proportion_of_their_weights(first: float, second: float) -> None:
    sizes = sequential.block(first, second)
    assert min(sizes) == 1
    assert sequential.block(second, first) == (sizes if first == second else sizes[::-1])


def test_uneven_variants_are_compared_in_blocks_and_what_fills_none_waits() -> None:
    values = sequential.differences([1.0, 0.0, 1.0, 1.0, 1.0], [0.5, 0.5, 1.0], (2, 1))
    assert values.tolist() == [0.0, -0.5]


@pytest.mark.parametrize(("kind", "sizes"), [("bounded", (1, 1)), ("bounded", (4, 1)), ("unbounded", (1, 1))])
def test_the_true_difference_leaves_the_interval_at_no_look_in_nineteen_of_twenty(
    kind: str, sizes: tuple[int, int]
) -> None:
    rng, missed, runs = np.random.default_rng(5), 0, 40
    for _ in range(runs):
        if kind == "bounded":
            control, other = (rng.random(400 * sizes[0]) < 0.5) * 1.0, (rng.random(400) < 0.6) * 1.0
        else:
            control, other = rng.exponential(1.0, 400), rng.exponential(1.0, 400) + 0.1
        values = sequential.differences(control.tolist(), other.tolist(), sizes)
        interval = getattr(sequential, kind)
        found = [interval(values[:n], 0.05) for n in range(80, 401, 80)]
        missed += any(not each.low <= 0.1 <= each.high for each in found)
    assert missed / runs <= 0.08


def test_an_interval_without_bounds_says_nothing_about_a_few_or_about_equal_figures() -> None:
    assert sequential.unbounded(np.ones(10), 0.05).high == math.inf
    assert sequential.unbounded(np.ones(500), 0.05).high == math.inf
    narrow = sequential.unbounded(np.tile([0.9, 1.1], 500), 0.05)
    assert 0.97 < narrow.low < 1 < narrow.high < 1.03


def test_equal_proportions_pass_and_a_leak_is_found_however_often_one_looks() -> None:
    shares, rng = {"a": 0.5, "b": 0.5}, np.random.default_rng(3)
    alarms = 0
    for _ in range(300):
        arrived = np.cumsum(rng.random(3_000) < 0.5)
        looks = [({"a": int(arrived[n - 1]), "b": n - int(arrived[n - 1])}, shares) for n in range(100, 3_001, 100)]
        alarms += any(balance.p_value([look]) < balance.ALPHA for look in looks)
    assert alarms / 300 <= 0.02
    assert balance.p_value([({"a": 5_000, "b": 4_500}, shares)]) < balance.ALPHA
    assert balance.p_value([({"a": 90, "b": 10}, {"a": 0.9, "b": 0.1})]) == 1


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=4))
def test_a_period_without_users_says_nothing(periods: list[tuple[int, int]]) -> None:
    shares = {"a": 0.6, "b": 0.4}
    seen = [({"a": a, "b": b}, shares) for a, b in periods]
    assert math.isclose(balance.p_value(seen), balance.p_value([*seen, ({}, shares)]))
    assert 0 <= balance.p_value(seen) <= 1


@settings(max_examples=25)
@given(st.dictionaries(st.sampled_from("abcdef"), st.tuples(st.integers(0, 500), st.floats(0, 1)), min_size=2))
def test_weights_that_follow_add_up_and_leave_nobody_out(ratings: dict[str, tuple[int, float]]) -> None:
    sums = {name: (count, count * mean) for name, (count, mean) in ratings.items()}
    weights = thompson.weights(sums, seed=7)
    assert math.isclose(sum(weights.values()), 1)
    assert min(weights.values()) >= thompson.FLOOR - 1e-9
    assert weights == thompson.weights(sums, seed=7)


def test_the_better_variant_gets_most_users() -> None:
    weights = thompson.weights({"a": (200, 100.0), "b": (200, 140.0)}, seed=1)
    assert weights["b"] > 0.9
