"""The rules that find personal data by pattern and checksum: Presidio recognizers with ASCII boundaries.

Unicode word boundaries do not end at Korean particles ("kim@example.com입니다"), so every pattern here looks at ASCII
letters and digits only. All quantifiers are bounded or cannot backtrack into each other.
"""

from collections.abc import Sequence

from llmops_resources.checks.checksums import (
    Verdict,
    business_number,
    known_card,
    mail_domain,
    network_address,
    resident_number,
    social_security_number,
)
from llmops_resources.checks.names import name_rules
from llmops_resources.checks.phones import PhoneNumbers, numbers_to_call
from llmops_resources.checks.rules import CheckedPatterns, Ibans, Rule

_NOT_DIGIT_BEFORE, _NOT_DIGIT_AFTER = r"(?<![0-9])", r"(?![0-9])"
_ALONE_BEFORE, _ALONE_AFTER = r"(?<![A-Za-z0-9_.-])", r"(?![A-Za-z0-9_]|[.-][0-9])"
_EMAIL_DOMAIN = r"@(?:\w(?:[\w-]{0,61}\w)?\.){1,8}(?:[A-Za-z]{2,24}|xn--[A-Za-z0-9-]{1,59})(?![A-Za-z0-9_@])"
_EMAIL = (
    (r"(?<![A-Za-z0-9!#$%&'*+/=?^_`{|}~.-])[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}" + _EMAIL_DOMAIN, 0.5),
    (r"[^\W\x00-\x7f]{1,64}" + _EMAIL_DOMAIN, 0.5),
)
_CARD = (
    r"(?<![A-Za-z0-9_.-])(?:"
    r"(?:4[0-9]{3}|5[1-5][0-9]{2}|2[2-7][0-9]{2}|6[0-9]{3}|35[0-9]{2}|9[0-9]{3})(?:[- ]?[0-9]{4}){3}(?:[0-9]{3})?"
    r"|(?:5018|50[23]0|5038|5893|6304|6759|676[1-3])(?:[- ]?[0-9]{4}){2,3}[0-9]{0,3}"
    r"|(?:1800|2131)[- ]?[0-9]{6}[- ]?[0-9]{5}"
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
        patterns: Sequence[tuple[str, float]],
        check: Verdict | None = None,
        context: str | None = None,
        *,
        certain: bool = True,
    ) -> Rule:
        return Rule(entity, CheckedPatterns(entity, patterns, check, context, certain=certain, trusted=True))

    return [
        rule("EMAIL_ADDRESS", _EMAIL, mail_domain),
        Rule("PHONE_NUMBER", PhoneNumbers(phone_regions)),
        *(Rule("PHONE_NUMBER", recognizer) for recognizer in numbers_to_call()),
        *name_rules(),
        rule("CREDIT_CARD", [(_CARD, 0.3)], known_card),
        Rule("IBAN_CODE", Ibans()),
        rule("IP_ADDRESS", [(_IPV4, 0.6), (_IPV6, 0.6)], network_address, certain=False),
        rule(
            "US_SSN",
            [
                (_ALONE_BEFORE + r"[0-9]{3}-[0-9]{2}-[0-9]{4}" + _ALONE_AFTER, 0.5),
                (_ALONE_BEFORE + r"[0-9]{3}([ .])[0-9]{2}\1[0-9]{4}" + _ALONE_AFTER, 0.3),
                (_ALONE_BEFORE + r"[0-9]{9}" + _ALONE_AFTER, 0.06),
            ],
            social_security_number,
            r"social|security|\bssn",
            certain=False,
        ),
        rule(
            "KR_RRN",
            [(before + _RRN + r" ?- ?[1-8][0-9]{6}" + after, 0.5), (before + _RRN + r" ?[1-8][0-9]{6}" + after, 0.2)],
            resident_number,
            r"주민|외국인\s?등록|\brrn\b|\bfrn\b|resident registration|foreigner registration",
        ),
        rule(
            "KR_BRN",
            [(before + r"(?<!-)[0-9]{3}-[0-9]{2}-[0-9]{5}(?!-)" + after, 0.3), (before + r"[0-9]{10}" + after, 0.06)],
            business_number,
            r"사업자|\bbrn\b|business (?:registration|number)",
        ),
        rule(
            "KR_DRIVER_LICENSE",
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
            [(r"(?<![A-Za-z0-9_])[MSRODmsrod][0-9]{3}[A-Za-z0-9][0-9]{4}(?![A-Za-z0-9_])", 0.2)],
            None,
            r"여권|passport",
        ),
        rule(
            "KR_ACCOUNT",
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
        rule("URL", [(r"(?:https?://|www\.)[A-Za-z0-9][^\s<>\"'`]{2,2000}", 0.6)]),
    ]
