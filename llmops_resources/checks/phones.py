"""Phone numbers by libphonenumber: any country with a plus sign, the given regions without.

What a region's numbers can look like is known before libphonenumber parses anything. It looks for numbers in a window
of the text that holds ASCII digits, plus signs and `() ./-` only, so

- each string that it tries is a run of whole groups of digits with what stands between them: it cuts windows at `(`,
  `.`, `/` or a blank, or where five marks follow each other, never at a mere hyphen and never within digits (and no
  extension is there, that needs a letter, `#`, `,` or `;`);
- parsing such a string keeps its digits and takes off a beginning: an international prefix with a country code, or the
  region's own country code, a national prefix, and (having taken the code) a national prefix once more;
- the rest is valid only if it matches a number type of a region that has the country code;
- if nothing was taken off, it is refused when its format asks for the national prefix.

So a string whose digits are neither `IDD [1-9]…`, nor `(country code)? (national prefix){0,2} (number of any type)`
with something before the number, nor a number whose format does without, is none of the region's, and a window without
a run of groups like that is not worth the search. A region whose national prefix is rewritten while parsing
(`national_prefix_transform_rule`) is always searched. A window that is a number from end to end is not searched for
another region: what that may find lies inside, is no surer and has no more context, so Presidio would drop it.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import phonenumbers
import regex
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE
from phonenumbers.phonemetadata import PhoneMetadata, PhoneNumberDesc
from presidio_analyzer import LocalRecognizer, RecognizerResult

from llmops_resources.checks.hits import Span, without_contained
from llmops_resources.checks.rules import Contextual, Shape

#: Where a window of enough digits can be, for Rust.
_WINDOW = r"(?:\A|[^A-Za-z0-9_.+-])[+(]{0,2}[0-9](?:[() ./-]*[0-9]){7}"
_CANDIDATE = re.compile(r"(?<![A-Za-z0-9_.+-])[+(]{0,2}[0-9][0-9() ./-]{6,22}[0-9](?![A-Za-z0-9_]|[.-][0-9])")
_FEWEST_DIGITS, _MOST_DIGITS = 8, 20
_SHORTEST_NUMBER = 4  # a region with shorter ones, if there is any, is always searched
_CUT = re.compile(r"[)-]*[(./ ][() ./-]*|[)-]{5,}")
_NOT_DIGITS = re.compile("[^0-9]+")
_KOREAN_MOBILE = re.compile(r"01[016789][0-9]{7,8}")
_NEAR = r"phone|\btel|mobile|\bcell|\bcall|\breach|\bfax|contact|전화|연락처|휴대폰|핸드폰|번호는|문의"
_GROUPED, _BARE, _ABROAD = 0.6, 0.1, 0.75


class PhoneNumbers(Contextual, LocalRecognizer):
    """A national number counts when its digits are grouped as its country groups them.

    An unbroken run of digits needs a context word, unless it is a Korean mobile number.
    """

    shapes = (Shape(_WINDOW, _ABROAD),)

    def __init__(self, regions: Sequence[str]) -> None:
        self._regions = tuple(regions)
        self.near = regex.compile(_NEAR, regex.IGNORECASE)
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
            for start, end in _likely(window, self._attempts(window)):
                found.append((offset + start, offset + end, _score(window[start:end])))
        return self._scored(text, without_contained(found), named=named, least=least) if found else found

    def _attempts(self, window: str) -> tuple[str | None, ...]:
        return (None,) if "+" in window else self._regions


class _Matcher(phonenumbers.PhoneNumberMatcher):
    """A matcher that does not parse what cannot be a number of its region."""

    def _parse_and_verify(self, candidate: str, offset: int) -> Any:
        pattern = _numbers_of(self.preferred_region)
        if pattern is not None and not pattern.fullmatch(_NOT_DIGITS.sub("", candidate)):
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


def _likely(window: str, regions: tuple[str | None, ...]) -> Iterator[tuple[int, int]]:
    """As `_searched`, in regions that a run of groups can belong to, until the whole window is found to be a number."""
    runs, anyones = _runs(window), _numbers_of_any(regions)
    if anyones is not None and not any(map(anyones.fullmatch, runs)):
        return
    for region in regions:
        pattern = _numbers_of(region)
        if pattern is None or any(map(pattern.fullmatch, runs)):
            for start, end in _searched(window, (region,), _Matcher):
                yield start, end
                if end - start == len(window):
                    return


def _runs(window: str) -> list[str]:
    """The digits of each run of groups, that of all groups first."""
    groups = [_NOT_DIGITS.sub("", group) for group in _CUT.split(window)]
    count = len(groups)
    return [
        run
        for size in range(count, 0, -1)
        for start in range(count - size + 1)
        if len(run := "".join(groups[start : start + size])) >= _SHORTEST_NUMBER
    ]


@cache
def _numbers_of_any(regions: tuple[str | None, ...]) -> "re.Pattern[str] | None":
    patterns = [_numbers_of(region) for region in regions]
    return None if None in patterns else re.compile("|".join(pattern.pattern for pattern in patterns if pattern))


@cache
def _numbers_of(region: str | None) -> "re.Pattern[str] | None":
    """The digits of everything that may be parsed to a valid number for someone in `region`; None: anything may."""
    own: Any = region and PhoneMetadata.metadata_for_region(region, None)
    if not own:
        return None
    code = own.country_code
    sharing: list[Any] = [PhoneMetadata.metadata_for_region(r, None) for r in COUNTRY_CODE_TO_REGION_CODE[code]]
    main, prefixes = sharing[0], set[str]()
    for metadata in (own, main):  # once the code is taken off, the main region of the code decides
        prefix = metadata.national_prefix_for_parsing
        if metadata.national_prefix_transform_rule or (prefix and re.search(r"[$^]|\\[^d]", prefix)):
            return None
        prefixes |= {prefix} if prefix else set()
    kinds = [kind for metadata in sharing if metadata is not None for kind in _kinds(metadata)]
    lengths = {length for kind in kinds for length in kind.possible_length}
    if not all(kind.possible_length for kind in kinds) or min(lengths) < _SHORTEST_NUMBER:
        return None
    number = _either(sorted({kind.national_number_pattern for kind in kinds}))
    prefix, free, bound = _either(sorted(prefixes)), _formats(main, bound=False), _formats(main, bound=True)
    forms = [
        rf"(?:{code})(?:{prefix}){{0,2}}{number}",
        rf"(?:{prefix}){{1,2}}{number}",
        rf"(?:(?={prefix})|(?={free}\Z)|(?!{bound}\Z)){number}",
    ]
    if own.international_prefix:
        forms.append(f"(?:{own.international_prefix})[1-9][0-9]*")
    return re.compile(_either(forms))


def _either(patterns: Sequence[str]) -> str:
    return f"(?:{'|'.join(patterns)})" if patterns else "(?!)"


def _kinds(metadata: Any) -> Iterator[Any]:
    for kind in vars(metadata).values():
        if isinstance(kind, PhoneNumberDesc) and kind is not metadata.general_desc and kind.national_number_pattern:
            yield kind


def _formats(metadata: Any, *, bound: bool) -> str:
    """What the formats match that ask for a national prefix (`bound`), or those that do not."""
    found = []
    for form in metadata.number_format:
        rule = form.national_prefix_formatting_rule
        asks = bool(rule) and not form.national_prefix_optional_when_formatting
        if (asks and not re.fullmatch(r"\(?\\1\)?", rule)) == bound:
            leading = f"(?={form.leading_digits_pattern[-1]})" if form.leading_digits_pattern else ""
            found.append(f"{leading}(?:{form.pattern})")
    return _either(found)


def _score(number: str) -> float:
    if not number.isdigit():
        return _ABROAD if number.startswith("+") else _GROUPED
    return _GROUPED if _KOREAN_MOBILE.fullmatch(number) else _BARE
