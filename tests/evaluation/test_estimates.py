"""Means and intervals that repeat, and that nothing unscored enters."""

import pytest

from llmops_resources.evaluation.estimates import bootstrap, bootstrap_totals


def test_an_unscored_sample_stays_out_of_the_mean() -> None:
    estimate = bootstrap([1.0, None, 0.0, None])
    assert estimate is not None
    assert (estimate.value, estimate.n) == (0.5, 2)


def test_nothing_scored_gives_no_figure_instead_of_zero() -> None:
    assert bootstrap([None, None]) is None
    assert bootstrap_totals([], lambda _: 1.0) is None


def test_the_interval_repeats_for_a_seed_and_holds_the_value() -> None:
    values = [float(n % 3 == 0) for n in range(200)]
    one, two, other = bootstrap(values, 1), bootstrap(values, 1), bootstrap(values, 2)
    assert one == two
    assert one is not None
    assert other is not None
    assert one.low < one.value < one.high
    # The normal approximation of a proportion's interval: 0.335 +- 1.96 * sqrt(p * (1 - p) / n) = 0.270 to 0.400
    for estimate in (one, other):
        assert estimate.low == pytest.approx(0.270, abs=0.02)
        assert estimate.high == pytest.approx(0.400, abs=0.02)


def test_values_that_differ_and_values_that_repeat_have_the_same_kind_of_interval() -> None:
    repeated = bootstrap([0.0, 1.0] * 100)
    different = bootstrap([n % 2 + n * 1e-9 for n in range(200)])
    assert repeated is not None
    assert different is not None
    assert repeated.low == pytest.approx(different.low, abs=0.02)
    assert repeated.high == pytest.approx(different.high, abs=0.02)


def test_a_resample_without_a_figure_is_left_out() -> None:
    estimate = bootstrap_totals([[1, 1], [0, 0]], lambda t: t[0] / t[1] if t[1] else float("nan"))
    assert estimate is not None
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == (1.0, 1.0, 1.0, 2)
