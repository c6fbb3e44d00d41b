"""Cells as people and JSON can take them: within bounds, and without what JSON or PostgreSQL cannot store."""

import math
from typing import Any

import orjson


def shown(cell: Any, longest: int = 2_000) -> Any:
    """A cell as a JSON value: long texts are cut and end with an ellipsis, NaN and infinities become words.

    Nested values stay nested while they are short enough, and become cut JSON text otherwise.
    """
    if cell is None or isinstance(cell, bool | int):
        return cell
    if isinstance(cell, float):
        return cell if math.isfinite(cell) else str(cell)
    if isinstance(cell, bytes):
        return f"{len(cell):,} bytes"
    nested = isinstance(cell, list | dict)
    text = orjson.dumps(cell, default=str).decode() if nested else str(cell)
    if len(text) > longest:
        return text[: longest - 1] + "…"
    return orjson.loads(text) if nested else text.replace("\0", "\N{SYMBOL FOR NULL}")


def in_spreadsheet(cell: Any) -> str:
    """A cell as text that no spreadsheet runs: a formula gets an apostrophe before it, numbers stay numbers.

    Formulas are told as OWASP does (CSV injection): by their first character, also behind spaces and in full width.
    """
    if cell is None:
        return ""
    text = cell if isinstance(cell, str) else orjson.dumps(cell, default=str).decode()
    if isinstance(cell, int | float) or not text.strip():
        return text
    begins = text.lstrip()[0] in "=+-@＝＋－＠|%" or text[0] in "\t\r\n"
    return f"'{text}" if begins and not _is_number(text) else text


def _is_number(text: str) -> bool:
    """Whether a spreadsheet reads the text as a plain number, such as -5 or +1.5e3."""
    body = text[1:] if text[:1] in "+-" else text
    mantissa, _, exponent = body.lower().partition("e")
    digits = mantissa.replace(".", "", 1)
    return digits.isascii() and digits.isdigit() and (not exponent or exponent.lstrip("+-").isdigit())
