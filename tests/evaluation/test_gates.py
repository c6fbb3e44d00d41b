"""What a gate says: by hand where that is possible, and never more than 5 % of the time by luck."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from benchmarks.gates import false_positives
from llmops_resources.evaluation import betting
from llmops_resources.evaluation.gate_conditions import NonInferiority, Threshold
from llmops_resources.evaluation.gates import Gate
from llmops_resources.evaluation.suite import MetricName

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=60)


def test_a_bet_that_always_wins_multiplies_as_computed_by_hand() -> None:
    won = betting.p_value(np.ones(3), 0.5)
    by_hand = sum((1 + bet) ** 3 for bet in betting.BETS) / len(betting.BETS)
    assert won == pytest.approx(1 / by_hand)
    assert betting.p_value(np.zeros(3), 0.5) == 1.0
    assert betting.p_value(np.array([]), 0.5) == 1.0


def test_holm_multiplies_by_what_is_left_and_never_falls() -> None:
    assert betting.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert betting.holm([0.5, 1.0]) == [1.0, 1.0]
    assert betting.holm([]) == []


def test_all_looks_together_spend_five_percent() -> None:
    assert betting.spent(1) == pytest.approx(0.05 * 6 / math.pi**2)
    total = sum(map(betting.spent, range(1, 200_000)))
    assert 0.0499 < total < 0.05


@given(SCORES, st.floats(0.01, 0.99), st.randoms())
def test_the_order_of_samples_does_not_matter_and_a_higher_bar_is_harder(
    scores: list[float], mean: float, chance: "np.random.Generator"
) -> None:
    shuffled = list(scores)
    chance.shuffle(shuffled)
    p = betting.p_value(np.array(scores), mean)
    assert p == pytest.approx(betting.p_value(np.array(shuffled), mean))
    assert p <= betting.p_value(np.array(scores), min(mean + 0.005, 0.999)) + 1e-9


@given(SCORES, st.floats(0.001, 0.2))
def test_the_bound_lies_below_the_mean_and_at_the_edge_of_what_is_refuted(scores: list[float], alpha: float) -> None:
    found = np.array(scores)
    bound = betting.lower_bound(found, alpha)
    assert bound <= found.mean() + 1e-9
    assert bound == 0 or betting.p_value(found, bound) <= alpha + 1e-6
    assert betting.p_value(found, bound + 1e-6) > alpha * (1 - 1e-3)


def test_looks_and_conditions_without_an_effect_pass_at_most_one_time_in_twenty() -> None:
    ours, naive = false_positives(experiments=400, looks=6, samples=80, conditions=2, seed=5)
    assert ours <= 0.05
    assert naive > 0.10, "the comparison would not show peeking"


@pytest.mark.parametrize("kind", [Threshold, NonInferiority])
def test_a_metric_of_all_answers_together_is_refused_when_the_gate_is_declared(kind: type) -> None:
    bound = {"atLeast": 0.5} if kind is Threshold else {"margin": 0.1}
    with pytest.raises(ValidationError, match="no bounded score of one sample"):
        kind.model_validate({"metric": "bleu", **bound})


def test_equal_gates_have_equal_digests_and_another_margin_another() -> None:
    def gate(margin: float) -> Gate:
        condition = NonInferiority(metric=MetricName.F1, margin=margin)
        return Gate(name="g", model="m", benchmark="b", conditions=(condition,))

    assert gate(0.1).digest == gate(0.1).digest != gate(0.2).digest
