"""Text as a scanner must read it, whatever characters hide it; and as a report may show it."""

import re

_SAME_WIDTH = str.maketrans(
    {chr(c): chr(c - 0xFEE0) for c in range(0xFF01, 0xFF5F)}
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-")
    | dict.fromkeys("\u00a0\u2002\u2003\u2007\u2009\u202f\u3000", " ")
)
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff]")
#: Matches (in Rust too) where `undisguised` would change something.
DISGUISE = "[\u00a0\u00ad\u2002-\u2015\u2028-\u202f\u2060-\u2064\u2212\u3000\ufeff\uff01-\uff5e]"


def undisguised(text: str) -> tuple[str, list[int] | None]:
    """`text` with full-width characters, odd dashes and spaces made plain and invisible characters removed.

    The second value gives, for each character left, its offset in `text`; None when nothing was removed.
    """
    plain = text.translate(_SAME_WIDTH)
    if not _INVISIBLE.search(plain):
        return plain, None
    kept = [index for index, character in enumerate(plain) if not _INVISIBLE.match(character)]
    return "".join(plain[index] for index in kept), kept


def masked(text: str) -> str:
    """`text` with letters and digits starred, except the first and, in longer ones, the last; at most 40 characters."""
    last = len(text) - 1 if len(text) > 4 else -1
    starred = "".join("*" if c.isalnum() and i not in {0, last} else c for i, c in enumerate(text))
    return starred if len(starred) <= 40 else starred[:39] + "…"
