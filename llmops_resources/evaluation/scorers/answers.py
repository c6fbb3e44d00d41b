"""Scores of one answer alone: exact match and F1 as in SQuAD or KorQuAD, label equality, length, refusal."""

import re
import string
import unicodedata
from collections import Counter

import regex

from llmops_resources.evaluation.suite import Tokenization

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
# Brackets and quotes that KorQuAD's evaluation turns into spaces, so that what they set apart stays apart.
_KOREAN_BRACKETS = str.maketrans(dict.fromkeys("'\"《》<>〈〉()‘’", " "))
REFUSALS_VERSION = "1"
_REFUSALS = regex.compile(
    r"""\bI(?:\ am|['’]m)\ (?:sorry|afraid),?\ (?:but\ )?I\b
    | \bI\ (?:cannot|can['’]t|can\ not|won['’]t|will\ not)\ (?:help|assist|answer|provide|comply|do\ that|fulfil)
    | \bI(?:\ am|['’]m)\ (?:unable|not\ able)\ to\ (?:help|assist|answer|provide|comply|fulfil)
    | \bas\ an\ AI\b
    | (?:도와|답변|답|제공|알려|말씀)(?:드릴|해\s?드릴|할|\s드릴)\s?수\s?(?:가\s)?없
    | (?:도움을\s드릴|요청을\s들어\s?드릴|답변을\s드릴|정보를\s제공할)\s?수\s?없""",
    regex.IGNORECASE | regex.VERBOSE,
)
_OPENING = 300  # characters: a refusal is said at the start; further on the words belong to an answer


def normalize(text: str, tokenization: Tokenization = Tokenization.WORDS) -> str:
    """Lower case, no punctuation, single spaces.

    `words` also drops the articles, as `normalize_answer` of SQuAD v1.1 (Rajpurkar 2016). `characters` keeps them and
    parts at Korean brackets, as KorQuAD v1.0 (Lim 2019), with Hangul composed first (NFC).
    """
    if tokenization is Tokenization.WORDS:
        return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())
    composed = unicodedata.normalize("NFC", text)
    return " ".join(composed.translate(_KOREAN_BRACKETS).lower().translate(_PUNCTUATION).split())


def exact_match(actual: str, expected: str, tokenization: Tokenization = Tokenization.WORDS) -> float:
    """1.0 when both are equal after `normalize`, else 0.0."""
    return float(normalize(actual, tokenization) == normalize(expected, tokenization))


def f1(actual: str, expected: str, tokenization: Tokenization = Tokenization.WORDS) -> float:
    """The harmonic mean of precision and recall over the tokens after `normalize`, counting repeats; 0 to 1.

    Where one side is empty it is 1.0 when both are, else 0.0 (as in SQuAD v2.0).
    """
    got, wanted = _tokens(actual, tokenization), _tokens(expected, tokenization)
    if not got or not wanted:
        return float(got == wanted)
    common = sum((Counter(got) & Counter(wanted)).values())
    return 2 * common / (len(got) + len(wanted))


def label(text: str) -> str:
    """The label that an answer names: NFC, case folded, single spaces, without punctuation around it.

    Punctuation that is all there is stays: `+` and `-` are labels. So does an article: `A` is a choice.
    """
    folded = " ".join(unicodedata.normalize("NFC", text).casefold().split())
    return folded.strip(string.punctuation + string.whitespace) or folded


def length(text: str) -> int:
    """The length of an answer in characters (NFC), without the white space around it."""
    return len(unicodedata.normalize("NFC", text).strip())


def is_refusal(text: str) -> bool:
    """Whether an answer opens with one of the usual English or Korean refusals.

    A heuristic over fixed phrases, which `REFUSALS_VERSION` names: it misses refusals in other words.
    """
    return _REFUSALS.search(unicodedata.normalize("NFC", text)[:_OPENING]) is not None


def _tokens(text: str, tokenization: Tokenization) -> list[str]:
    words = normalize(text, tokenization).split()
    return words if tokenization is Tokenization.WORDS else list("".join(words))
