"""Scores against hand-worked examples, and intervals that repeat."""

import pytest
from sacrebleu.metrics.bleu import BLEU

from llmops_resources.evaluation.scorers import (
    bleu_signature,
    bootstrap,
    bootstrap_bleu,
    corpus_bleu,
    exact_match,
    f1,
    normalize,
)

ACTUAL = ["The cat sat on the mat.", "Nothing matches the given URI.", "A list of things"]
EXPECTED = ["The cat sat on a mat.", "Nothing matches the given URI.", "A tuple of other things"]


def test_normalization_drops_case_punctuation_articles_and_spaces() -> None:
    assert normalize("  The quick, (brown)\n fox -- an animal! ") == "quick brown fox animal"


def test_exact_match_looks_past_the_wording_of_articles_but_not_of_words() -> None:
    assert exact_match("the URI.", "URI") == 1.0
    assert exact_match("the URL", "URI") == 0.0


@pytest.mark.parametrize(
    ("actual", "expected", "score"),
    [
        ("a b c", "a b c", 1.0),
        ("x y", "x z", 0.5),
        ("x x x y", "x y y", 4 / 7),  # common: x once, y once
        ("", "", 1.0),
        ("the", "", 1.0),
        ("word", "", 0.0),
    ],
)
def test_f1_counts_repeated_words_once_a_match(actual: str, expected: str, score: float) -> None:
    assert f1(actual, expected) == pytest.approx(score)


def test_bleu_is_that_of_sacrebleu_and_says_how_it_was_computed() -> None:
    assert corpus_bleu(ACTUAL, EXPECTED) == pytest.approx(BLEU().corpus_score(ACTUAL, [EXPECTED]).score)
    assert corpus_bleu(EXPECTED, EXPECTED) == pytest.approx(100.0)
    assert "tok:13a" in bleu_signature()


def test_answers_and_references_of_different_number_are_refused() -> None:
    with pytest.raises(ValueError, match="3 answers for 2 references"):
        corpus_bleu(ACTUAL, EXPECTED[:2])


def test_an_unscored_sample_stays_out_of_the_mean() -> None:
    estimate = bootstrap([1.0, None, 0.0, None])
    assert estimate is not None
    assert (estimate.value, estimate.n) == (0.5, 2)


def test_nothing_scored_gives_no_figure_instead_of_zero() -> None:
    assert bootstrap([None, None]) is None
    assert bootstrap_bleu([], []) is None


def test_the_interval_repeats_for_a_seed_and_holds_the_value() -> None:
    values = [float(n % 3 == 0) for n in range(200)]
    one, two, other = bootstrap(values, 1), bootstrap(values, 1), bootstrap(values, 2)
    assert one == two != other
    assert one is not None
    assert one.low < one.value < one.high
    # The normal approximation of a proportion's interval: 0.335 +- 1.96 * sqrt(p * (1 - p) / n) = 0.270 to 0.400
    assert one.low == pytest.approx(0.270, abs=0.02)
    assert one.high == pytest.approx(0.400, abs=0.02)


def test_the_bleu_interval_is_around_the_corpus_score() -> None:
    estimate = bootstrap_bleu(ACTUAL * 10, EXPECTED * 10)
    assert estimate is not None
    assert estimate.value == pytest.approx(corpus_bleu(ACTUAL * 10, EXPECTED * 10))
    assert estimate.low < estimate.value < estimate.high
