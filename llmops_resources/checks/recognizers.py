"""The rules that find personal data by pattern and checksum: Presidio recognizers with ASCII boundaries.

Unicode word boundaries do not end at Korean particles ("kim@example.com입니다"), so every pattern here looks at ASCII
letters and digits only. Each rule carries a prefilter, a Rust regular expression that matches wherever the rule can:
texts without a hit never reach Presidio. All quantifiers are bounded or cannot backtrack into each other.

Checksums: Luhn (ISO/IEC 7812-1), IBAN mod 97 (ISO 13616), the Korean resident number (weights 2…9,2…5 mod 11; numbers
given since October 2020 have none) and business number (weights 1,3,7,1,3,7,1,3,5 mod 10).
Not covered: personal data in base64, or split over several cells.
"""

import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import phonenumbers
import tldextract
from presidio_analyzer import EntityRecognizer, LocalRecognizer, Pattern, PatternRecognizer, RecognizerResult
from presidio_analyzer.predefined_recognizers import IbanRecognizer

_NOT_DIGIT_BEFORE, _NOT_DIGIT_AFTER = r"(?<![0-9])", r"(?![0-9])"
_ALONE_BEFORE, _ALONE_AFTER = r"(?<![A-Za-z0-9_.-])", r"(?![A-Za-z0-9_]|[.-][0-9])"
# What a context word near a match, or in the column's name, adds to its score (Presidio's own factor).
CONTEXT_BOOST = 0.35
_CONTEXT_BEFORE, _CONTEXT_AFTER = 50, 30

Verdict = Callable[[str], bool | None]


@dataclass(frozen=True)
class Rule:
    """One kind of personal data: where it can be (`prefilter`), what decides (`recognizer`), what makes it likelier."""

    entity: str
    prefilter: str
    recognizer: EntityRecognizer
    context: re.Pattern[str] | None = None

    def score(self, base: float, text: str, start: int, end: int, column: str) -> float:
        """`base`, raised when a context word stands near the match or in the column's name."""
        if self.context is None or base >= 1:
            return base
        near = f"{column} {text[max(0, start - _CONTEXT_BEFORE) : start]} {text[end : end + _CONTEXT_AFTER]}"
        return min(1.0, base + CONTEXT_BOOST) if self.context.search(near) else base


class CheckedPatterns(PatternRecognizer):
    """Patterns with one verdict on the matched text: True is certain, False is none, None keeps the pattern's score."""

    def __init__(
        self, entity: str, patterns: Sequence[tuple[str, float]], check: Verdict | None = None, flags: int = 0
    ) -> None:
        named = [Pattern(f"{entity} {i}", pattern, score) for i, (pattern, score) in enumerate(patterns)]
        self._check = check
        # Zero would mean "Presidio's defaults"; MULTILINE changes nothing in patterns without anchors.
        super().__init__(entity, patterns=named, global_regex_flags=flags | re.MULTILINE)

    def validate_result(self, pattern_text: str) -> bool | None:
        return self._check(pattern_text) if self._check is not None else None


class PhoneNumbers(LocalRecognizer):
    """Phone numbers by libphonenumber: any country with a plus sign, the given regions without.

    A national number counts when its digits are grouped as its country groups them; an unbroken run of digits needs
    a context word, unless it is a Korean mobile number.
    """

    _CANDIDATE = re.compile(r"(?<![A-Za-z0-9_.+-])[+(]{0,2}[0-9][0-9() ./-]{6,22}[0-9](?![A-Za-z0-9_]|[.-][0-9])")
    _KOREAN_MOBILE = re.compile(r"01[016789][0-9]{7,8}")

    def __init__(self, regions: Sequence[str]) -> None:
        self._regions = tuple(regions)
        super().__init__(supported_entities=["PHONE_NUMBER"], name="PhoneNumbers")

    def load(self) -> None:
        """Nothing to load: the metadata is in the package."""

    def analyze(self, text: str, entities: list[str], nlp_artifacts: Any) -> list[RecognizerResult]:  # noqa: ARG002
        found = []
        for window in self._CANDIDATE.finditer(text):
            candidate = window.group()
            if not 8 <= sum(c.isdigit() for c in candidate) <= 20:
                continue
            for start, end in self._numbers(candidate):
                score, offset = self._score(candidate[start:end]), window.start()
                found.append(RecognizerResult("PHONE_NUMBER", offset + start, offset + end, score))
        return found

    def _numbers(self, candidate: str) -> set[tuple[int, int]]:
        grouped = phonenumbers.Leniency.STRICT_GROUPING
        attempts = [(None, phonenumbers.Leniency.VALID)] if "+" in candidate else [(r, grouped) for r in self._regions]
        return {
            (match.start, match.end)
            for region, leniency in attempts
            for match in phonenumbers.PhoneNumberMatcher(candidate, region, leniency=leniency)
        }

    def _score(self, number: str) -> float:
        if not number.isdigit():
            return 0.75 if number.startswith("+") else 0.6
        return 0.6 if self._KOREAN_MOBILE.fullmatch(number) else 0.1


def _digits(text: str) -> list[int]:
    return [int(character) for character in text if character.isdigit()]


def luhn(text: str) -> bool:
    """Whether the digits of `text` satisfy the Luhn formula."""
    digits = _digits(text)[::-1]
    return (sum(digits[0::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])) % 10 == 0


def resident_number(text: str) -> bool | None:
    """True for a Korean resident or foreigner number with a right checksum; None without, since new ones have none."""
    digits = _digits(text)
    total = sum(w * d for w, d in zip((2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5), digits, strict=False))
    base = 13 if digits[6] >= 5 else 11
    return True if (base - total % 11) % 10 == digits[12] else None


def business_number(text: str) -> bool | None:
    """False for a wrong checksum; True for a right one in the usual 3-2-5 grouping, None for a bare run of digits."""
    digits = _digits(text)
    weighted = [w * d for w, d in zip((1, 3, 7, 1, 3, 7, 1, 3, 5), digits, strict=False)]
    if (10 - (sum(weighted) + weighted[8] // 10) % 10) % 10 != digits[9]:
        return False
    return None if text.isdigit() else True


def _ssn(text: str) -> bool | None:
    digits = "".join(c for c in text if c.isdigit())
    never_issued = digits[:3] in {"000", "666"} or digits[0] == "9" or digits[3:5] == "00" or digits[5:] == "0000"
    return False if never_issued else None


def _email() -> Verdict:
    # The stock recognizer would fetch the public suffix list; the snapshot in the package is used instead.
    extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    return lambda text: extract(text.rpartition("@")[2]).suffix != ""


def _address(text: str) -> bool | None:
    """False for what names no machine of a person: no address, loopback, unspecified, or a slice such as `[::2]`."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if address.is_loopback or address.is_unspecified or address.is_multicast:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return False if text.startswith(("0.", "255.")) else None
    return None if sum(bool(part) for part in text.split(":")) >= 3 else False


def _known_card(text: str) -> bool:
    return luhn(text) and len(set(_digits(text))) > 1


_EMAIL_DOMAIN = r"@(?:\w(?:[\w-]{0,61}\w)?\.){1,8}(?:[A-Za-z]{2,24}|xn--[A-Za-z0-9-]{1,59})(?![A-Za-z0-9_@])"
_EMAIL = (
    (r"(?<![A-Za-z0-9!#$%&'*+/=?^_`{|}~.-])[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}" + _EMAIL_DOMAIN, 0.5),
    (r"[^\W\x00-\x7f]{1,64}" + _EMAIL_DOMAIN, 0.5),
)
_CARD = (
    r"(?<![A-Za-z0-9_.-])(?:"
    r"(?:4[0-9]{3}|5[1-5][0-9]{2}|2[2-7][0-9]{2}|6[0-9]{3}|35[0-9]{2}|9[0-9]{3})(?:[- ]?[0-9]{4}){3}(?:[0-9]{3})?"
    r"|3[47][0-9]{2}[- ]?[0-9]{6}[- ]?[0-9]{5}|3(?:0[0-5]|[68][0-9])[0-9][- ]?[0-9]{6}[- ]?[0-9]{4}|4[0-9]{12}"
    r")(?![A-Za-z0-9_]|[.-][0-9])"
)
_IPV4 = r"(?<![0-9A-Za-z_.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9A-Za-z_]|\.[0-9])"
_IPV6 = r"(?<![0-9A-Za-z_:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{1,4}(?![0-9A-Za-z_:]|\.[0-9])"
_RRN = r"[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
_LICENSE_REGION = r"(?:1[1-9]|2[0-8])"
_LICENSE_NAME = r"(?:서울|부산|경기|강원|충북|충남|전북|전남|경북|경남|제주|대구|인천|광주|대전|울산)"
_BANKS = r"계좌|입금|송금|이체|은행|뱅크|농협|신협|우체국|새마을|account|bank"


def pattern_rules(phone_regions: Sequence[str]) -> list[Rule]:
    """Every rule that is run over all rows, freshly built."""
    before, after = _NOT_DIGIT_BEFORE, _NOT_DIGIT_AFTER

    def rule(
        entity: str,
        prefilter: str,
        patterns: Sequence[tuple[str, float]],
        check: Verdict | None = None,
        context: str | None = None,
    ) -> Rule:
        words = re.compile(context, re.IGNORECASE) if context else None
        return Rule(entity, prefilter, CheckedPatterns(entity, patterns, check), words)

    return [
        rule("EMAIL_ADDRESS", r"@[^\s@]{1,255}\.", _EMAIL, _email()),
        Rule(
            "PHONE_NUMBER",
            r"[0-9][0-9() ./-]{6,22}[0-9]",
            PhoneNumbers(phone_regions),
            re.compile(r"phone|\btel|mobile|\bcell|\bcall|\bfax|전화|연락처|휴대폰|핸드폰|번호는", re.IGNORECASE),
        ),
        rule("CREDIT_CARD", r"[2-69](?:[- ]?[0-9]){12}", [(_CARD, 0.3)], _known_card),
        Rule("IBAN_CODE", r"[A-Z]{2}[0-9]{2}[ -]?[A-Z0-9]{4}", IbanRecognizer()),
        rule(
            "IP_ADDRESS",
            r"(?:[0-9]{1,3}\.){3}[0-9]|[0-9A-Fa-f]?:[0-9A-Fa-f:]*:",
            [(_IPV4, 0.6), (_IPV6, 0.6)],
            _address,
        ),
        rule(
            "US_SSN",
            r"[0-9]{3}[- .]?[0-9]{2}[- .]?[0-9]{4}",
            [
                (_ALONE_BEFORE + r"[0-9]{3}-[0-9]{2}-[0-9]{4}" + _ALONE_AFTER, 0.5),
                (_ALONE_BEFORE + r"[0-9]{3}([ .])[0-9]{2}\1[0-9]{4}" + _ALONE_AFTER, 0.3),
                (_ALONE_BEFORE + r"[0-9]{9}" + _ALONE_AFTER, 0.06),
            ],
            _ssn,
            r"social|security|\bssn",
        ),
        rule(
            "KR_RRN",
            r"[0-9]{6} ?-? ?[1-8][0-9]{6}",
            [(before + _RRN + r" ?- ?[1-8][0-9]{6}" + after, 0.5), (before + _RRN + r" ?[1-8][0-9]{6}" + after, 0.2)],
            resident_number,
            r"주민|외국인\s?등록|\brrn\b|\bfrn\b|resident registration|foreigner registration",
        ),
        rule(
            "KR_BRN",
            r"[0-9]{3}-?[0-9]{2}-?[0-9]{5}",
            [(before + r"(?<!-)[0-9]{3}-[0-9]{2}-[0-9]{5}(?!-)" + after, 0.3), (before + r"[0-9]{10}" + after, 0.06)],
            business_number,
            r"사업자|\bbrn\b|business (?:registration|number)",
        ),
        rule(
            "KR_DRIVER_LICENSE",
            r"[0-9]{2} ?-? ?[0-9]{6} ?-? ?[0-9]{2}",
            [
                (before + r"(?<!-)" + _LICENSE_REGION + r"-[0-9]{2}-[0-9]{6}-[0-9]{2}(?!-)" + after, 0.5),
                (_LICENSE_NAME + r" ?[0-9]{2} ?- ?[0-9]{6} ?- ?[0-9]{2}" + after, 0.5),
                (before + _LICENSE_REGION + r" ?[0-9]{2} ?[0-9]{6} ?[0-9]{2}" + after, 0.06),
            ],
            None,
            r"면허|driver'?s? licen[cs]e",
        ),
        rule(
            "KR_PASSPORT",
            r"[MSRODmsrod][0-9]{3}[A-Za-z0-9][0-9]{4}",
            [(r"(?<![A-Za-z0-9_])[MSRODmsrod][0-9]{3}[A-Za-z0-9][0-9]{4}(?![A-Za-z0-9_])", 0.2)],
            None,
            r"여권|passport",
        ),
        rule(
            "KR_ACCOUNT",
            r"[0-9]{2,6}-[0-9]{2,6}-[0-9]{2,7}|[0-9]{11,14}",
            [
                (
                    before
                    + r"(?<!-)(?=[0-9-]{12,20}(?![0-9-]))[0-9]{2,6}-[0-9]{2,6}-[0-9]{2,7}(?:-[0-9]{1,3})?(?!-)"
                    + after,
                    0.1,
                ),
                (before + r"[0-9]{11,14}" + after, 0.06),
            ],
            None,
            _BANKS,
        ),
        rule("URL", r"https?://|www\.", [(r"(?:https?://|www\.)[A-Za-z0-9][^\s<>\"'`]{2,2000}", 0.6)]),
    ]
