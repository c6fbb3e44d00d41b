"""What a rule is: a Presidio recognizer that finds one kind of personal data, and where it need not look.

The recognizers here are Presidio's own kind and give the same findings in its `AnalyzerEngine`, context included; with
a prefilter, a Rust regular expression that matches wherever the recognizer can, texts without a hit never reach them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import regex
from presidio_analyzer import EntityRecognizer, Pattern, PatternRecognizer, RecognizerResult
from presidio_analyzer.predefined_recognizers import IbanRecognizer

from llmops_resources.checks.checksums import Verdict

# What a context word near a match, or in the column's name, adds to its score (Presidio's own factor).
CONTEXT_BOOST = 0.35
_CONTEXT_BEFORE, _CONTEXT_AFTER = 50, 30
_NO_ARTIFACTS: Any = None  # Presidio asks for an NLP result that pattern recognizers do not use
_SECONDS = 2.0  # a search of one cell that takes longer is given up, and with it the rule


@dataclass(frozen=True)
class Rule:
    """One kind of personal data: where it can be (`prefilter`) and what decides. No `columns`: all of them."""

    entity: str
    prefilter: str
    recognizer: "Contextual"
    columns: frozenset[str] = frozenset()
    origin: str = "built in"

    def reads(self, column: str) -> bool:
        """Whether the rule is meant for this column."""
        return not self.columns or column.casefold() in self.columns

    def hits(self, text: str, context: Sequence[str]) -> list[RecognizerResult]:
        """What the rule finds, scores raised by context. Raises TimeoutError."""
        found = self.recognizer.analyze(text, [self.entity], _NO_ARTIFACTS)
        return self.recognizer.enhance_using_context(text, found, [], None, list(context)) if found else []


class Contextual(EntityRecognizer):
    """A recognizer whose matches score higher near a word of `near`, or when that is in the name of the column.

    Presidio's own enhancer compares lemmas, which needs the language model and knows no Korean particles; this one
    is a pattern over the characters around the match.
    """

    near: "regex.Pattern[str] | None" = None
    name: str

    def enhance_using_context(
        self,
        text: str,
        raw_recognizer_results: list[RecognizerResult],
        other_raw_recognizer_results: list[RecognizerResult],  # noqa: ARG002
        nlp_artifacts: Any,  # noqa: ARG002
        context: list[str] | None = None,
    ) -> list[RecognizerResult]:
        if self.near is not None:
            names = " ".join(context or ())
            for found in raw_recognizer_results:
                start, end = found.start, found.end
                around = f"{names} {text[max(0, start - _CONTEXT_BEFORE) : start]} {text[end : end + _CONTEXT_AFTER]}"
                if found.score < 1 and self.near.search(around):
                    found.score = min(1.0, found.score + CONTEXT_BOOST)
        return raw_recognizer_results

    def result(self, start: int, end: int, score: float) -> RecognizerResult:
        """A finding of this recognizer, told as Presidio wants it told."""
        metadata = {
            RecognizerResult.RECOGNIZER_NAME_KEY: self.name,
            RecognizerResult.RECOGNIZER_IDENTIFIER_KEY: self.id,
        }
        return RecognizerResult(self.supported_entities[0], start, end, score, recognition_metadata=metadata)


class CheckedPatterns(Contextual, PatternRecognizer):
    """Patterns with one verdict on the matched text: True is certain, False is none, None keeps the pattern's score."""

    def __init__(
        self,
        entity: str,
        patterns: Sequence[tuple[str, float]],
        check: Verdict | None = None,
        near: str | None = None,
        *,
        name: str | None = None,
        flags: int = 0,
    ) -> None:
        named = [Pattern(f"{entity} {i}", pattern, score) for i, (pattern, score) in enumerate(patterns)]
        self._compiled = [(regex.compile(pattern, flags), score) for pattern, score in patterns]
        self._check = check
        self.near = regex.compile(near, regex.IGNORECASE) if near else None
        PatternRecognizer.__init__(self, entity, patterns=named, name=name or entity, global_regex_flags=flags)

    def analyze(
        self,
        text: str,
        entities: list[str],  # noqa: ARG002
        nlp_artifacts: Any = None,  # noqa: ARG002
        regex_flags: int | None = None,  # noqa: ARG002
    ) -> list[RecognizerResult]:
        """Presidio's own loop passes over a search that takes too long; here it raises TimeoutError."""
        found = []
        for pattern, base in self._compiled:
            for match in pattern.finditer(text, timeout=_SECONDS):
                verdict = self._check(match.group()) if self._check is not None else None
                score = base if verdict is None else float(verdict)
                if score > 0 and match.end() > match.start():
                    found.append(self.result(match.start(), match.end(), score))
        return EntityRecognizer.remove_duplicates(found) if len(found) > 1 else found


class Ibans(Contextual, IbanRecognizer):
    """Presidio's account numbers (ISO 13616, mod 97), whose checksum is certain enough without lemmas around it."""

    def __init__(self) -> None:
        IbanRecognizer.__init__(self)
        self.context: Any = None
        self.near = regex.compile("iban|bank|transaction|계좌", regex.IGNORECASE)
