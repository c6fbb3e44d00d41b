"""What a rule is: a Presidio recognizer that finds one kind of personal data, and two ways to run it.

Presidio runs it text by text: `analyze`, then `enhance_using_context`, both as its own classes do it. Our scan runs
`find`, which gives the same findings for less work, on the texts that `shapes` leave over: a Rust regular expression
for each part of the recognizer that matches wherever the part can (`prefilters.py`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl
import regex

from llmops_resources.checks.checksums import Verdict
from llmops_resources.checks.hits import Span, without_contained
from llmops_resources.checks.prefilters import superset
from llmops_resources.checks.presidio import (
    EntityRecognizer,
    IbanRecognizer,
    Pattern,
    PatternRecognizer,
    RecognizerResult,
)

# What a context word near a match, or in the column's name, adds to its score (Presidio's own factor).
CONTEXT_BOOST = 0.35
_CONTEXT_BEFORE, _CONTEXT_AFTER = 50, 30
_NO_ARTIFACTS: Any = None  # Presidio asks for an NLP result that pattern recognizers do not use
_SECONDS = 2.0  # a search of one cell that takes longer is given up, and with it the rule
_SHORT = 4_000  # characters


class Shape(NamedTuple):
    """Part of a recognizer: where it can match (for Rust; None: anywhere), and its best score far from any context."""

    where: str | None
    best: float


class Contextual(EntityRecognizer):
    """A recognizer whose matches score higher near a word of `near`, or when that is in the name of the column.

    Presidio's own enhancer compares lemmas, which needs the language model and knows no Korean particles; this one
    is a pattern over the characters before the match, and those after it.
    """

    near: "re.Pattern[str] | None" = None
    name: str
    shapes: tuple[Shape, ...] = (Shape(None, 1.0),)

    def enhance_using_context(
        self,
        text: str,
        raw_recognizer_results: list[RecognizerResult],
        other_raw_recognizer_results: list[RecognizerResult],  # noqa: ARG002
        nlp_artifacts: Any,  # noqa: ARG002
        context: list[str] | None = None,
    ) -> list[RecognizerResult]:
        """Presidio's hook: raises scores where context is near."""
        named = self.named_in(context or ())
        for found in raw_recognizer_results:
            found.score = self.raised(found.score, text, found.start, found.end, named=named)
        return raw_recognizer_results

    def named_in(self, context: Sequence[str]) -> bool:
        """Whether a word of `near` stands in one of the names."""
        return self.near is not None and any(self.near.search(name) for name in context)

    def raised(self, score: float, text: str, start: int, end: int, *, named: bool) -> float:
        """The score with what context adds to it."""
        if self.near is None or score >= 1:
            return score
        if not (
            named
            or self.near.search(text, max(0, start - _CONTEXT_BEFORE), start)
            or self.near.search(text, end, end + _CONTEXT_AFTER)
        ):
            return score
        return min(1.0, score + CONTEXT_BOOST)

    def find(self, text: str, *, named: bool, least: float) -> list[Span]:
        """(start, end, score) of what `analyze` finds, raised by context, without what stays below `least`.

        `named`: the column's name holds a context word. Raises TimeoutError.
        """
        found = self.analyze(text, self.supported_entities, _NO_ARTIFACTS)
        return self._scored(text, [(hit.start, hit.end, hit.score) for hit in found], named=named, least=least)

    def _scored(self, text: str, found: Sequence[Span], *, named: bool, least: float) -> list[Span]:
        scored = [(start, end, self.raised(score, text, start, end, named=named)) for start, end, score in found]
        return [span for span in scored if span[2] >= least]

    def result(self, start: int, end: int, score: float) -> RecognizerResult:
        """A finding of this recognizer, told as Presidio wants it told."""
        metadata = {
            RecognizerResult.RECOGNIZER_NAME_KEY: self.name,
            RecognizerResult.RECOGNIZER_IDENTIFIER_KEY: self.id,
        }
        return RecognizerResult(self.supported_entities[0], start, end, score, recognition_metadata=metadata)


@dataclass(frozen=True)
class Rule:
    """One kind of personal data and what decides. No `columns`: all of them."""

    entity: str
    recognizer: Contextual
    columns: frozenset[str] = frozenset()

    def reads(self, column: str) -> bool:
        """Whether the rule is meant for this column."""
        return not self.columns or column.casefold() in self.columns

    def candidates(self, least: float, *, named: bool) -> pl.Expr | None:
        """Of a column `text`, whether a finding that scores `least` or more is possible. None: no text is ruled out.

        What cannot reach the score by itself can do so near a context word, so only in a text that holds one, if the
        column's name does not.
        """
        recognizer, text = self.recognizer, pl.col("text")
        boost = CONTEXT_BOOST if recognizer.near is not None else 0.0
        alone = [where for where, best in recognizer.shapes if best + boost * named >= least]
        helped = [where for where, best in recognizer.shapes if best < least <= best + boost and not named]
        context = superset([recognizer.near.pattern], re.IGNORECASE) if recognizer.near is not None else None
        if None in alone or (None in helped and context is None):
            return None
        certain = [text.str.contains("|".join(map(str, alone)))] if alone else []
        if not helped:
            return certain[0] if certain else pl.lit(value=False)
        possible = pl.lit(value=True) if None in helped else text.str.contains("|".join(map(str, helped)))
        return pl.any_horizontal(*certain, possible & text.str.contains(context) if context else possible)


class CheckedPatterns(Contextual, PatternRecognizer):
    """Patterns with one verdict on the matched text: True is certain, False is none, None keeps the pattern's score.

    `certain`: whether the verdict can be True. `trusted`: the patterns are ours and known not to run away, so that only
    searches of long texts are timed, which costs about as much as the search of a short one.
    """

    def __init__(
        self,
        entity: str,
        patterns: Sequence[tuple[str, float]],
        check: Verdict | None = None,
        near: str | None = None,
        *,
        name: str | None = None,
        certain: bool = True,
        trusted: bool = False,
    ) -> None:
        named = [Pattern(f"{entity} {i}", pattern, score) for i, (pattern, score) in enumerate(patterns)]
        self._compiled = [(regex.compile(pattern), score) for pattern, score in patterns]
        self._check, self._trusted = check, trusted
        self.near = re.compile(near, re.IGNORECASE) if near else None
        self.shapes = tuple(
            Shape(superset([pattern]), 1.0 if check is not None and certain else score) for pattern, score in patterns
        )
        PatternRecognizer.__init__(self, entity, patterns=named, name=name or entity, global_regex_flags=0)

    def validate_result(self, pattern_text: str) -> bool | None:
        """Presidio's hook for the verdict."""
        return self._check(pattern_text) if self._check is not None else None

    def find(self, text: str, *, named: bool, least: float) -> list[Span]:
        """Presidio's own loop passes over a search that takes too long; here it raises TimeoutError."""
        found = []
        limit: Any = {} if self._trusted and len(text) <= _SHORT else {"timeout": _SECONDS}
        for pattern, base in self._compiled:
            for match in pattern.finditer(text, **limit):
                start, end = match.span()
                verdict = self._check(match.group()) if self._check is not None else None
                score = base if verdict is None else float(verdict)
                if score > 0 and end > start:
                    found.append((start, end, score))
        return self._scored(text, without_contained(found), named=named, least=least)


class Ibans(Contextual, IbanRecognizer):
    """Presidio's account numbers (ISO 13616, mod 97), whose checksum is certain enough without lemmas around it.

    In small letters too, as Presidio's own registry runs it, though less sure.
    """

    def __init__(self) -> None:
        flags = re.IGNORECASE | re.DOTALL | re.MULTILINE
        IbanRecognizer.__init__(self, regex_flags=flags)
        self.context: Any = None
        self.near = re.compile("iban|bank|transaction|계좌", re.IGNORECASE)
        self.shapes = (Shape(superset([pattern.regex for pattern in IbanRecognizer.PATTERNS], flags), 1.0),)
