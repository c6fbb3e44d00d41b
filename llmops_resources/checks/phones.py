"""Phone numbers: those of libphonenumber, any country with a plus sign, the given regions without; and those that the
words beside them call so.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import Any

import phonenumbers

from llmops_resources.checks.checksums import dialled
from llmops_resources.checks.hits import Span, without_contained
from llmops_resources.checks.numbering import digits_of, plan_of, runs
from llmops_resources.checks.presidio import LocalRecognizer, RecognizerResult
from llmops_resources.checks.rules import CheckedPatterns, Contextual, Shape

#: Where a window of enough digits can be, for Rust.
_WINDOW = r"(?:\A|[^A-Za-z0-9_.+-])[+(]{0,2}[0-9](?:[() ./-]*[0-9]){7}"
_CANDIDATE = re.compile(r"(?<![A-Za-z0-9_.+-])[+(]{0,2}[0-9][0-9() ./-]{6,22}[0-9](?![A-Za-z0-9_]|[.-][0-9])")
_FEWEST_DIGITS, _MOST_DIGITS = 8, 20
_REMEMBERED = 8_192  # windows of a scan
_KOREAN_MOBILE = re.compile(r"01[016789][0-9]{7,8}")
_NEAR = r"phone|\btel|mobile|\bcell|\bcall|\breach|\bfax|contact|전화|연락처|휴대폰|핸드폰|번호는|문의"
_GROUPED, _BARE, _ABROAD = 0.6, 0.1, 0.75


# A number that someone is told to call, whatever plan it belongs to: the words stand right before it or right after it.
_DIALLED = r"(?:\+|\b00)?\(?[0-9]{1,15}+(?:[ ()./-]{1,3}[0-9]{1,10}+){0,6}(?: ?(?:x|ext\.?) ?[0-9]{1,6})?"
_WHOM = "(?: me| us| him| her| them| back)?"
_TOLD_BEFORE = (
    r"(?:\b(?:(?:[Pp]hone|[Mm]obile|[Tt]el|[Tt]elephone|[Cc]ell|[Ff]ax|[Dd]esk|[Hh]otline|[Ww]hats[Aa]pp|PHONE|TEL|FAX"
    rf"|MOBILE)(?: number)?(?: is)?|[Cc]ontact number(?: is)?|(?:[Cc]all|[Rr]each){_WHOM}(?: on| at)|[Tt]ext{_WHOM} at"
    r"|[Rr]ing|[Dd]ial(?:led)?|answering at|[Yy]ou can call|[Mm]essages to)"
    r"|전화(?:번호)?|연락처|휴대(?:폰|전화)|핸드폰|팩스)(?: ?(?:은|는|:|#|no\.?))?[\s.:]{0,3}"
)
_TOLD_AFTER = r"(?: ?\(?(?:office|fax|mobile|cell|desk)\)?\b)"


def numbers_to_call() -> Iterator[CheckedPatterns]:
    """Digits that the words beside them call a phone number, of any country, valid or not (6 to 15 of them)."""
    start = r"(?=[+(0-9])(?<![0-9+(),/-])"
    for name, pattern in (
        ("numbers to call", rf"{start}(?<={_TOLD_BEFORE}){_DIALLED}(?![A-Za-z0-9_]|[.-][0-9])"),
        ("numbers of an office", rf"{start}(?<![A-Za-z_.]){_DIALLED}(?={_TOLD_AFTER})"),
    ):
        yield CheckedPatterns("PHONE_NUMBER", [(pattern, 0.5)], dialled, name=name, certain=False, trusted=True)


class PhoneNumbers(Contextual, LocalRecognizer):
    """A national number counts when its digits are grouped as its country groups them.

    An unbroken run of digits needs a context word, unless it is a Korean mobile number.
    """

    shapes = (Shape(_WINDOW, _ABROAD),)

    def __init__(self, regions: Sequence[str]) -> None:
        self._regions = tuple(regions)
        # The same order numbers, dates and call centres stand in many texts.
        self._likely = lru_cache(maxsize=_REMEMBERED)(_likely)
        self.near = re.compile(_NEAR, re.IGNORECASE)
        LocalRecognizer.__init__(self, supported_entities=["PHONE_NUMBER"], name="PhoneNumbers")

    def load(self) -> None:
        """Nothing to load: the metadata is in the package."""

    def analyze(self, text: str, entities: list[str], nlp_artifacts: Any) -> list[RecognizerResult]:  # noqa: ARG002
        """The valid numbers in `text`, by libphonenumber as it is."""
        found = {}
        for window, offset in _windows(text):
            for start, end in _searched(window, self._attempts(window), phonenumbers.PhoneNumberMatcher):
                found[offset + start, offset + end] = _score(window[start:end])
        return [self.result(start, end, score) for (start, end), score in found.items()]

    def find(self, text: str, *, named: bool, least: float) -> list[Span]:
        """The same, searched only where a number is possible."""
        found = []
        for window, offset in _windows(text):
            if window.isdigit():
                score = self.raised(_score(window), text, offset, offset + len(window), named=named)
                if score < least:
                    continue
            for start, end in self._likely(window, self._attempts(window)):
                found.append((offset + start, offset + end, _score(window[start:end])))
        return self._scored(text, without_contained(found), named=named, least=least) if found else found

    def _attempts(self, window: str) -> tuple[str | None, ...]:
        return (None,) if "+" in window else self._regions


class _Matcher(phonenumbers.PhoneNumberMatcher):
    """A matcher that does not parse what cannot be a number of its region."""

    def _parse_and_verify(self, candidate: str, offset: int) -> Any:
        plan = plan_of(self.preferred_region)
        if plan is not None and not plan.possible.fullmatch(digits_of(candidate)):
            return None
        return super()._parse_and_verify(candidate, offset)


def _windows(text: str) -> Iterator[tuple[str, int]]:
    for found in _CANDIDATE.finditer(text):
        window = found.group()
        if _FEWEST_DIGITS <= sum(map(str.isdigit, window)) <= _MOST_DIGITS:
            yield window, found.start()


def _searched(
    window: str, regions: Sequence[str | None], matcher: type[phonenumbers.PhoneNumberMatcher]
) -> Iterator[tuple[int, int]]:
    for region in regions:
        leniency = phonenumbers.Leniency.STRICT_GROUPING if region else phonenumbers.Leniency.VALID
        for match in matcher(window, region, leniency=leniency):
            yield match.start, match.end


def _likely(window: str, regions: tuple[str | None, ...]) -> tuple[tuple[int, int], ...]:
    """As `_searched`, as far as Presidio would keep it: only where a number is possible (see `numbering.py`).

    A window that is a number from end to end is not searched for another region: what that may find lies inside, is no
    surer and has no more context, so Presidio would drop it.
    """
    groups, anyones = runs(window), _possible_for_any(regions)
    if anyones is not None and not any(map(anyones.fullmatch, groups)):
        return ()
    plans = [(region, plan_of(region)) for region in regions]
    if any(plan is not None and plan.certain(window) for _, plan in plans):
        return ((0, len(window)),)
    found: list[tuple[int, int]] = []
    for region, plan in plans:
        if plan is None or any(map(plan.possible.fullmatch, groups)):
            found += _searched(window, (region,), _Matcher)
            if (0, len(window)) in found:
                break
    return tuple(found)


@cache
def _possible_for_any(regions: tuple[str | None, ...]) -> "re.Pattern[str] | None":
    plans = [plan_of(region) for region in regions]
    return None if None in plans else re.compile("|".join(plan.possible.pattern for plan in plans if plan))


def _score(number: str) -> float:
    if not number.isdigit():
        return _ABROAD if number.startswith("+") else _GROUPED
    return _GROUPED if _KOREAN_MOBILE.fullmatch(number) else _BARE
