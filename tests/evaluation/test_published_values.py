"""Values that others printed: sacreBLEU's and rouge-score's own cases, and what SQuAD's evaluation script says."""

import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from llmops_resources.evaluation.estimates import bootstrap
from llmops_resources.evaluation.scorers import overlap
from llmops_resources.evaluation.scorers.answers import exact_match, f1
from llmops_resources.evaluation.scorers.overlap import chrf
from llmops_resources.evaluation.scorers.rouge import rouge
from llmops_resources.evaluation.suite import MetricName

ONE, TWO, LCS = MetricName.ROUGE_1, MetricName.ROUGE_2, MetricName.ROUGE_L
#: Answer, reference, and exact match and F1 as SQuAD's `evaluate-v1.1.py` computes them.
SQUAD = [
    ("Denver Broncos", "Denver Broncos", 1, 1.0),
    ("the Broncos of Denver", "Denver Broncos", 0, 0.8),
    ("Beyonce", "Beyoncé and Bruno Mars", 0, 0.0),
    ("1976", "1976", 1, 1.0),
    ("in the year of 1976.", "1976", 0, 0.4),
    ("Santa Clara, California", "Levi's Stadium in Santa Clara", 0, 0.5),
    ("U.S.A.", "usa", 1, 1.0),
    ("24-10", "24 10", 0, 0.0),
    ("co-operation", "cooperation", 1, 1.0),
    ("Theatre", "the atre", 0, 0.0),
]


@pytest.mark.parametrize(
    ("answers", "references", "score"),
    [
        (["this is a test", "another test"], ["ref1", "ref2"], 0.0),  # since its version 2: no word in common
        (["this is a test"], ["this is a test"], 1.0),
        (["this is a fest"], ["this is a test"], 0.223606797749979),
        (["test"], ["a test"], 0.3678794411714425),
        (["a test"], ["a test"], 1.0),
        (["a little test"], ["a test"], 0.03218297948685433),
    ],
)
def test_bleu_from_statistics_is_what_sacrebleu_tests_itself_by(
    answers: list[str], references: list[str], score: float
) -> None:
    raw = BLEU(tokenize="none", smooth_method="floor", smooth_value=0.01, force=True, effective_order=True)
    found = overlap._corpus(raw, overlap.bleu_rows(raw, answers, references), 0)
    assert found is not None
    assert found.value / 100 == pytest.approx(score, abs=1e-8)


def test_sacrebleu_here_gives_its_own_scores_of_the_example_it_is_introduced_with() -> None:
    answers = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."]
    references = [
        ["The dog bit the man.", "It was not unexpected.", "The man bit him first."],
        ["The dog had bit the man.", "No one was surprised.", "The man had bitten the dog."],
    ]
    by_tokenizer = {"13a": 48.530827, "none": 49.1919566, "intl": 43.91623493}
    for name, score in by_tokenizer.items():
        assert BLEU(tokenize=name).corpus_score(answers, references).score == pytest.approx(score, abs=1e-6)
    assert BLEU().corpus_score(["", "", ""], references).score == 0.0


@pytest.mark.parametrize(
    ("answers", "references", "score"),
    [
        (["a"], ["a"], 100.0),
        ([""], ["reference"], 0.0),
        (["a b c"], ["a b c"], 100.0),
        (["a b c"], ["abc"], 100.0),
        ([""], ["c"], 0.0),
        (["a", "b"], ["a", "c"], 50.0),
        (["aa"], ["ab"], 25.0),
    ],
)
def test_chrf_is_what_sacrebleu_tests_itself_by(answers: list[str], references: list[str], score: float) -> None:
    found = chrf(answers, references)
    assert found is not None
    assert found.value == pytest.approx(score, abs=1e-4)


def test_chrf_from_statistics_is_the_published_one_of_german_with_and_without_spaces() -> None:
    answer = "Die Beziehung zwischen Obama und Netanjahu ist nicht gerade freundlich."
    reference = "Das Verhältnis zwischen Obama und Netanyahu ist nicht gerade freundschaftlich."
    kept = CHRF(beta=3, whitespace=True)
    smoothed = CHRF(beta=3, eps_smoothing=True)
    for metric, score in ((kept, 67.3481606), (smoothed, 64.1302698)):
        found = overlap._corpus(metric, overlap.chrf_rows(metric, [answer], [reference]), 0)
        assert found is not None
        assert found.value == pytest.approx(score, abs=1e-4)


@pytest.mark.parametrize(
    ("answer", "kind", "score"),
    [
        ("testing", ONE, 1 / 2),
        ("testing one", ONE, 4 / 5),
        ("testing one", TWO, 2 / 3),
        ("testing one", LCS, 4 / 5),
        ("testing two", LCS, 4 / 5),
        *(("", kind, 0.0) for kind in (ONE, TWO, LCS)),
        *(("/", kind, 0.0) for kind in (ONE, TWO, LCS)),
    ],
)
def test_rouge_is_what_rouge_score_tests_itself_by(answer: str, kind: MetricName, score: float) -> None:
    assert rouge(answer, "testing one two")[kind] == pytest.approx(score)


@pytest.mark.parametrize(
    ("reference", "answer", "runs", "scores"),
    [
        (27, 16, (5, 4, 2), (0.51163, 0.39024, 0.51163)),
        (42, 26, (6, 4, 3, 2, 2), (0.5, 0.36364, 0.5)),
    ],
)
def test_rouge_is_what_rouge_1_5_5_printed_for_the_texts_rouge_score_tests_itself_by(
    reference: int, answer: int, runs: tuple[int, ...], scores: tuple[float, float, float]
) -> None:
    """Words of our own in place of its news: as many on both sides, and as many shared, in order, in as many runs."""
    shared = iter(f"shared{number}" for number in range(sum(runs)))
    wanted, got = [], []
    for run in runs:
        together = [next(shared) for _ in range(run)]
        wanted += [f"wanted{len(wanted)}", *together]
        got += [*together, f"got{len(got)}"]
    wanted += [f"wanted{number}" for number in range(len(wanted), reference)]
    got = (got + [f"got{number}" for number in range(len(got), answer)])[:answer]
    assert (len(wanted), len(got)) == (reference, answer)
    found = rouge(" ".join(got), " ".join(wanted))
    assert tuple(round(found[kind], 5) for kind in (ONE, TWO, LCS)) == scores


def test_exact_match_and_f1_are_those_of_squads_evaluation_script() -> None:
    for answer, reference, exact, overlapping in SQUAD:
        assert exact_match(answer, reference) == exact, answer
        assert f1(answer, reference) == pytest.approx(overlapping), answer
    mean = bootstrap([f1(answer, reference) for answer, reference, _, _ in SQUAD])
    assert mean is not None
    assert mean.value == pytest.approx(0.57)


def test_only_answers_of_articles_alone_differ_and_as_the_second_script_has_it() -> None:
    """Nothing is left of either side: v1.1 gives an F1 of 0 beside an exact match of 1, v2.0 gives 1 for both."""
    assert (exact_match("a an the", "the"), f1("a an the", "the")) == (1.0, 1.0)
