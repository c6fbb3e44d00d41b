"""The strict readers of text formats. They run in the parsing process only, and turn a file into parts and problems."""

import csv
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from llmops_resources.checks.options import CheckOptions
from llmops_resources.checks.problems import Problems
from llmops_resources.checks.spool import ColumnType, SpooledFile, SpoolWriter

_LONGEST_NAME = 255
_TURNING = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}  # Unicode's bidirectional controls
_KEY = re.compile(rb'(?<!\\)"[ \t\r]*:')
_MANY_DIGITS = re.compile(rb"[0-9]{19}")
_MAX_SKIPPED = 10_000  # a file with more bad rows than this is not read to its end

# Per column: each type seen, with the file and the row that showed it first.
TypesSeen = dict[str, dict[ColumnType, tuple[str, int]]]


class UnreadableError(Exception):
    """The file as a whole cannot be read; its problem is recorded."""


def read_csv(
    path: Path, name: str, spool: SpoolWriter, problems: Problems, options: CheckOptions
) -> tuple[SpooledFile, list[str]]:
    """Every well-formed row of a CSV file (comma, double quotes, a header) as text, empty cells as null.

    Ragged rows are left out and reported with their row number. Raises UnreadableError.
    """
    csv.field_size_limit(options.max_row_bytes)
    number = 0
    skipped: list[int] = []
    start = spool.rows
    header: list[str] = []
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = next((row for row in reader if row), [])
            _check_header(header, name, problems, options)
            for row in reader:
                if not row:  # a blank line is no row
                    continue
                number += 1
                if len(row) != len(header):
                    skipped.append(number)
                    problems.add(
                        "ragged_row",
                        f"Row {number} has {len(row)} cells where the header has {len(header)}",
                        "Give every row as many cells as the header; quote cells that contain commas or line ends.",
                        file=name,
                        row=number,
                    )
                    if len(skipped) >= _MAX_SKIPPED:
                        break
                    continue
                spool.add_row(header, [cell or None for cell in row], _row_size(row, options.max_row_bytes))
        except csv.Error as error:
            problems.add(
                "malformed_csv",
                f"Reading stopped after row {number}: {error}",
                "Check the quotes: each opening quote needs its closing one, and quotes inside are doubled.",
                file=name,
                row=number + 1,
            )
            skipped.append(number + 1)
    spool.flush()
    return SpooledFile(name=name, rows=spool.rows - start, skipped=tuple(skipped)), header


def _row_size(row: list[str], limit: int) -> int:
    size = sum(map(len, row))
    if size > limit:
        raise csv.Error(f"the row is longer than {limit} characters")
    return size


def _check_header(header: list[str], name: str, problems: Problems, options: CheckOptions) -> None:
    if not header:
        problems.add("no_header", "The file has no header row", "Add a first row that names the columns.", file=name)
        raise UnreadableError
    if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        mark = next(mark for mark in ";\t|" if mark in header[0])
        problems.add(
            "delimiter",
            f"The header has no comma but {mark!r}: the file uses another delimiter",
            "Save the file with commas between the cells.",
            file=name,
        )
        raise UnreadableError
    check_names(header, name, problems, options)


def check_names(
    names: Sequence[str], file: str, problems: Problems, options: CheckOptions, *, before: int = 0
) -> None:
    """Names that every later step can hold, show and tell apart; so many other columns were good `before`.

    Raises UnreadableError when one of them is not.
    """
    if before + len(names) > options.max_columns:
        problems.add(
            "too_many_columns",
            f"The file has {before + len(names)} columns; at most {options.max_columns} are accepted",
            "Put sparse attributes into one column as JSON.",
            file=file,
        )
        raise UnreadableError
    known = problems.total
    for position, column in enumerate(names, before + 1):
        if why := _unusable(column):
            kind, what, remedy = why
            problems.add(kind, f"Column {position} {what}", remedy, file=file, column=column[:_LONGEST_NAME])
    for column in [column for column, count in Counter(names).items() if count > 1 and column.strip()]:
        problems.add(
            "duplicate_column",
            f"The column {column!r} appears more than once",
            "Give every column its own name.",
            file=file,
            column=column,
        )
    if problems.total > known:
        raise UnreadableError


def _unusable(name: str) -> tuple[str, str, str] | None:
    """Kind, problem and remedy of a column name that cannot be used."""
    if not name.strip():
        return "empty_header", "has no name", "Name every column."
    if len(name) > _LONGEST_NAME:
        return "long_name", f"has a name longer than {_LONGEST_NAME} characters", "Shorten the name."
    if any(unicodedata.category(c) in {"Cc", "Cs"} or unicodedata.bidirectional(c) in _TURNING for c in name):
        return "name_characters", "has a control character in its name", "Keep to letters, digits, signs and blanks."
    if name == "*" or (name.startswith("^") and name.endswith("$")):
        return "pattern_name", "has a name that stands for several columns", "Rename the column: no * alone, no ^…$."
    return None


_JSON_TYPES: dict[type, ColumnType] = {
    str: ColumnType.STRING,
    int: ColumnType.INTEGER,
    float: ColumnType.NUMBER,
    bool: ColumnType.BOOLEAN,
    list: ColumnType.LIST,
    dict: ColumnType.OBJECT,
}


def read_jsonl(
    path: Path,
    name: str,
    spool: SpoolWriter,
    problems: Problems,
    options: CheckOptions,
    *,
    types: TypesSeen,
) -> tuple[SpooledFile, list[str]]:
    """Every line of a JSONL file that is one JSON object, as text per key; keys that appear late become columns too.

    `types` collects, per column, what types were seen where. Raises UnreadableError.
    """
    names: dict[str, None] = {}  # in the order of their first row
    number = 0
    skipped: list[int] = []
    start = spool.rows
    with path.open("rb") as file:
        for line in file:
            if not line.strip():
                continue
            number += 1
            row = _json_object(line, number, name, problems, options)
            if row is None:
                skipped.append(number)
                if len(skipped) >= _MAX_SKIPPED:
                    break
                continue
            if not row.keys() <= names.keys():
                new = [key for key in row if key not in names]
                names = {**names, **dict.fromkeys(new)}
                check_names(new, name, problems, options, before=len(names) - len(new))
                types.update({key: {} for key in new if key not in types})
            for key, value in row.items():
                if value is not None:
                    types[key].setdefault(_JSON_TYPES[type(value)], (name, number))
            spool.add_row(names, [_json_cell(row.get(key)) for key in names], len(line))
    spool.flush()
    return SpooledFile(name=name, rows=spool.rows - start, skipped=tuple(skipped)), list(names)


def _json_cell(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()


def _json_object(
    line: bytes, number: int, name: str, problems: Problems, options: CheckOptions
) -> dict[str, Any] | None:
    """The object on a line, or None with a problem recorded."""
    try:
        return _strict_object(line, options)
    except (ValueError, TypeError, RecursionError) as error:
        problems.add(
            "malformed_json",
            f"Row {number}: {error}",
            "Write one complete JSON object per line, in UTF-8, each key once.",
            file=name,
            row=number,
        )
        return None


def _strict_object(line: bytes, options: CheckOptions) -> dict[str, Any]:
    """The object on a line. Raises ValueError or TypeError with what is wrong with it."""
    if len(line) > options.max_row_bytes:
        raise ValueError(f"the line is longer than {options.max_row_bytes} bytes")
    value = orjson.loads(line)
    if not isinstance(value, dict):
        raise TypeError(f"the line holds {_JSON_NAMES.get(type(value), 'a value')}, not an object")
    # orjson keeps the last of two equal keys, so keys are missing. A backslash before a key's quote hides it from us.
    if _keys(value, options.max_depth) != len(_KEY.findall(line)) or b'\\\\"' in line:
        _refuse_doubled_keys(line)
    if not value:
        raise ValueError("the object is empty")
    if _MANY_DIGITS.search(line):
        json.loads(line, parse_int=_whole)
    return value


def _whole(digits: str) -> int:
    """A whole number, which orjson would round silently beyond 64 bits."""
    number = int(digits) if len(digits) <= 20 else 2**63
    if not -(2**63) <= number < 2**63:
        raise ValueError("a whole number does not fit 64 bits; write it as a string")
    return number


_JSON_NAMES: dict[type, str] = {
    list: "an array", str: "a string", int: "a number", float: "a number", bool: "a boolean", type(None): "null",
}  # fmt: skip


def _refuse_doubled_keys(line: bytes) -> None:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        doubled = [key for key, count in Counter(key for key, _ in items).items() if count > 1]
        if doubled:
            raise ValueError(f"the key {doubled[0]!r} appears twice")
        return dict(items)

    json.loads(line, object_pairs_hook=pairs)


def _keys(value: dict[str, Any], limit: int) -> int:
    """The number of keys of all objects in the value. Raises ValueError when it is nested deeper than `limit`."""
    level: list[Any] = [value]
    count = 0
    for _ in range(limit + 1):
        count += sum(len(node) for node in level if isinstance(node, dict))
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return count
    raise ValueError(f"values are nested deeper than {limit} levels")
