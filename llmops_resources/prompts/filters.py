"""The filters and tests a template may use: a short list, each bounded in what it takes and in what it makes.

None takes the name of an attribute, none formats with a caller's pattern, none calls anything.
"""

import json
from collections.abc import Callable
from typing import Any

from jinja2.exceptions import SecurityError, TemplateRuntimeError
from jinja2.runtime import Undefined

#: The longest text that an expression may make, in characters.
MAX_TEXT = 200_000


def shown(value: Any) -> str:
    """What `{{ value }}` writes. Raises TemplateRuntimeError for a list, which has no one way to be written."""
    if value is None:
        return ""
    if isinstance(value, list):
        raise TemplateRuntimeError("a list cannot be written as it is: say how, as in items|join(', ')")
    return str(value)


def joined(parts: list[str], separator: str = "") -> str:
    """The parts in one text. Raises SecurityError, before making it, when it would be too long."""
    return separator.join(parts) if _fits(sum(map(len, parts)) + len(separator) * len(parts)) else ""


def _fits(length: int) -> bool:
    if length > MAX_TEXT:
        raise SecurityError(f"an expression makes a text of {length} characters; {MAX_TEXT} are allowed")
    return True


def _text(value: Any) -> str:
    return shown(value)


def _items(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    raise TemplateRuntimeError("this filter takes a list")


def _default(value: Any, instead: Any = "", boolean: bool = False) -> Any:
    missing = value is None or isinstance(value, Undefined)
    return instead if missing or (boolean and not value) else value


def _join(value: Any, separator: str = "") -> str:
    return joined([_text(item) for item in _items(value)], _text(separator))


def _replace(value: Any, old: str, new: str) -> str:
    text, old, new = _text(value), _text(old), _text(new)
    if not old:
        raise TemplateRuntimeError("replace needs a text to look for")
    _fits(len(text) + text.count(old) * max(0, len(new) - len(old)))
    return text.replace(old, new)


def _indent(value: Any, width: int = 4) -> str:
    if not isinstance(width, int) or not 0 <= width <= 20:
        raise TemplateRuntimeError("indent takes a width from 0 to 20")
    return _text(value).replace("\n", "\n" + " " * width)


def _truncate(value: Any, length: int = 255, end: str = "…") -> str:
    text = _text(value)
    return text if len(text) <= length else text[: max(0, length)] + _text(end)


def _tojson(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list) else len(_text(value))


def _round(value: Any, digits: int = 0) -> int | float:
    if not isinstance(digits, int) or not 0 <= digits <= 15:
        raise TemplateRuntimeError("round takes 0 to 15 digits")
    return round(_number(value), digits)


def _number(value: Any) -> int | float:
    if isinstance(value, int | float):
        return value
    raise TemplateRuntimeError("this takes a number")


def _divisible(value: Any, by: Any) -> bool:
    # Checked first, since % on a text would format it.
    return _number(value) % _number(by) == 0


#: Everything a template may write behind `|`.
FILTERS: dict[str, Callable[..., Any]] = {
    "capitalize": lambda value: _text(value).capitalize(),
    "default": _default,
    "first": lambda value: next(iter(_items(value)), None),
    "indent": _indent,
    "join": _join,
    "last": lambda value: next(reversed(_items(value)), None),
    "length": _length,
    "lower": lambda value: _text(value).lower(),
    "replace": _replace,
    "round": _round,
    "sort": lambda value: sorted(_items(value)),
    "title": lambda value: _text(value).title(),
    "tojson": _tojson,
    "trim": lambda value: _text(value).strip(),
    "truncate": _truncate,
    "unique": lambda value: list(dict.fromkeys(_items(value))),
    "upper": lambda value: _text(value).upper(),
    "wordcount": lambda value: len(_text(value).split()),
}

#: Everything a template may write behind `is`.
TESTS: dict[str, Callable[..., bool]] = {
    "boolean": lambda value: isinstance(value, bool),
    "defined": lambda value: not isinstance(value, Undefined),
    "divisibleby": _divisible,
    "even": lambda value: _divisible(value, 2),
    "false": lambda value: value is False,
    "none": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "odd": lambda value: not _divisible(value, 2),
    "string": lambda value: isinstance(value, str),
    "true": lambda value: value is True,
}
