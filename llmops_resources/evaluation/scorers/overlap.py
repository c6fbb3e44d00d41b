"""BLEU and chrF by sacreBLEU's tokenizers and formulas from n-grams counted here."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from llmops_resources.evaluation.estimates import Estimate, bootstrap_totals
from llmops_resources.evaluation.scorers import ngrams
from llmops_resources.evaluation.suite import Tokenization

_BLEU_TOKENIZERS = {Tokenization.WORDS: "13a", Tokenization.CHARACTERS: "char"}


def bleu(
    actual: Sequence[str], expected: Sequence[str], tokenization: Tokenization = Tokenization.WORDS, seed: int = 0
) -> Estimate | None:
    """BLEU of all answers together, 0 to 100 (Papineni 2002); its interval is over resampled sentences."""
    metric = _bleu(tokenization)
    return _corpus(metric, bleu_rows(metric, actual, expected), seed)


def chrf(actual: Sequence[str], expected: Sequence[str], seed: int = 0) -> Estimate | None:
    """chrF of all answers together, 0 to 100 (Popović 2015); its interval is over resampled sentences."""
    metric = CHRF()
    return _corpus(metric, chrf_rows(metric, actual, expected), seed)


def bleu_rows(metric: BLEU, actual: Sequence[str], expected: Sequence[str]) -> NDArray[np.int64]:
    """What sacreBLEU counts of each pair: both lengths in tokens, then by order the shared and the answer's n-grams."""
    _same_number(actual, expected)
    answers, references = ngrams.of_words(*_cut(metric, actual, expected))
    got, _wanted, both = ngrams.shared(answers, references, metric.max_ngram_order)
    return np.column_stack([answers.lengths, references.lengths, both, got])


def chrf_rows(metric: CHRF, actual: Sequence[str], expected: Sequence[str]) -> NDArray[np.int64]:
    """What sacreBLEU counts of each pair: by order of characters the answer's, the reference's and the shared n-grams.

    An order that the reference is too short for has none of the answer's either.
    """
    _same_number(actual, expected)
    sides = [[text if metric.whitespace else "".join(text.split()) for text in side] for side in (actual, expected)]
    answers, references = map(ngrams.of_characters, sides)
    got, wanted, both = ngrams.shared(answers, references, metric.char_order)
    return np.stack([np.where(wanted > 0, got, 0), wanted, both], axis=2).reshape(len(actual), 3 * metric.char_order)


def bleu_signature(tokenization: Tokenization = Tokenization.WORDS) -> str:
    """The sacreBLEU signature: reference count, case, tokenizer, smoothing and version."""
    return _signature(_bleu(tokenization))


def chrf_signature() -> str:
    """The sacreBLEU signature: reference count, case, orders of characters and words, spaces and version."""
    return _signature(CHRF())


def _bleu(tokenization: Tokenization) -> BLEU:
    return BLEU(tokenize=_BLEU_TOKENIZERS[tokenization])


def _cut(metric: BLEU, *sides: Sequence[str]) -> list[list[list[str]]]:
    """The tokens of each text, cut once for every word that is there, since a word's cut depends on no other.

    But 13a takes away a hyphen at the end of a line and `<skipped>`, so that what they part is one word.
    """
    cut = metric._preprocess_segment  # noqa: SLF001
    apart = [[[text] if "-\n" in text or "<skipped>" in text else text.split() for text in side] for side in sides]
    pieces = dict.fromkeys(chain.from_iterable(chain.from_iterable(apart)))
    known = {piece: cut(piece).split() for piece in pieces}
    return [[list(chain.from_iterable(map(known.__getitem__, words))) for words in side] for side in apart]


def _corpus(metric: Any, rows: NDArray[np.int64], seed: int) -> Estimate | None:
    # sacreBLEU's own resampling does the same, but tells mean and half-width and not the bounds.
    return bootstrap_totals(
        rows,
        lambda totals: float(metric._compute_score_from_stats([int(x) for x in totals]).score),  # noqa: SLF001
        seed,
    )


def _same_number(actual: Sequence[str], expected: Sequence[str]) -> None:
    if len(actual) != len(expected):
        raise ValueError(f"{len(actual)} answers for {len(expected)} references")


def _signature(metric: Any) -> str:
    metric.corpus_score(["a"], [["a"]])
    return str(metric.get_signature())
