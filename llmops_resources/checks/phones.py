"""Phone numbers by libphonenumber: any country with a plus sign, the given regions without."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import phonenumbers
import regex
from presidio_analyzer import LocalRecognizer, RecognizerResult

from llmops_resources.checks.rules import Contextual

PHONE_PREFILTER = r"[0-9][0-9() ./-]{5,22}[0-9]"
_CANDIDATE = re.compile(r"(?<![A-Za-z0-9_.+-])[+(]{0,2}[0-9][0-9() ./-]{6,22}[0-9](?![A-Za-z0-9_]|[.-][0-9])")
_KOREAN_MOBILE = re.compile(r"01[016789][0-9]{7,8}")
_NEAR = r"phone|\btel|mobile|\bcell|\bcall|\breach|\bfax|contact|전화|연락처|휴대폰|핸드폰|번호는|문의"
_GROUPED, _BARE = 0.6, 0.1


class PhoneNumbers(Contextual, LocalRecognizer):
    """A national number counts when its digits are grouped as its country groups them.

    An unbroken run of digits needs a context word, unless it is a Korean mobile number.
    """

    def __init__(self, regions: Sequence[str]) -> None:
        self._regions = tuple(regions)
        self._seen: dict[str, list[tuple[int, int]]] = {}
        self.near = regex.compile(_NEAR, regex.IGNORECASE)
        LocalRecognizer.__init__(self, supported_entities=["PHONE_NUMBER"], name="PhoneNumbers")

    def load(self) -> None:
        """Nothing to load: the metadata is in the package."""

    def analyze(self, text: str, entities: list[str], nlp_artifacts: Any) -> list[RecognizerResult]:  # noqa: ARG002
        """The valid numbers in `text`."""
        found = {}
        for window in _CANDIDATE.finditer(text):
            candidate, offset = window.group(), window.start()
            if 8 <= sum(map(str.isdigit, candidate)) <= 20:
                for start, end in self._numbers(candidate):
                    found[offset + start, offset + end] = _score(candidate[start:end])
        return [self.result(start, end, score) for (start, end), score in found.items()]

    def _numbers(self, candidate: str) -> Iterator[tuple[int, int]]:
        grouped = phonenumbers.Leniency.STRICT_GROUPING
        attempts = [(None, phonenumbers.Leniency.VALID)] if "+" in candidate else [(r, grouped) for r in self._regions]
        for region, leniency in attempts:
            for match in phonenumbers.PhoneNumberMatcher(candidate, region, leniency=leniency):
                yield match.start, match.end


def _score(number: str) -> float:
    if not number.isdigit():
        return 0.75 if number.startswith("+") else _GROUPED
    return _GROUPED if _KOREAN_MOBILE.fullmatch(number) else _BARE
