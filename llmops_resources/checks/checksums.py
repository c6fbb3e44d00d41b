"""What numbers say about themselves: checksums and reserved ranges.

Luhn (ISO/IEC 7812-1), the Korean resident number (weights 2…9,2…5 mod 11; numbers given since October 2020 have none)
and business number (weights 1,3,7,1,3,7,1,3,5 mod 10). A verdict is True for certain, False for none, None for "as
likely as its pattern says".
"""

import ipaddress
import re
from collections.abc import Callable
from functools import cache

import tldextract

_DATE = re.compile(
    r"(?:19|20)[0-9]{2}[-./ ]?(?:0?[1-9]|1[0-2])[-./ ]?(?:0?[1-9]|[12][0-9]|3[01])(?: [0-9]{1,2})?"
    r"|[0-3]?[0-9][-./][0-3]?[0-9][-./](?:19|20)?[0-9]{2}|(?:19|20)[0-9]{2}-(?:19|20)?[0-9]{2}"
)
Verdict = Callable[[str], bool | None]


def _digits(text: str) -> list[int]:
    return [int(character) for character in text if character.isdigit()]


def luhn(text: str) -> bool:
    """Whether the digits of `text` satisfy the Luhn formula."""
    digits = _digits(text)[::-1]
    return (sum(digits[0::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])) % 10 == 0


def known_card(text: str) -> bool:
    """Whether a number that looks like a card is one: right by Luhn, and not one digit over and over."""
    return luhn(text) and len(set(_digits(text))) > 1


def dialled(text: str) -> bool | None:
    """False for what no telephone takes (E.164: 15 digits at most, extension aside), and for dates and times."""
    number = re.split("[xe]", text)[0].strip()
    count = len(_digits(number))
    return None if 6 <= count <= 15 and not _DATE.fullmatch(number) else False


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


def social_security_number(text: str) -> bool | None:
    """False for a number that the United States never issue."""
    digits = "".join(c for c in text if c.isdigit())
    never_issued = digits[:3] in {"000", "666"} or digits[0] == "9" or digits[3:5] == "00" or digits[5:] == "0000"
    return False if never_issued else None


def mail_domain(text: str) -> bool:
    """Whether an address ends in a public suffix, by the list in the package: nothing is fetched."""
    return _suffixes()(text.rpartition("@")[2]).suffix != ""


@cache
def _suffixes() -> tldextract.TLDExtract:
    return tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)


def network_address(text: str) -> bool | None:
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
