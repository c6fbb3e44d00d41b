"""Text as a scanner must read it, whatever hides it; and as a report may show it.

Undone: characters that look like ASCII ones (full-width, mathematical, circled, digits of other scripts, Cyrillic and
Greek look-alikes), odd dashes and spaces, invisible characters, escapes of URLs, HTML and strings (`%40`, `&#64;`,
`\\u0040`, `\\n`), and base64 of readable text, once.
"""

import base64
import binascii
import re
import unicodedata
from collections.abc import Iterator
from functools import cache

# Look-alikes that Unicode does not call compatible with their ASCII twins.
_TWINS = dict(
    zip(
        "аеорсухіјѕһԁԛԝАВЕКМНОРСТХІЈЅΑΒΕΖΗΙΚΜΝΟΡΤΥΧαορυνικɑɡ։․。｡",
        "aeopcyxijshdqwABEKMHOPCTXIJSABEZHIKMNOPTYXaopuvikag:...",
        strict=True,
    )
)
_DASHES, _SPACES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212", "\u00a0\u2002-\u200a\u202f\u205f\u3000"
# Where characters live that stand for an ASCII one; the rest of Unicode is not worth the look.
_RANGES = ((0xA0, 0x250), (0x600, 0x1000), (0x2000, 0x2200), (0x2460, 0x24EB), (0xFE50, 0xFFEF), (0x1D400, 0x1D800))
_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2064\u3164\ufeff]")
_ESCAPE = re.compile(
    r"%([2-7][0-9A-Fa-f])|&#([0-9]{2,7});|&#[xX]([0-9A-Fa-f]{2,6});|&(commat|period|hyphen|lowbar);"
    r"|\\(?:u([0-9A-Fa-f]{4})|x([2-7][0-9A-Fa-f])|[nrt])"
)
_NAMED = {"commat": "@", "period": ".", "hyphen": "-", "lowbar": "_"}
#: Matches (in Rust too) where `undisguised` may change something.
DISGUISE = (
    "[\u00a0\u00ad\u00b2\u00b3\u00b9\u0370-\u03ff\u0400-\u052f\u0589\u0600-\u0fff\u115f\u1160\u180e\u2000-\u2064"
    "\u2070-\u209c\u2100-\u214f\u2212\u2460-\u24ea\u3000\u3002\u3164\ufe50-\uffee\U0001d400-\U0001d7ff\u034f\u0251\u0261]"
    r"|%[2-7][0-9A-Fa-f]|&(?:#|commat|period|hyphen|lowbar)|\\(?:u[0-9A-Fa-f]{4}|x[2-7]|[nrt])"
)
#: Matches where `encoded_texts` may find something: a run of base64 that is long enough for an identifier.
ENCODED = r"[A-Za-z0-9+/_-]{16,}"
_TOKEN = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{16,20000}={0,2}(?![A-Za-z0-9+/_=-])")
_MOST_TOKENS = 200  # of one cell; who has more is not hiding a number


@cache
def _plain() -> dict[int, str]:
    table = {ord(odd): twin for odd, twin in _TWINS.items()} | dict.fromkeys(map(ord, _DASHES), "-")
    table |= dict.fromkeys((code for code in range(0xA0, 0x3001) if re.match(f"[{_SPACES}]", chr(code))), " ")
    for start, end in _RANGES:
        for code in range(start, end):
            same = unicodedata.normalize("NFKC", chr(code))
            digit = unicodedata.decimal(chr(code), None)
            if digit is not None:
                table.setdefault(code, str(digit))
            elif len(same) == 1 and same.isascii():
                table.setdefault(code, same)
    return table


def undisguised(text: str) -> tuple[str, list[int] | None]:
    """`text` as it would look in plain ASCII where that is what it pretends to be.

    The second value gives, for each character left, its offset in `text`; None when nothing moved.
    """
    plain = text.translate(_plain())
    if not _INVISIBLE.search(plain) and not _ESCAPE.search(plain):
        return plain, None
    characters: list[str] = []
    offsets: list[int] = []
    at = 0
    for escape in _ESCAPE.finditer(plain):
        _keep(plain, at, escape.start(), characters, offsets)
        characters.append(_unescaped(escape))
        offsets.append(escape.start())
        at = escape.end()
    _keep(plain, at, len(plain), characters, offsets)
    return "".join(characters), offsets


def _keep(plain: str, start: int, end: int, characters: list[str], offsets: list[int]) -> None:
    for index in range(start, end):
        if not _INVISIBLE.match(plain[index]):
            characters.append(plain[index])
            offsets.append(index)


def _unescaped(escape: re.Match[str]) -> str:
    percent, decimal, hexadecimal, name, unicode, byte = escape.groups()
    if name:
        return _NAMED[name]
    digits = percent or hexadecimal or unicode or byte
    code = int(decimal) if decimal else int(digits, 16) if digits else 0
    if code >= 0x7F:
        plain = _plain().get(code, chr(code)) if unicode else " "
        return plain if plain.isprintable() else " "
    return chr(code) if code >= 0x20 else " "


def unescaped_json(text: str) -> str:
    """JSON text with its escapes as blanks and plain characters, every other character where it was.

    "call\\n010-1234" has a letter before the number that is none. Numbered characters are left for `undisguised`.
    """
    return re.sub(
        r'\\["\\/bfnrt]',
        lambda e: (e.group()[1] if e.group()[1] in '"\\/' else " ").rjust(len(e.group())),
        text,
    )


def encoded_texts(text: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, what it says) of each run of base64 that decodes to readable text."""
    for count, token in enumerate(_TOKEN.finditer(text)):
        if count == _MOST_TOKENS:
            return
        body = token.group().rstrip("=").translate({ord("-"): "+", ord("_"): "/"})
        try:
            said = base64.b64decode(body + "=" * (-len(body) % 4), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue
        if len(said) >= 8 and said.replace("\n", " ").replace("\r", " ").replace("\t", " ").isprintable():
            yield token.start(), token.end(), said


def masked(text: str) -> str:
    """`text` with letters and digits starred, except the first and, in longer ones, the last; at most 40 characters."""
    last = len(text) - 1 if len(text) > 4 else -1
    starred = "".join("*" if c.isalnum() and i not in {0, last} else c for i, c in enumerate(text))
    return starred if len(starred) <= 40 else starred[:39] + "…"
