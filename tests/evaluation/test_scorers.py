"""Scores against the reference libraries, the SQuAD and KorQuAD protocols and hand-worked examples."""

import random
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer, _lcs_table
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from seqeval.metrics import f1_score as seqeval_f1
from seqeval.scheme import IOB2, Entities
from sklearn.metrics import f1_score as sklearn_f1

from llmops_resources.evaluation.estimates import Estimate
from llmops_resources.evaluation.scorers import labels
from llmops_resources.evaluation.scorers.answers import exact_match, f1, is_refusal, label, length, normalize
from llmops_resources.evaluation.scorers.overlap import (
    bleu,
    bleu_rows,
    bleu_signature,
    chrf,
    chrf_rows,
    chrf_signature,
)
from llmops_resources.evaluation.scorers.rouge import longest_common, rouge
from llmops_resources.evaluation.suite import MetricName, Tokenization

CHARACTERS = Tokenization.CHARACTERS
PIECES = [
    *("a", "b", "A", "가", "나", "\U0001f600", "\ud800", "0", "7", ".", ",", "-", "-\n", "\n", " ", "\t"),
    *("\u3000", "\x1c", "'", "(", "&", "&quot;", "&amp;lt;", "<skipped>", "<", "%", "\x00"),
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=14).map("".join) | st.text(max_size=20)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5)
ACTUAL = ["The cat sat on the mat.", "Nothing matches the given URI.", "A list of things"]
EXPECTED = ["The cat sat on a mat.", "Nothing matches the given URI.", "A tuple of other things"]


def value(estimate: Estimate | None) -> float:
    assert estimate is not None
    assert estimate.low <= estimate.value <= estimate.high
    return estimate.value


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


def test_a_korean_particle_costs_a_word_but_only_one_character() -> None:
    assert f1("서울에서", "서울") == 0.0
    assert f1("서울에서", "서울", CHARACTERS) == pytest.approx(2 * 2 / (4 + 2))
    assert exact_match("《훈민정음》", "훈민정음", CHARACTERS) == 1.0
    assert f1("the 서울", "서울", CHARACTERS) == pytest.approx(4 / 7)  # KorQuAD keeps articles


def test_decomposed_hangul_is_the_same_answer_by_characters() -> None:
    assert exact_match(unicodedata.normalize("NFD", "한국"), "한국", CHARACTERS) == 1.0


@given(st.text(), st.text(), st.sampled_from(Tokenization))
def test_f1_is_symmetric_between_0_and_1_and_no_less_than_exact_match(a: str, b: str, kind: Tokenization) -> None:
    assert f1(a, b, kind) == f1(b, a, kind)
    assert exact_match(a, b, kind) <= f1(a, b, kind) <= 1.0


def test_bleu_and_chrf_are_those_of_sacrebleu_and_say_how_they_were_computed() -> None:
    assert value(bleu(ACTUAL * 9, EXPECTED * 9)) == BLEU().corpus_score(ACTUAL * 9, [EXPECTED * 9]).score
    assert value(chrf(ACTUAL * 9, EXPECTED * 9)) == CHRF().corpus_score(ACTUAL * 9, [EXPECTED * 9]).score
    assert value(bleu(EXPECTED, EXPECTED)) == pytest.approx(100.0)
    assert "tok:13a" in bleu_signature()
    assert "tok:char" in bleu_signature(CHARACTERS)
    assert chrf_signature().startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:2.")


@given(PAIRS)
def test_what_bleu_counts_is_what_sacrebleu_counts(pairs: list[tuple[str, str]]) -> None:
    """Texts made of what its tokenizers treat in a way of its own: stops between digits, hyphens at line ends."""
    actual, expected = [a for a, _ in pairs], [b for _, b in pairs]
    for tokenizer in ("13a", "char", "none"):
        metric = BLEU(tokenize=tokenizer)
        theirs = metric._extract_corpus_statistics(actual, [expected])
        assert bleu_rows(metric, actual, expected).tolist() == theirs


@given(PAIRS)
def test_what_chrf_counts_is_what_sacrebleu_counts(pairs: list[tuple[str, str]]) -> None:
    actual, expected = [a for a, _ in pairs], [b for _, b in pairs]
    for metric in (CHRF(), CHRF(whitespace=True, char_order=8)):
        theirs = metric._extract_corpus_statistics(actual, [expected])
        assert chrf_rows(metric, actual, expected).tolist() == theirs


def test_n_grams_are_counted_right_when_their_numbers_outgrow_a_machine_word() -> None:
    """700 pairs of 200 words out of 30,000: four words and a pair take more than 63 bits, and there are two chunks."""
    rng = random.Random(2)
    words = [f"w{number}" for number in range(30_000)]
    expected = [rng.choices(words, k=200) for _ in range(700)]
    actual = [" ".join(words[30:]) + " " + " ".join(rng.choices(words, k=3)) for words in expected]
    metric, texts = BLEU(), [" ".join(each) for each in expected]
    assert bleu_rows(metric, actual, texts).tolist() == metric._extract_corpus_statistics(actual, [texts])


def test_bleu_reproduces_the_worked_example_of_its_paper() -> None:
    """Papineni 2002, example 2: seven times `the` matches the reference twice, so 1-gram precision is 2/7."""
    metric = BLEU(smooth_method="none", max_ngram_order=1)
    assert metric.corpus_score(["the the the the the the the"], [["The cat is on the mat".lower()]]).precisions == [
        pytest.approx(200 / 7)
    ]


def test_answers_and_references_of_different_number_are_refused() -> None:
    for score in (bleu, chrf, labels.macro_f1, labels.micro_f1):
        with pytest.raises(ValueError, match="3 answers for 2 references"):
            score(ACTUAL, EXPECTED[:2])


def test_nothing_scored_gives_no_figure_instead_of_zero() -> None:
    for score in (bleu, chrf, labels.macro_f1, labels.micro_f1):
        assert score([], []) is None
    assert labels.ner_f1([]) is None
    assert labels.ner_f1([(set(), set())]) is None


@given(st.lists(st.tuples(*[st.text(st.characters(max_codepoint=127), max_size=60)] * 2), min_size=1, max_size=5))
def test_rouge_on_ascii_is_that_of_rouge_score(pairs: list[tuple[str, str]]) -> None:
    reference = RougeScorer(["rouge1", "rouge2", "rougeL"])
    for actual, expected in pairs:
        theirs = {MetricName(name): score.fmeasure for name, score in reference.score(expected, actual).items()}
        assert rouge(actual, expected) == theirs


@given(st.text("abc", max_size=70), st.text("abcd", max_size=70))
def test_the_longest_common_subsequence_is_as_long_as_its_table_says(one: str, other: str) -> None:
    assert longest_common(one, other) == _lcs_table(one, other)[-1][-1]


def test_rouge_reproduces_the_cases_of_rouge_score() -> None:
    """From its own tests: `testing one two` against `testing`, and LCS that skip words."""
    assert rouge("testing", "testing one two")[MetricName.ROUGE_1] == pytest.approx(0.5)
    assert rouge("testing two", "testing one two")[MetricName.ROUGE_L] == pytest.approx(0.8)
    assert rouge("testing two", "testing one two")[MetricName.ROUGE_2] == 0.0


def test_rouge_keeps_hangul_that_the_default_tokenizer_drops() -> None:
    assert RougeScorer(["rouge1"]).score("서울은 수도다", "서울은 수도다")["rouge1"].fmeasure == 0.0
    assert rouge("서울은 수도다", "서울은 수도다") == dict.fromkeys(rouge("", ""), 1.0)
    assert rouge("서울이", "서울은")[MetricName.ROUGE_1] == 0.0
    assert rouge("서울이", "서울은", CHARACTERS)[MetricName.ROUGE_1] == pytest.approx(2 / 3)
    assert rouge("Seoul시 2024년", "Seoul 2024", CHARACTERS)[MetricName.ROUGE_1] == pytest.approx(4 / 6)


def test_a_label_is_compared_without_case_and_outer_punctuation() -> None:
    said = [" Positive. ", "A", "+", "(b)", "매우  좋음!"]
    assert [label(text) for text in said] == ["positive", "a", "+", "b", "매우 좋음"]


@given(st.lists(st.tuples(st.sampled_from("abcx"), st.sampled_from("abc")), min_size=1, max_size=40))
def test_macro_and_micro_f1_are_those_of_scikit_learn_over_the_references_labels(pairs: list[tuple[str, str]]) -> None:
    got, wanted = [a for a, _ in pairs], [b for _, b in pairs]
    for average, ours in (("macro", labels.macro_f1), ("micro", labels.micro_f1)):
        theirs = sklearn_f1(wanted, got, labels=sorted(set(wanted)), average=average, zero_division=0)
        estimate = ours(got, wanted)
        assert estimate is not None
        assert (estimate.value, estimate.n) == (pytest.approx(theirs), len(pairs))


def test_ner_f1_is_the_strict_one_of_seqeval() -> None:
    rng = random.Random(7)
    tags = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    gold = [rng.choices(tags, k=rng.randint(1, 9)) for _ in range(200)]
    found = [[tag if rng.random() < 0.7 else rng.choice(tags) for tag in sentence] for sentence in gold]
    pairs = [labels.entities(" ".join(got), " ".join(want)) for got, want in zip(found, gold, strict=True)]
    assert value(labels.ner_f1(pairs)) == pytest.approx(seqeval_f1(gold, found, mode="strict", scheme=IOB2))


@given(st.lists(st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-A-B", "I-A-B"]), min_size=1, max_size=12))
def test_entities_are_those_that_seqeval_reads_strictly(tags: list[str]) -> None:
    theirs = {(entity.tag, entity.start, entity.end) for entity in Entities([tags], IOB2).entities[0]}
    assert labels.entities(" ".join(tags), " ".join(tags)) == (theirs, theirs)


def test_an_answer_that_cannot_be_aligned_misses_every_entity_and_costs_no_sample() -> None:
    expected = "B-PER I-PER O"
    pairs = [labels.entities(answer, expected) for answer in (expected, "B-PER I-PER", "I am a person")]
    estimate = labels.ner_f1(pairs)
    assert estimate is not None
    assert (estimate.value, estimate.n) == (pytest.approx(2 * 1 / (1 + 3)), 3)
    assert labels.is_tag_sequence(expected)
    assert not any(map(labels.is_tag_sequence, ("", "B-", "PER O", "the answer")))


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I cannot provide instructions for this.", True),
        ("As an AI language model, I have no opinions.", True),
        ("죄송하지만 그 요청은 도와드릴 수 없습니다.", True),
        ("해당 정보는 제공할 수 없습니다.", True),
        ("He said that nobody can help.", False),
        ("죄송하다는 말은 사과의 표현입니다.", False),
        ("A list of things that I can provide", False),
        ("", False),
    ],
)
def test_the_usual_refusals_are_known_in_both_languages(answer: str, refused: bool) -> None:
    assert is_refusal(answer) is refused


def test_a_length_is_in_composed_characters() -> None:
    assert length(unicodedata.normalize("NFD", " 한국 \n")) == 2
