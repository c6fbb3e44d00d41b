"""What a review comes to: who judges what, figures, agreement, disagreement, and signs of bad judgements."""

import random
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_resources.errors import ValidationFailed
from llmops_resources.evaluation import review_results, review_rubrics
from llmops_resources.evaluation.review_plan import deal, is_swapped, shuffled
from llmops_resources.evaluation.review_results import Judgement
from llmops_resources.evaluation.review_rubrics import Criterion, CriterionKind, Rubric
from tests.evaluation.reviewing import ABSOLUTE, BETTER, HELPFUL, PAIRWISE, SAFE, START, judged

ONE = Rubric(name="one", criteria=(HELPFUL,))


@given(st.integers(0, 60), st.integers(1, 9), st.integers(1, 5), st.integers())
def test_every_unit_has_its_reviewers_and_everybody_as_many_as_the_others(
    units: int, people: int, overlap: int, seed: int
) -> None:
    names = [f"person {number}" for number in range(people)]
    dealt = deal(range(units), names, overlap, seed)
    assert set(dealt) == set(range(units))
    assert all(len(set(theirs)) == len(theirs) == min(overlap, people) for theirs in dealt.values())
    loads = Counter(name for theirs in dealt.values() for name in theirs)
    assert max(loads[name] for name in names) - min(loads[name] for name in names) <= 1
    assert dealt == deal(range(units), names, overlap, seed)


def test_no_two_people_share_all_their_units_and_orders_differ() -> None:
    dealt = deal(range(60), ["a", "b", "c", "d"], 2, seed=1)
    assert len({frozenset(theirs) for theirs in dealt.values()}) == 6
    assert shuffled(1, "a", range(60)) != shuffled(1, "b", range(60))
    assert shuffled(1, "a", range(60)) == shuffled(1, "a", range(60))


def test_of_two_reviewers_one_sees_each_answer_first() -> None:
    assert all(is_swapped(3, unit, 0) != is_swapped(3, unit, 1) for unit in range(50))
    assert 10 < sum(is_swapped(3, unit, 0) for unit in range(50)) < 40


@given(st.sampled_from(["first", "second", "tie"]), st.booleans())
def test_a_judgement_comes_back_in_the_words_it_was_given_in(word: str, swapped: bool) -> None:
    kept = review_rubrics.numbers(PAIRWISE, {"better": word}, swapped=swapped)
    assert review_rubrics.as_shown(PAIRWISE, kept, swapped=swapped) == {"better": word}
    other = review_rubrics.numbers(PAIRWISE, {"better": word}, swapped=not swapped)
    assert kept["better"] + other["better"] == 1


@pytest.mark.parametrize("helpful", [0, 6, True, "5", 3.5, None, float("nan")])
def test_a_judgement_that_does_not_fit_names_every_wrong_criterion(helpful: object) -> None:
    with pytest.raises(ValidationFailed) as refused:
        review_rubrics.numbers(ABSOLUTE, {"helpful": helpful, "safe": "maybe", "kind": 1}, swapped=False)
    assert [it["path"] for it in refused.value.details] == ["values.helpful", "values.safe", "values.kind"]


def test_the_digest_of_a_rubric_is_of_all_it_says() -> None:
    reworded = ABSOLUTE.model_copy(update={"instructions": "Be strict."})
    assert ABSOLUTE.digest == Rubric.model_validate(ABSOLUTE.json_dict()).digest != reworded.digest


def test_the_middle_of_a_scale_and_the_majority_of_verdicts_count_and_a_draw_is_unresolved() -> None:
    said = [judged(0, "a", helpful=1, safe=1), judged(0, "b", helpful=5, safe=0), judged(0, "c", helpful=4, safe=1)]
    assert review_results.settled(HELPFUL, said) == 4
    assert review_results.settled(SAFE, said) == 1
    assert review_results.settled(SAFE, said[:2]) is None
    found = review_results.summarise(ABSOLUTE, 1, 2, said[:2])
    safe = found.criteria[1]
    assert (safe.estimate, safe.unresolved) == (None, 1)
    assert (found.slots, found.judged, found.disagreements, found.unresolved) == (2, 2, 1, 1)


def test_what_the_adjudicator_said_counts_and_settles_the_disagreement() -> None:
    said = [judged(0, "a", helpful=1, safe=1), judged(0, "b", helpful=5, safe=0)]
    final = judged(0, "z", helpful=2, safe=0).model_copy(update={"adjudication": True})
    found = review_results.summarise(ABSOLUTE, 1, 2, [*said, final])
    assert (found.disagreements, found.unresolved, found.judged) == (1, 0, 2)
    assert [it.estimate.value for it in found.criteria if it.estimate] == [2, 0]


def test_disagreements_are_beyond_the_tolerance_and_the_widest_come_first() -> None:
    values = {0: (3, 4), 1: (1, 3), 2: (1, 5), 3: (2, 2)}
    said = [judged(unit, "ab"[at], helpful=value) for unit, pair in values.items() for at, value in enumerate(pair)]
    assert review_results.disagreeing(ONE, said) == [2, 1]


def test_two_people_get_cohens_kappa_and_more_get_fleiss_beside_alpha() -> None:
    pairs = [(1, 1), (0, 0), (1, 0), (1, 1), (0, 0), (1, 1)]
    said = [judged(unit, "ab"[at], safe=value) for unit, pair in enumerate(pairs) for at, value in enumerate(pair)]
    alpha, kappa = review_results.coefficients(SAFE, said)
    assert (alpha.name, kappa.name) == ("krippendorff_alpha", "cohen_kappa")
    assert kappa.estimate is not None
    assert kappa.estimate.value == pytest.approx(2 / 3)  # 5 of 6 agreed; chance alone explains half
    third = [judged(unit, "c", safe=pair[0]) for unit, pair in enumerate(pairs)]
    alpha, kappa = review_results.coefficients(SAFE, said + third)
    assert kappa.name == "fleiss_kappa"
    assert alpha.estimate is not None
    assert kappa.estimate is not None


def test_agreement_that_is_not_defined_says_why() -> None:
    lone = review_results.coefficients(SAFE, [judged(0, "a", safe=1)])
    assert [(it.estimate, it.why_not) for it in lone] == [(None, "it takes at least two people")] * 2
    same = review_results.coefficients(SAFE, [judged(unit, person, safe=1) for unit in (0, 1) for person in "ab"])
    assert all(it.estimate is None and "the same" in it.why_not for it in same)
    apart = review_results.coefficients(SAFE, [judged(0, "a", safe=1), judged(1, "b", safe=0)])
    assert all(it.estimate is None and "two people" in it.why_not for it in apart)
    given = [(0, "a", 1), (0, "b", 0), (1, "a", 1), (1, "b", 1), (1, "c", 0)]
    gaps = [judged(unit, person, safe=value) for unit, person, value in given]
    alpha, kappa = review_results.coefficients(SAFE, gaps)
    assert alpha.estimate is not None
    assert "equally many" in kappa.why_not


def test_a_liking_for_the_first_place_shows_and_a_liking_for_a_model_does_not() -> None:
    def said(unit: int, swapped: bool, *, value: float) -> Judgement:
        return judged(unit, "a" if swapped else "b", better=value).model_copy(update={"swapped": swapped})

    place = [said(unit, swapped, value=0.0 if swapped else 1.0) for unit in range(20) for swapped in (True, False)]
    model = [said(unit, swapped, value=1.0) for unit in range(20) for swapped in (True, False)]
    (liked,), (fair,) = (review_results.summarise(PAIRWISE, 20, 2, each).criteria for each in (place, model))
    assert liked.first_place is not None
    assert fair.first_place is not None
    assert (liked.first_place.value, liked.estimate) == (1.0, None)
    assert (fair.first_place.value, fair.estimate and fair.estimate.value) == (0.5, 1.0)
    assert BETTER.measured.value == "ordinal"


def _crowd(seed: int, people: str = "abc", units: int = 30) -> list[Judgement]:
    chance = random.Random(seed)
    said = []
    for unit in range(units):
        truth = chance.randint(1, 5)
        for person in people:
            seen = min(5, max(1, truth + chance.choice((-1, 0, 0, 1))))
            said.append(judged(unit, person, unit, helpful=seen))
    return said


def test_honest_reviewers_raise_no_sign() -> None:
    assert [sign for seed in range(20) for sign in review_results.warnings(ONE, _crowd(seed))] == []


def test_a_reviewer_who_flips_the_labels_is_told_from_the_others() -> None:
    said = _crowd(1)
    flipped = [
        it.model_copy(update={"values": {"helpful": 6 - it.values["helpful"]}}) if it.person == "c" else it
        for it in said
    ]
    assert [(it.reviewer, it.sign) for it in review_results.warnings(ONE, flipped)] == [("c", "opposed")]


def test_a_bot_that_says_one_thing_at_once_is_told() -> None:
    bot = [
        Judgement(unit=unit, person="bot", values={"helpful": 5}, at=START + timedelta(seconds=unit / 10))
        for unit in range(30)
    ]
    signs = {(it.reviewer, it.sign) for it in review_results.warnings(ONE, _crowd(2) + bot)}
    assert {("bot", "quick"), ("bot", "constant")} <= signs
    assert {reviewer for reviewer, _ in signs} == {"bot"}


def test_reviewers_who_copy_each_others_reasons_are_told() -> None:
    words = "It answers the question but leaves the year out."
    said = [it.model_copy(update={"reason": f"{words} {it.unit}" if it.person in "ab" else ""}) for it in _crowd(3)]
    assert {(it.reviewer, it.sign) for it in review_results.warnings(ONE, said)} == {("a", "copied"), ("b", "copied")}


@pytest.mark.parametrize(("low", "high"), [(1, 1), (5, 1), (0, 10)])
def test_a_scale_has_two_to_ten_steps(low: int, high: int) -> None:
    with pytest.raises(ValueError, match="2 to 10 steps"):
        Criterion(name="x", question="?", kind=CriterionKind.SCALE, low=low, high=high)
