"""Recognizers that the operator describes in a TOML file (PII_RECOGNIZERS_FILE), judged before any is used.

    [[recognizer]]
    name = "employee number"
    type = "EMPLOYEE_ID"
    patterns = ['EMP-[0-9]{6}']
    score = 0.5                      # of a match by itself
    context = ["employee", "사번"]    # words nearby, or in the column's name, that raise the score
    validator = "luhn"               # or kr_rrn, kr_brn
    deny = ["Project Bluebird"]      # always a finding
    allow = ["EMP-000000"]           # never one
    columns = ["note"]               # nowhere else
"""

import re
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import regex
from pydantic import ValidationError

from llmops_resources.checks.checksums import Verdict, business_number, luhn, resident_number
from llmops_resources.checks.options import CustomRecognizer
from llmops_resources.checks.rules import CheckedPatterns, Rule
from llmops_resources.errors import InvalidInput

_MOST = 100
_PROBE_SECONDS = 0.25
_VALIDATORS: dict[str, Verdict] = {"luhn": luhn, "kr_rrn": resident_number, "kr_brn": business_number}
_HOSTILE = tuple(piece * 3_000 for piece in ("a", "1", "a1", " ", "a ", "ab.-_@", "가", "A1-"))


def read_recognizers(path: Path) -> tuple[CustomRecognizer, ...]:
    """The recognizers of a file. Raises InvalidInput with every mistake, and for patterns that could run forever."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _refused(f"PII_RECOGNIZERS_FILE cannot be read: {error}") from error
    entries = content.get("recognizer")
    if set(content) != {"recognizer"} or not isinstance(entries, list) or len(entries) > _MOST:
        raise _refused(f"PII_RECOGNIZERS_FILE holds [[recognizer]] tables, 1 to {_MOST} of them, and nothing else")
    problems: list[str] = []
    recognizers: list[CustomRecognizer] = []
    for number, entry in enumerate(entries, 1):
        try:
            recognizer = CustomRecognizer.model_validate(entry)
        except ValidationError as error:
            problems += [
                f"recognizer {number}, {'.'.join(map(str, e['loc'])) or 'table'}: {e['msg']}" for e in error.errors()
            ]
        else:
            recognizers.append(recognizer)
            problems += [f"recognizer {number}: {problem}" for problem in _problems(recognizer)]
    names = [recognizer.name for recognizer in recognizers]
    problems += [f"the name {name!r} is used twice" for name in sorted({n for n in names if names.count(n) > 1})]
    if problems:
        raise _refused("; ".join(problems))
    return tuple(recognizers)


def custom_rules(recognizers: Sequence[CustomRecognizer]) -> list[Rule]:
    """A rule for each."""
    return [_rule(recognizer) for recognizer in recognizers]


def _rule(recognizer: CustomRecognizer) -> Rule:
    allowed = frozenset(word.casefold() for word in recognizer.allow)
    check = _VALIDATORS[recognizer.validator] if recognizer.validator else None

    def verdict(text: str) -> bool | None:
        if text.casefold() in allowed:
            return False
        if text.casefold() in denied:
            return True
        return check(text) if check is not None else None

    denied = frozenset(word.casefold() for word in recognizer.deny)
    words = [r"(?<![A-Za-z0-9_])" + regex.escape(word) + r"(?![A-Za-z0-9_])" for word in recognizer.deny]
    patterns = [(f"(?i:{word})", 1.0) for word in words] + [(p, recognizer.score) for p in recognizer.patterns]
    near = "|".join(map(re.escape, recognizer.context)) or None
    return Rule(
        recognizer.type,
        CheckedPatterns(
            recognizer.type, patterns, verdict, near, name=recognizer.name, certain=bool(denied or check)
        ),
        frozenset(column.casefold() for column in recognizer.columns),
    )


def _problems(recognizer: CustomRecognizer) -> Iterator[str]:
    if not recognizer.patterns and not recognizer.deny:
        yield "it has neither patterns nor a deny list, so it would find nothing"
    for pattern in recognizer.patterns:
        try:
            compiled = regex.compile(pattern)
        except regex.error as error:
            yield f"the pattern {pattern!r} is not a regular expression: {error}"
            continue
        if compiled.search("") is not None:
            yield f"the pattern {pattern!r} matches nothing at all, so it would match everywhere"
        elif _runs_away(compiled, pattern):
            yield f"the pattern {pattern!r} takes too long on hostile text; bound its repeats and nest none of them"


def _runs_away(compiled: "regex.Pattern[str]", pattern: str) -> bool:
    """Whether a search on long texts of one kind, the pattern's own characters among them, does not end soon."""
    letters = [c for c in dict.fromkeys(pattern) if c.isalnum() or c in "-_.@ "][:12]
    began = time.monotonic()
    # A search may first look for a character that every match needs; all of them stand behind one that breaks the run.
    for text in (*_HOSTILE, *(letter * 3_000 for letter in letters)):
        for ending in ("", "!", "\x01" + "".join(dict.fromkeys(pattern))):
            try:
                for _ in compiled.finditer(text + ending, timeout=_PROBE_SECONDS):
                    pass
            except TimeoutError:
                return True
        if time.monotonic() - began > 8 * _PROBE_SECONDS:
            return True
    return False


def _refused(problem: str) -> InvalidInput:
    return InvalidInput(problem, remedy="Correct the file of PII_RECOGNIZERS_FILE; docs/ENV_SETUP.md shows one.")
