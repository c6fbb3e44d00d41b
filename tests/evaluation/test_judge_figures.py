"""What several judges say together, and when a judge may decide in people's stead."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_resources.errors import ValidationFailed
from llmops_resources.evaluation.agreement import Scale
from llmops_resources.evaluation.judge_consensus import consensus
from llmops_resources.evaluation.judge_licences import Terms, bias, licence
from llmops_resources.evaluation.judge_suite import Judge, JudgeSuite
from llmops_resources.evaluation.judge_units import units
from llmops_resources.evaluation.review_rubrics import Criterion, CriterionKind, Rubric
from llmops_resources.evaluation.runs import Sample


def _answers(rng: np.random.Generator, truth: np.ndarray, right: float, values: int = 2) -> np.ndarray:
    """Answers that are right that often, and else one of the other values."""
    wrong = (truth + rng.integers(1, values, len(truth))) % values
    return np.where(rng.random(len(truth)) < right, truth, wrong).astype(float)


def test_good_judges_outvote_more_bad_ones_who_agree_by_chance_only() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, 400)
    table = [_answers(rng, truth, right) for right in (0.95, 0.95, 0.55, 0.55, 0.55)]
    found = consensus(table, Scale.NOMINAL)
    majority = (np.mean(table, axis=0) > 0.5).astype(float)
    assert found.method == "Dawid-Skene"
    assert np.mean(np.array(found.values) == truth) > np.mean(majority == truth) + 0.05
    assert found.reliability == pytest.approx((0.95, 0.95, 0.55, 0.55, 0.55), abs=0.06)


def test_confidence_is_about_as_often_right_as_it_says() -> None:
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 3, 3_000)
    found = consensus([_answers(rng, truth, right, 3) for right in (0.8, 0.7, 0.7)], Scale.NOMINAL)
    confidence, right = np.array(found.confidence, dtype=float), np.array(found.values) == truth
    for low, high in ((0.4, 0.7), (0.7, 0.9), (0.9, 1.01)):
        inside = (confidence >= low) & (confidence < high)
        assert right[inside].mean() == pytest.approx(confidence[inside].mean(), abs=0.07)


@given(st.permutations(range(4)), st.integers(0, 50))
def test_the_order_of_judges_changes_nothing(order: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.integers(1, 6, (4, 30)).astype(float)
    table[rng.random(table.shape) < 0.1] = np.nan
    one, two = consensus(table, Scale.ORDINAL), consensus(table[order], Scale.ORDINAL)
    assert one.values == two.values
    assert [one.reliability[at] for at in order] == pytest.approx(two.reliability, abs=1e-6)


def test_too_few_judges_or_units_are_counted_and_the_method_says_why() -> None:
    two = consensus([[1, 5, np.nan], [3, 5, np.nan]], Scale.ORDINAL)
    assert two.values == (2.0, 5.0, None)
    assert (two.confidence, two.reliability) == ((0.0, 1.0, None), (None, None))
    assert two.method == "median: 2 of at least 3 judges answered"
    few = consensus([[1, 0], [1, 1], [0, 1]], Scale.NOMINAL)
    assert (few.values, few.method) == ((1.0, 1.0), "majority: 2 units have answers of 3 judges, and it takes 20")
    split = consensus([[1.0], [0.0]], Scale.NOMINAL)
    assert split.values == (None,)


def test_a_judge_like_the_people_is_licensed_and_a_coin_is_not() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 2, 300)
    people = {name: list(_answers(rng, truth, 0.85)) for name in "abc"}
    like = licence(list(_answers(rng, truth, 0.9)), people, Scale.NOMINAL)
    assert like.granted
    assert like.humans == pytest.approx(0.49, abs=0.12)
    assert like.difference is not None
    assert like.with_judge == pytest.approx(like.humans + like.difference.value)
    coin = licence(list(_answers(rng, truth, 0.5)), people, Scale.NOMINAL)
    assert not coin.granted
    assert "worse, and 0.1 is allowed" in coin.reasons[0]
    assert coin.difference is not None
    assert coin.difference.high < -0.1


def test_a_wider_margin_never_takes_a_licence_away() -> None:
    rng = np.random.default_rng(4)
    truth = rng.integers(1, 6, 120)
    people = {name: list(_answers(rng, truth, 0.8, 6)) for name in "ab"}
    judge = list(_answers(rng, truth, 0.75, 6))
    granted = [licence(judge, people, Scale.ORDINAL, Terms(margin=m)).granted for m in (0, 0.05, 0.1, 0.2, 0.3, 0.5)]
    assert granted == sorted(granted)
    assert granted[-1]


def test_a_judge_no_better_than_allowed_is_rarely_licensed() -> None:
    """The judge's alpha is worse than the people's by about the margin: the interval's lower end must say so."""
    licensed = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        truth = rng.integers(0, 2, 150)
        people = {name: list(_answers(rng, truth, 0.9)) for name in "ab"}
        licensed += licence(list(_answers(rng, truth, 0.83)), people, Scale.NOMINAL, Terms(margin=0.11)).granted
    assert licensed <= 4


def test_people_who_do_not_agree_license_nobody() -> None:
    rng = np.random.default_rng(6)
    people = {name: list(rng.integers(0, 2, 100).astype(float)) for name in "abc"}
    found = licence(list(rng.integers(0, 2, 100).astype(float)), people, Scale.NOMINAL, Terms(margin=0.5))
    assert not found.granted
    assert "among themselves" in found.reasons[0]


def test_nothing_is_licensed_on_what_cannot_be_told() -> None:
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 2, 60)
    one, two = (list(_answers(rng, truth, 0.9)) for _ in range(2))
    judge: list[float | None] = list(_answers(rng, truth, 0.9))
    assert "1 people judged" in licence(judge, {"a": one}, Scale.NOMINAL).reasons[0]
    assert not licence(judge, {}, Scale.NOMINAL).granted
    few = licence(judge[:20], {"a": one[:20], "b": two[:20]}, Scale.NOMINAL)
    assert few.reasons == ("20 units were judged by two people and the judge; it takes 30",)
    silent = licence([None] * 15 + judge[15:], {"a": one, "b": two}, Scale.NOMINAL)
    assert not silent.granted
    assert "75.0%" in silent.reasons[0]
    same = [1.0] * 60
    assert "not defined" in licence(same, {"a": same, "b": same}, Scale.NOMINAL).reasons[0]


def test_a_liking_for_long_answers_is_told() -> None:
    assert bias([1, 2, 3, 4, 5], [10, 20, 30, 40, 1_000]) == pytest.approx(1)
    assert bias([5, None, 4, 1], [1, 7, 2, 3]) == pytest.approx(-1)
    assert bias([3, 3, 3], [1, 2, 3]) is None


def _sample(index: int, actual: str | None) -> Sample:
    return Sample(index=index, input=f"q{index}", expected="e", actual=actual, scores={})


def test_the_same_answers_are_judged_for_the_same_seed_and_none_that_is_missing() -> None:
    scale = Rubric(name="r", criteria=(Criterion(name="good", question="?", kind=CriterionKind.SCALE),))
    judge = Judge(model_id="00000000-0000-0000-0000-000000000001", digest="d")
    suite = JudgeSuite(rubric=scale, judges=(judge,), sample_size=5, seed=7)
    samples = [_sample(index, None if index == 3 else f"a{index}") for index in range(20)]
    chosen = units(suite, samples)
    assert chosen == units(suite, samples)
    assert len(chosen) == 5
    assert 3 not in {unit.index for unit in units(suite.model_copy(update={"sample_size": None}), samples)}
    with pytest.raises(ValidationFailed):
        units(suite, samples, samples)


def test_pairs_are_of_the_same_question_and_need_a_rubric_that_compares() -> None:
    pairs = Rubric(name="r", criteria=(Criterion(name="better", question="?", kind=CriterionKind.PAIRWISE),))
    judge = Judge(model_id="00000000-0000-0000-0000-000000000001", digest="d")
    suite = JudgeSuite(rubric=pairs, judges=(judge,))
    ours, theirs = [_sample(n, f"a{n}") for n in range(4)], [_sample(n, f"b{n}") for n in range(1, 6)]
    theirs[0] = theirs[0].model_copy(update={"input": "another question"})
    assert [(unit.index, unit.answers) for unit in units(suite, ours, theirs)] == [(2, ("a2", "b2")), (3, ("a3", "b3"))]
    with pytest.raises(ValidationFailed):
        units(suite, ours)


def test_a_suite_in_which_a_model_judges_twice_is_refused() -> None:
    rubric = Rubric(name="r", criteria=(Criterion(name="good", question="?", kind=CriterionKind.SCALE),))
    judge = Judge(model_id="00000000-0000-0000-0000-000000000001", digest="d")
    with pytest.raises(ValueError, match="judges twice"):
        JudgeSuite(rubric=rubric, judges=(judge, judge))
