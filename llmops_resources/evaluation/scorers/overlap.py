"""BLEU and chrF by sacreBLEU, ROUGE by rouge-score."""

import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any

import regex
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from llmops_resources.evaluation.estimates import Estimate, bootstrap_totals
from llmops_resources.evaluation.suite import MetricName, Tokenization

ROUGE_TYPES = (MetricName.ROUGE_1, MetricName.ROUGE_2, MetricName.ROUGE_L)
_BLEU_TOKENIZERS = {Tokenization.WORDS: "13a", Tokenization.CHARACTERS: "char"}
_WORDS = regex.compile(r"[\p{L}\p{M}\p{N}]+")
_UNITS = regex.compile(
    r"[\p{Hangul}\p{Han}\p{Hiragana}\p{Katakana}]|(?:(?![\p{Hangul}\p{Han}\p{Hiragana}\p{Katakana}])[\p{L}\p{M}\p{N}])+"
)


class RougeTokenizer:
    """Words of letters, marks and digits of any script, in lower case.

    On ASCII text it is rouge-score's default without stemming, which drops every other letter: to it Korean text is
    empty. With `characters`, each Hangul syllable, ideograph and kana is a token, and other words stay whole.
    """

    def __init__(self, tokenization: Tokenization) -> None:
        self._pattern = _WORDS if tokenization is Tokenization.WORDS else _UNITS

    def tokenize(self, text: str) -> list[str]:
        return list(self._pattern.findall(unicodedata.normalize("NFC", text).lower()))


def bleu(
    actual: Sequence[str], expected: Sequence[str], tokenization: Tokenization = Tokenization.WORDS, seed: int = 0
) -> Estimate | None:
    """BLEU of all answers together, 0 to 100 (Papineni 2002); its interval is over resampled sentences."""
    return _corpus(_bleu(tokenization), actual, expected, seed)


def chrf(actual: Sequence[str], expected: Sequence[str], seed: int = 0) -> Estimate | None:
    """chrF of all answers together, 0 to 100 (Popović 2015); its interval is over resampled sentences."""
    return _corpus(CHRF(), actual, expected, seed)


def bleu_signature(tokenization: Tokenization = Tokenization.WORDS) -> str:
    """The sacreBLEU signature: reference count, case, tokenizer, smoothing and version."""
    return _signature(_bleu(tokenization))


def chrf_signature() -> str:
    """The sacreBLEU signature: reference count, case, orders of characters and words, spaces and version."""
    return _signature(CHRF())


def rouge(actual: str, expected: str, tokenization: Tokenization = Tokenization.WORDS) -> dict[MetricName, float]:
    """The F-measures of ROUGE-1, ROUGE-2 and ROUGE-L of one answer (Lin 2004), each 0 to 1, without stemming."""
    scores = _rouge(tokenization).score(expected, actual)
    return {kind: float(scores[kind.value].fmeasure) for kind in ROUGE_TYPES}


def _bleu(tokenization: Tokenization) -> BLEU:
    return BLEU(tokenize=_BLEU_TOKENIZERS[tokenization])


def _corpus(metric: Any, actual: Sequence[str], expected: Sequence[str], seed: int) -> Estimate | None:
    if len(actual) != len(expected):
        raise ValueError(f"{len(actual)} answers for {len(expected)} references")
    if not actual:
        return None
    # sacreBLEU's own resampling does the same, but tells mean and half-width and not the bounds.
    rows = metric._extract_corpus_statistics(list(actual), [list(expected)])  # noqa: SLF001
    return bootstrap_totals(
        rows,
        lambda totals: float(metric._compute_score_from_stats([int(x) for x in totals]).score),  # noqa: SLF001
        seed,
    )


def _signature(metric: Any) -> str:
    metric.corpus_score(["a"], [["a"]])
    return str(metric.get_signature())


@cache
def _rouge(tokenization: Tokenization) -> Any:
    # Imported when it is first asked for: it brings nltk, which takes half a second.
    from rouge_score.rouge_scorer import RougeScorer  # noqa: PLC0415

    return RougeScorer([kind.value for kind in ROUGE_TYPES], tokenizer=RougeTokenizer(tokenization))
