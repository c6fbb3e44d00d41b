"""Means and intervals that repeat, and that nothing unscored enters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_resources.evaluation.estimates import RESAMPLES, bootstrap, bootstrap_totals, grouped


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


def test_an_interval_is_that_of_resampling_rows_one_by_one() -> None:
    """Resamples are drawn and summed some at a time; the figures are those of a loop over the same random numbers."""
    n = 5_000
    rows = np.random.default_rng(3).integers(0, 50, (n, 3))
    rng = np.random.default_rng(1)
    ratios = sorted(float(t[0] / t[1]) for t in (rows[rng.integers(0, n, n)].sum(axis=0) for _ in range(RESAMPLES)))
    found = bootstrap_totals(rows, lambda t: float(t[0] / t[1]), 1)
    assert found is not None
    assert (found.low, found.high) == (ratios[25], ratios[-26])


@given(st.integers(1, 70).flatmap(lambda width: st.lists(st.lists(st.integers(0, 40), min_size=width, max_size=width))))
def test_rows_that_are_alike_are_counted_in_their_order(rows: list[list[int]]) -> None:
    table = np.array(rows, dtype=np.int64).reshape(len(rows), -1) if rows else np.zeros((0, 3), dtype=np.int64)
    distinct, counts = np.unique(table, axis=0, return_counts=True)
    found, numbers = grouped(table)
    assert (found.tolist(), numbers.tolist()) == (distinct.tolist(), counts.tolist())
