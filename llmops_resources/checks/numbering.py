"""What libphonenumber would answer about a window of text, told from its metadata before it parses anything.

A window holds ASCII digits and `() ./-` only, no plus sign. libphonenumber (9.0, leniency STRICT_GROUPING) looks for
numbers of a region in it, so

- each string that it tries is a run of whole groups of digits with what stands between them: it cuts windows at `(`,
  `.`, `/` or a blank, or where five marks follow each other, never at a mere hyphen and never within digits (and no
  extension is there, that needs a letter, `#`, `,` or `;`);
- parsing such a string keeps its digits and takes off a beginning: an international prefix with a country code, or the
  region's own country code, a national prefix, and (having taken the code) a national prefix once more;
- the rest is valid only if it matches a number type of a region that has the country code;
- if nothing was taken off, it is refused when its format asks for the national prefix.

`Plan.possible`: digits that are neither `IDD [1-9]…`, nor `(country code)? (national prefix){0,2} (number of any type)`
with something before the number, nor a number whose format does without, are none of the region's. A region whose
national prefix is rewritten while parsing (`national_prefix_transform_rule`) has no plan here and is always searched.

`Plan.certain`: the plainest numbers are accepted by the same steps, each with one outcome only: no international
prefix and no country code at the beginning, the national prefix followed by a number that the country knows (so that it
is taken off), a valid number of the first region of the code (which no leading digits assign elsewhere), groups that
stand in the window in order and unbroken. Whatever is less plain is left to libphonenumber.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE
from phonenumbers.phonemetadata import PhoneMetadata, PhoneNumberDesc

_SHORTEST_NUMBER = 4  # a region with shorter ones, if there is any, has no plan
_CUT = re.compile(r"[)-]*[(./ ][() ./-]*|[)-]{5,}")
_NOT_DIGITS = re.compile("[^0-9]+")
_PLAIN = re.compile(r"\(?[0-9]+(?:(?<=[0-9])[ .-][0-9]+)*|\([0-9]+\) ?[0-9]+(?:[ .-][0-9]+)*")
_IN_GROUPS = re.compile(r"\\1(?:[ .-]\\[2-9])*")
_FIRST_GROUP_ONLY = re.compile(r"\(?\\1\)?")
# What makes a number valid, each by itself (`_number_type_helper`).
_TYPES = frozenset({
    "fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip", "pager", "uan",
    "voicemail",
})  # fmt: skip


def digits_of(text: str) -> str:
    """The ASCII digits of `text`."""
    return _NOT_DIGITS.sub("", text)


def runs(window: str) -> list[str]:
    """The digits of each run of groups, that of all groups first; the shortest left out."""
    groups = [digits_of(group) for group in _CUT.split(window)]
    count = len(groups)
    return [
        run
        for size in range(count, 0, -1)
        for start in range(count - size + 1)
        if len(run := "".join(groups[start : start + size])) >= _SHORTEST_NUMBER
    ]


@dataclass(frozen=True)
class _Format:
    """How numbers are grouped: which ones, whether with the national prefix, and whether as the groups of `numbers`."""

    leading: "re.Pattern[str]"
    numbers: "re.Pattern[str]"
    asks_for_prefix: bool
    in_groups: bool

    def fits(self, number: str) -> bool:
        return bool(self.leading.match(number) and self.numbers.fullmatch(number))


@dataclass(frozen=True)
class Plan:
    """The numbering plan of a region, as libphonenumber knows it."""

    possible: "re.Pattern[str]"
    _abroad: "re.Pattern[str]"
    _code: str
    _prefix: "re.Pattern[str]"
    _general: Any
    _kinds: tuple[tuple["re.Pattern[str]", frozenset[int]], ...]
    _formats: tuple[_Format, ...]
    _groupings: tuple[_Format, ...]
    _has_prefix: bool
    _plain: bool  # whether `certain` may be asked at all

    def certain(self, window: str) -> bool:
        """Whether the window is surely accepted from end to end. False says nothing."""
        if not (self._plain and _PLAIN.fullmatch(window)):
            return False
        digits = digits_of(window)
        if self._abroad.match(digits) or digits.startswith(self._code):
            return False
        prefix = self._prefix.match(digits)
        number = digits[prefix.end() :] if prefix else digits
        if (prefix and any(prefix.groups())) or number.startswith("0") or not self._known(number):
            return False
        form = next((form for form in self._formats if form.fits(number)), None)
        if form is not None and form.asks_for_prefix and not prefix:
            return False
        grouping = next((form for form in self._groupings if form.fits(number)), None)
        return grouping is not None and grouping.in_groups and self._grouped(window, number, grouping)

    def _known(self, number: str) -> bool:
        general, length = self._general, len(number)
        return bool(
            length in general.possible_length
            and re.fullmatch(general.national_number_pattern, number)
            and any(length in lengths and pattern.fullmatch(number) for pattern, lengths in self._kinds)
        )

    def _grouped(self, window: str, number: str, form: _Format) -> bool:
        """Whether the groups follow each other in the window; one without any mark after the first has none at all."""
        at = 0
        found: Any = form.numbers.fullmatch(number)
        for index, group in enumerate(found.groups()):
            start = window.find(group, at)
            if start < 0:
                return False
            at = start + len(group)
            if index == 0 and self._has_prefix and window[at : at + 1].isdigit():
                return window.startswith(number, start)
        return True


@cache
def plan_of(region: str | None) -> Plan | None:
    """The plan; None for a region whose numbers it cannot tell, which has to be searched."""
    own: Any = region and PhoneMetadata.metadata_for_region(region, None)
    if not own:
        return None
    sharing: list[Any] = [
        PhoneMetadata.metadata_for_region(other, None) for other in COUNTRY_CODE_TO_REGION_CODE[own.country_code]
    ]
    main = sharing[0]
    prefixes = {metadata.national_prefix_for_parsing for metadata in (own, main)} - {None, ""}
    kinds = [kind for metadata in sharing if metadata is not None for kind in _kinds(metadata)]
    if (
        own.national_prefix_transform_rule
        or main.national_prefix_transform_rule
        or any(re.search(r"[$^]|\\[^d]", prefix) for prefix in prefixes)
        or any(not kind.possible_length or min(kind.possible_length) < _SHORTEST_NUMBER for kind in kinds)
    ):
        return None
    formats = tuple(map(_format, main.number_format))
    return Plan(
        possible=_possible(own, sorted(prefixes), kinds, formats),
        _abroad=re.compile(own.international_prefix or "(?!)"),
        _code=str(own.country_code),
        _prefix=re.compile(own.national_prefix_for_parsing or "(?!)"),
        _general=main.general_desc,
        _kinds=tuple((re.compile(k.national_number_pattern), frozenset(k.possible_length)) for k in _kinds(main)),
        _formats=formats,
        _groupings=tuple(map(_format, main.intl_number_format)) or formats,
        _has_prefix=bool(main.national_prefix),
        _plain=own is main and not main.leading_digits,
    )


def _possible(own: Any, prefixes: list[str], kinds: list[Any], formats: Sequence[_Format]) -> "re.Pattern[str]":
    """The digits of everything that may be parsed to a valid number for someone in the region `own`."""
    number = _either(sorted({kind.national_number_pattern for kind in kinds}))
    prefix = _either(prefixes)
    free = _either([_written(form) for form in formats if not form.asks_for_prefix])
    bound = _either([_written(form) for form in formats if form.asks_for_prefix])
    forms = [
        rf"{own.country_code}(?:{prefix}){{0,2}}{number}",
        rf"(?:{prefix}){{1,2}}{number}",
        rf"(?:(?={prefix})|(?={free}\Z)|(?!{bound}\Z)){number}",
    ]
    if own.international_prefix:
        forms.append(f"(?:{own.international_prefix})[1-9][0-9]*")
    return re.compile(_either(forms))


def _either(patterns: Sequence[str]) -> str:
    return f"(?:{'|'.join(patterns)})" if patterns else "(?!)"


def _written(form: _Format) -> str:
    return f"(?={form.leading.pattern})(?:{form.numbers.pattern})"


def _kinds(metadata: Any) -> Iterator[Any]:
    """Each type of number: what it looks like."""
    for name, kind in vars(metadata).items():
        if isinstance(kind, PhoneNumberDesc) and name in _TYPES and kind.national_number_pattern:
            yield kind


def _format(form: Any) -> _Format:
    rule = form.national_prefix_formatting_rule
    return _Format(
        leading=re.compile(form.leading_digits_pattern[-1] if form.leading_digits_pattern else ""),
        numbers=re.compile(form.pattern),
        asks_for_prefix=bool(
            rule and not form.national_prefix_optional_when_formatting and not _FIRST_GROUP_ONLY.fullmatch(rule)
        ),
        in_groups=bool(_IN_GROUPS.fullmatch(form.format)),
    )
