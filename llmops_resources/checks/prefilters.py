"""From a pattern a regular expression for Rust that matches every text in which the pattern can match, and few more.

Polars runs it over a whole column at once; only what it lets through reaches the pattern itself. Sound by construction,
node by node of the parsed pattern:

- What only narrows a match is left out: anchors, word boundaries, look-around. But what a look-behind at the beginning
  or a look-ahead at the end asks for is asked for beside the match, and one that forbids characters of a set becomes
  "another character, or the end of the text".
- Classes that the two engines define apart (`\\w`, `\\d`, `\\s`) become their ASCII part or any character beyond ASCII;
  a class that excludes one of them, any character.
- Long repeats lose their upper bound, a back-reference becomes the group it refers to, a greedy, lazy, possessive or
  atomic repeat is the same set of texts or a part of it.
- Without regard to case only ASCII letters are compared, beyond them any character stands for one that has a case; a
  text with one of the few characters that fold to an ASCII letter is let through.

`superset` answers None for what it does not know, a fuzzy match or a Unicode property say: then nothing is filtered.
"""

import re
import warnings
from collections.abc import Sequence
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

import polars as pl

_MOST_COPIES = 16
_LONGEST_FOLDED_RANGE = 20_000
_ANY = r"[\s\S]"
#: ASCII part of a class; `regex` and Rust disagree beyond it.
_CLASSES = {
    sre.CATEGORY_DIGIT: r"0-9",
    sre.CATEGORY_WORD: r"0-9A-Za-z_",
    sre.CATEGORY_SPACE: r"\x09-\x0d\x1c-\x20",
}
_NO_WIDTH = {sre.AT, sre.ASSERT, sre.ASSERT_NOT}
_BEYOND_ASCII = r"\x{80}-\x{10FFFF}"
_FOLDED_APART = r"[\x{df}\x{130}\x{131}\x{17f}\x{1e9e}\x{212a}]"
_KNOWN_FLAGS = re.UNICODE | re.IGNORECASE | re.DOTALL | re.MULTILINE
_SET = re.compile(r"\[\^?\]?[^\]]*\]")
# Read as literal text, or as plain sets, by `re`; as more than that by `regex`.
_MORE_IN_REGEX = re.compile(r"\{(?!(?:[0-9]+(?:,[0-9]*)?|,[0-9]+)\})")
_MORE_IN_A_SET = re.compile(r"(?<=.)\[|--|&&|\|\||~~", re.DOTALL)
#: Characters, as (first, last) code points.
_Ranges = list[tuple[int, int]]


class _Unknown(Exception):
    pass


def superset(patterns: Sequence[str], flags: int = 0) -> str | None:
    """The prefilter of a search for any of `patterns`, in the `regex` module's syntax; None when there is none."""
    try:
        parts = [_Translation(pattern, flags).text for pattern in patterns]
    except (_Unknown, re.error, Warning, OverflowError, RecursionError):
        return None
    joined = "|".join(parts)
    if any(flags & re.IGNORECASE or "(?i" in part for part in parts):
        joined += f"|{_FOLDED_APART}"
    try:
        letsall = bool(pl.Series([""]).str.contains(joined).item())
    except pl.exceptions.ComputeError:
        return None
    return None if letsall else joined


class _Translation:
    def __init__(self, pattern: str, flags: int) -> None:
        bare = re.sub(r"\\.", "", pattern, flags=re.DOTALL)
        if _MORE_IN_REGEX.search(_SET.sub("", bare)) or any(map(_MORE_IN_A_SET.search, _SET.findall(bare))):
            raise _Unknown
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            parsed = _parser.parse(pattern, flags)
        if parsed.state.flags & ~_KNOWN_FLAGS:
            raise _Unknown
        self._groups: dict[int, str] = {}
        self._folding = folded = bool(parsed.state.flags & re.IGNORECASE)
        self._mixed = False
        self.text = f"(?{'i' if folded else ''}:{self._whole(list(parsed))})"

    def _whole(self, nodes: list[tuple[Any, Any]]) -> str:
        """What stands alone, so that nothing is before or after it but what its look-arounds say."""
        left, right = self._beside(nodes, -1), self._beside(nodes[::-1], 1)
        if not self._folding:
            before, after = _forbidden(nodes, -1), _forbidden(nodes[::-1], 1)
            left = left or (f"(?:\\A|[^{_written(before)}])" if before else "")
            right = right or (f"(?:[^{_written(after)}]|\\z)" if after else "")
        wide = [node for node in nodes if node[0] not in _NO_WIDTH]
        if not left and not right and len(wide) == 1 and wide[0][0] is sre.SUBPATTERN and not any(wide[0][1][1:3]):
            return self._whole(list(wide[0][1][3]))
        if not left and not right and len(wide) == 1 and wide[0][0] is sre.BRANCH:
            return "|".join(f"(?:{self._whole(list(branch))})" for branch in wide[0][1][1])
        return f"{left}(?:{self._sequence(nodes)}){right}"

    def _beside(self, nodes: list[tuple[Any, Any]], direction: int) -> str:
        """What the first look-around of `direction` asks for, of those that stand first."""
        for op, value in nodes:
            if op not in _NO_WIDTH:
                break
            if op is sre.ASSERT and value[0] == direction:
                return f"(?:{self._sequence(value[1])})"
        return ""

    def _sequence(self, nodes: Any) -> str:
        return "".join(self._node(op, value) for op, value in nodes)

    def _node(self, op: Any, value: Any) -> str:  # noqa: PLR0911 - one line a kind of node
        if op is sre.LITERAL:
            return _ANY if self._folding and _cased(value, value) else _escaped(value)
        if op in {sre.NOT_LITERAL, sre.IN}:
            return self._set(value if op is sre.IN else [(sre.NEGATE, None), (sre.LITERAL, value)])
        if op is sre.ANY:
            return _ANY
        if op is sre.BRANCH:
            return "(?:" + "|".join(self._sequence(branch) for branch in value[1]) + ")"
        if op is sre.SUBPATTERN:
            return self._group(*value)
        if op is sre.ATOMIC_GROUP:
            return f"(?:{self._sequence(value)})"
        if op in {sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT}:
            return self._repeat(*value)
        if op is sre.GROUPREF:
            return f"{_ANY}*" if self._mixed else self._groups.get(value, f"{_ANY}*")
        if op in _NO_WIDTH:
            return ""
        raise _Unknown

    def _group(self, number: int | None, add: int, remove: int, inner: Any) -> str:
        if (add | remove) & ~_KNOWN_FLAGS or remove & re.IGNORECASE:
            raise _Unknown
        if not add & re.IGNORECASE:
            written = f"(?:{self._sequence(inner)})"
        else:
            outside, self._folding, self._mixed = self._folding, True, True
            written = f"(?i:{self._sequence(inner)})"
            self._folding = outside
        if number is not None:
            self._groups[number] = written
        return written

    def _repeat(self, least: int, most: Any, inner: Any) -> str:
        written = self._sequence(inner)
        upper = "" if most is sre.MAXREPEAT or most > _MOST_COPIES else str(most)
        return f"(?:{written}){{{min(least, _MOST_COPIES)},{upper}}}"

    def _set(self, items: list[tuple[Any, Any]]) -> str:
        negated = items[0][0] is sre.NEGATE
        written = []
        for op, value in items[negated:]:
            first, last = (value, value) if op is sre.LITERAL else value if op is sre.RANGE else (0, 0)
            if op is sre.CATEGORY and value in _CLASSES and not negated:
                written.append(_CLASSES[value] + _BEYOND_ASCII)
            elif op is sre.CATEGORY or (self._folding and _cased(first, last)):
                return _ANY
            elif op in {sre.LITERAL, sre.RANGE}:
                written.append(f"{_escaped(first)}-{_escaped(last)}")
            else:
                raise _Unknown
        return f"[{'^' if negated else ''}{''.join(written)}]"


def _cased(first: int, last: int) -> bool:
    """Whether a character from `first` to `last`, beyond ASCII, may have another case."""
    first = max(first, 0x80)
    if last - first > _LONGEST_FOLDED_RANGE:
        return True
    return any(chr(code).lower() != chr(code) or chr(code).upper() != chr(code) for code in range(first, last + 1))


def _escaped(code: int) -> str:
    if 0xD800 <= code <= 0xDFFF:
        raise _Unknown
    return f"\\x{{{code:x}}}"


def _forbidden(nodes: list[tuple[Any, Any]], direction: int) -> _Ranges:
    """What the character beside a match may not be, told by look-arounds of `direction` that stand first."""
    found: _Ranges = []
    for op, value in nodes:
        if op not in _NO_WIDTH:
            break
        if op is sre.ASSERT_NOT and value[0] == direction:
            found += _single(value[1])
    return found


def _single(nodes: Any) -> _Ranges:
    """The characters of a look-around that forbids one; of one that forbids alternatives, those of its single ones."""
    if len(nodes) != 1:
        return []
    op, value = nodes[0]
    if op is sre.LITERAL:
        return [(value, value)]
    if op is sre.BRANCH:
        return [part for branch in value[1] for part in _single(branch)]
    if op is sre.SUBPATTERN and not value[1] and not value[2]:
        return _single(value[3])
    if op is sre.IN and all(item[0] in {sre.LITERAL, sre.RANGE} for item in value):
        return [(item[1], item[1]) if item[0] is sre.LITERAL else item[1] for item in value]
    return []


def _written(ranges: _Ranges) -> str:
    return "".join(f"{_escaped(first)}-{_escaped(last)}" for first, last in ranges)
