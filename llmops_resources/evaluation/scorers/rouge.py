"""ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004) as rouge-score computes them, with a tokenizer that keeps every script."""

import unicodedata
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import pairwise

import regex

from llmops_resources.evaluation.suite import MetricName, Tokenization

TYPES = (MetricName.ROUGE_1, MetricName.ROUGE_2, MetricName.ROUGE_L)
_WORDS = regex.compile(r"[\p{L}\p{M}\p{N}]+")
_UNITS = regex.compile(
    r"[\p{Hangul}\p{Han}\p{Hiragana}\p{Katakana}]|(?:(?![\p{Hangul}\p{Han}\p{Hiragana}\p{Katakana}])[\p{L}\p{M}\p{N}])+"
)


def tokens(text: str, tokenization: Tokenization) -> list[str]:
    """Words of letters, marks and digits of any script, in lower case.

    On ASCII text it is rouge-score's default without stemming, which drops every other letter: to it Korean text is
    empty. With `characters`, each Hangul syllable, ideograph and kana is a token, and other words stay whole.
    """
    pattern = _WORDS if tokenization is Tokenization.WORDS else _UNITS
    found: list[str] = pattern.findall(unicodedata.normalize("NFC", text).lower())
    return found


def rouge(actual: str, expected: str, tokenization: Tokenization = Tokenization.WORDS) -> dict[MetricName, float]:
    """The F-measures of ROUGE-1, ROUGE-2 and ROUGE-L of one answer, each 0 to 1, without stemming."""
    got, wanted = tokens(actual, tokenization), tokens(expected, tokenization)
    pairs, wanted_pairs = list(pairwise(got)), list(pairwise(wanted))
    return {
        MetricName.ROUGE_1: _fmeasure(_shared(got, wanted), len(got), len(wanted)),
        MetricName.ROUGE_2: _fmeasure(_shared(pairs, wanted_pairs), len(pairs), len(wanted_pairs)),
        MetricName.ROUGE_L: _fmeasure(longest_common(got, wanted), len(got), len(wanted)),
    }


def longest_common(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """The length of the longest common subsequence, a row of its table being the bits of one number (Hyyrö 2004)."""
    where: dict[Hashable, int] = {}
    for at, token in enumerate(one):
        where[token] = where.get(token, 0) | 1 << at
    whole = row = (1 << len(one)) - 1
    for token in other:
        met = row & where.get(token, 0)
        row = (row + met | row - met) & whole
    return len(one) - row.bit_count()


def _shared(got: Sequence[Hashable], wanted: Sequence[Hashable]) -> int:
    left, shared = Counter(wanted), 0
    for each in got:
        if left.get(each, 0):
            left[each] -= 1
            shared += 1
    return shared


def _fmeasure(shared: int, got: int, wanted: int) -> float:
    precision, recall = shared / max(got, 1), shared / max(wanted, 1)
    return 2 * precision * recall / (precision + recall) if shared else 0.0
