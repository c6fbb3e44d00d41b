"""Agreement against published examples and the reference library, and what cannot be told."""

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from llmops_resources.errors import InvalidInput
from llmops_resources.evaluation.agreement import Scale, alphas, cohen_kappa, fleiss_kappa, krippendorff_alpha
from llmops_resources.evaluation.estimates import Estimate

NAN = float("nan")
# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", C: four observers, twelve units, gaps.
PUBLISHED = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
    [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
]
# Fleiss' worked example of fourteen raters, ten units, five categories: how many chose each; kappa is 0.210.
FLEISS = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip


def value(estimate: Estimate | None) -> float:
    assert estimate is not None
    assert estimate.low <= estimate.value <= estimate.high
    return estimate.value


@pytest.mark.parametrize(("scale", "alpha"), [(Scale.NOMINAL, 0.743), (Scale.ORDINAL, 0.815), (Scale.INTERVAL, 0.849)])
def test_alpha_reproduces_krippendorffs_example(scale: Scale, alpha: float) -> None:
    estimate = krippendorff_alpha(PUBLISHED, scale)
    assert value(estimate) == pytest.approx(alpha, abs=0.0005)
    assert estimate is not None
    assert estimate.n == 11  # the last unit has one rating


def test_alpha_reproduces_the_example_of_three_coders() -> None:
    """The widely printed example of three coders and fifteen units: 0.691 nominal, 0.811 interval."""
    table = [[NAN if mark == "*" else float(mark) for mark in row.split()] for row in (
        "* * * * * 3 4 1 2 1 1 3 3 * 3",
        "1 * 2 1 3 3 4 3 * * * * * * *",
        "* * 2 1 3 4 4 * 2 1 1 3 3 * 4",
    )]  # fmt: skip
    assert value(krippendorff_alpha(table, Scale.NOMINAL)) == pytest.approx(0.691, abs=0.0005)
    assert value(krippendorff_alpha(table, Scale.INTERVAL)) == pytest.approx(0.811, abs=0.0005)


def test_fleiss_kappa_reproduces_the_worked_example() -> None:
    table = np.transpose([np.repeat(range(5), row) for row in FLEISS])
    estimate = fleiss_kappa(table)
    assert value(estimate) == pytest.approx(0.210, abs=0.0005)
    assert estimate is not None
    assert estimate.n == 10


def test_cohens_kappa_reproduces_the_worked_example() -> None:
    """Fifty proposals: both yes 20, only the first 5, only the second 10, neither 15; kappa is 0.4."""
    first, second = [1] * 25 + [0] * 25, [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    estimate = cohen_kappa(first, second)
    assert value(estimate) == pytest.approx(0.4)
    assert estimate is not None
    # Cohen's large-sample error sqrt(po (1 - po) / (n (1 - pe)^2)) = 0.130 gives 0.146 to 0.654.
    assert (estimate.low, estimate.high) == (pytest.approx(0.146, abs=0.06), pytest.approx(0.654, abs=0.06))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(*[st.sampled_from([0.0, 1.0, 2.0])] * 2), min_size=2, max_size=20))
def test_coefficients_are_those_of_the_libraries(units: list[tuple[float, float]]) -> None:
    table = np.array(units).T
    if len(np.unique(table)) > 1:
        theirs = krippendorff.alpha(reliability_data=table, level_of_measurement="ordinal")
        alpha, kappa = krippendorff_alpha(table, Scale.ORDINAL), cohen_kappa(*table)
        assert alpha is not None
        assert kappa is not None
        assert (alpha.value, alpha.n) == (pytest.approx(theirs), len(units))
        assert (kappa.value, kappa.n) == (pytest.approx(cohen_kappa_score(*table)), len(units))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=1, max_size=12),
    st.lists(st.integers(0, 5), min_size=12, max_size=12),
    st.lists(st.floats(-1e3, 1e3, width=16), min_size=4, max_size=4, unique=True),
    st.sampled_from(Scale),
)
def test_alpha_of_weighted_units_is_that_of_the_library_over_units_repeated_so_often(
    votes: list[list[int]], often: list[int], values: list[float], scale: Scale
) -> None:
    """Any votes and gaps, values far apart or near, and units that a resample left out."""
    counts, times, domain = np.array(votes), np.array(often[: len(votes)]), np.sort(values)
    (found,) = alphas(times[None].astype(float), counts, domain, scale)
    drawn = np.repeat(counts, times, axis=0)
    drawn = drawn[drawn.sum(axis=1) > 1]
    if (drawn.sum(axis=0) > 0).sum() < 2:
        assert np.isnan(found)
        return
    theirs = krippendorff.alpha(value_counts=drawn, value_domain=domain, level_of_measurement=scale.value)
    assert found == pytest.approx(theirs, rel=1e-9, abs=1e-9)


def test_what_cannot_be_told_is_no_figure() -> None:
    unanimous, apart = [[1, 1, 1], [1, 1, 1]], [[1, NAN], [NAN, 2]]
    assert krippendorff_alpha(unanimous, Scale.NOMINAL) is None
    assert fleiss_kappa(unanimous) is None
    assert cohen_kappa(*unanimous) is None
    assert krippendorff_alpha(apart, Scale.NOMINAL) is None
    assert cohen_kappa(*apart) is None
    assert fleiss_kappa([[NAN], [NAN]]) is None


def test_perfect_agreement_is_one_and_a_rating_missing_of_both_costs_only_its_unit() -> None:
    estimate = cohen_kappa([1, 2, NAN, 3], [1, 2, 2, 3])
    assert estimate is not None
    assert (estimate.value, estimate.n) == (pytest.approx(1.0), 3)


def test_ratings_that_a_coefficient_is_not_for_are_refused() -> None:
    with pytest.raises(InvalidInput, match="units with 2, 3 ratings") as refused:
        fleiss_kappa([[1, 1], [1, 2], [NAN, 1]])
    assert "Krippendorff" in str(refused.value.remedy)
    with pytest.raises(InvalidInput):
        cohen_kappa([1, 2], [1])
    with pytest.raises(InvalidInput):
        krippendorff_alpha([1, 2], Scale.NOMINAL)
