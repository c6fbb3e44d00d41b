"""JSON as a stranger may send it: one meaning only, or it is refused."""

import json
from typing import Any


class NotStrict(Exception):
    """The text is not JSON with exactly one meaning; the message says why."""


def parse(data: bytes) -> Any:
    """The value. Raises NotStrict for anything but UTF-8 JSON without duplicate keys or NaN."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotStrict(f"it is not UTF-8 text (byte {error.start})") from None
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except NotStrict:
        raise
    except RecursionError:
        raise NotStrict("it is nested too deeply") from None
    except ValueError as error:  # not JSON, or a number of thousands of digits
        raise NotStrict(f"it is not JSON: {str(error)[:200]}") from None


def parse_object(data: bytes) -> dict[str, Any]:
    """The value, which must be an object. Raises NotStrict."""
    value = parse(data)
    if not isinstance(value, dict):
        raise NotStrict("it is JSON, but not an object in braces")
    return value


def whole(value: Any) -> bool:
    """Whether it is a whole number; true and false, which Python counts as numbers, are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise NotStrict(f"the key {twice[:100]!r} stands twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise NotStrict(f"{name} is not a JSON number")
