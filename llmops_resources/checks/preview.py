"""A page of rows for people to look at, straight from storage, by ranges of a file that passed the structure check.

Parquet reads its footer and the pages of the row groups that hold the page of rows; CSV and JSONL are read from the
nearest place that is known to begin a row, as far as the page goes, and never to their end just to count.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from llmops_resources.checks.display import shown
from llmops_resources.checks.formats import DatasetFormat
from llmops_resources.checks.ranges import Source
from llmops_resources.checks.spool import BOOLEAN, INTEGER, NUMBER, ColumnType, type_of_arrow
from llmops_resources.errors import InvalidInput
from llmops_resources.values import Value

MAX_PAGE = 500
_MAX_CELL = 2_000
_MAX_SCAN = 256 * 1024**2  # of a text file, for one page
_MAX_LINE = 16 * 1024**2
_PAGE_BYTES = 64 * 1024
_TYPED_ROWS = 1_000  # text formats have no schema: types and nullability come from this many first rows
_JSON_TYPES = {
    str: ColumnType.STRING, int: ColumnType.INTEGER, float: ColumnType.NUMBER, bool: ColumnType.BOOLEAN,
    list: ColumnType.LIST, dict: ColumnType.OBJECT,
}  # fmt: skip


class PreviewColumn(Value):
    """`nullable`: the Parquet schema allows nulls, or one of the first rows of a text file has an empty cell."""

    name: str
    type: ColumnType
    nullable: bool


class PreviewStatistics(Value):
    """`bytes` is the file's size. `rows` counts all rows; None where nobody has counted them yet."""

    rows: int | None
    columns: int
    bytes: int
    format: DatasetFormat


class Preview(Value):
    """Rows `offset` and following (from 0), cells as JSON values; long texts are cut and end with an ellipsis."""

    columns: tuple[PreviewColumn, ...]
    rows: tuple[dict[str, Any], ...]
    offset: int
    statistics: PreviewStatistics


@dataclass
class Places:
    """Where rows of a text file begin, learned while it is read: row number → byte. `rows` once its end was seen.

    `head` has its first rows, which tell the types. Kept by the caller from page to page of one unchanging file.
    """

    begins: dict[int, int] = field(default_factory=dict)
    head: list[dict[str, Any]] = field(default_factory=list)
    rows: int | None = None


def preview(
    source: Source | Path, fmt: DatasetFormat, offset: int = 0, limit: int = 20, places: Places | None = None
) -> Preview:
    """The page of at most `limit` rows (up to `MAX_PAGE`) from `offset`, with the schema and basic statistics.

    Raises InvalidInput for a negative offset, a limit out of range, a file that cannot be read, or a page of a text
    file that lies more than 256 MiB beyond the rows that `places` knows.
    """
    if offset < 0 or not 1 <= limit <= MAX_PAGE:
        raise InvalidInput(
            f"No page at offset {offset} with limit {limit}",
            remedy=f"offset is at least 0, limit from 1 to {MAX_PAGE}.",
        )
    stored = Source.of_path(source) if isinstance(source, Path) else source
    total: int | None
    try:
        if fmt is DatasetFormat.PARQUET:
            columns, rows, total = _parquet(stored, offset, limit)
        else:
            columns, rows, total = _text(stored, fmt, offset, limit, places or Places())
    except (pa.ArrowException, csv.Error, ValueError, OSError) as error:
        reason = str(error).split("\n", 1)[0][:200]
        raise InvalidInput(
            f"The file cannot be previewed: {reason}", remedy="Validate the data set and repair what the report names."
        ) from error
    statistics = PreviewStatistics(rows=total, columns=len(columns), bytes=stored.size, format=fmt)
    return Preview(columns=columns, rows=tuple(rows), offset=offset, statistics=statistics)


def _parquet(source: Source, offset: int, limit: int) -> tuple[tuple[PreviewColumn, ...], list[dict[str, Any]], int]:
    with source.open() as stored, pq.ParquetFile(stored, pre_buffer=False, buffer_size=_PAGE_BYTES) as file:
        columns = tuple(
            PreviewColumn(name=column.name, type=type_of_arrow(column.type), nullable=column.nullable)
            for column in file.schema_arrow
        )
        groups, first, before = [], None, 0
        for group in range(file.metadata.num_row_groups):
            after = before + file.metadata.row_group(group).num_rows
            if after > offset and before < offset + limit:
                groups.append(group)
                first = before if first is None else first
            before = after
        rows: list[dict[str, Any]] = []
        skip = offset - (first or 0)
        for batch in file.iter_batches(batch_size=128, row_groups=groups, use_threads=False) if groups else ():
            page = batch.slice(skip, limit - len(rows))
            skip = max(0, skip - batch.num_rows)
            rows += [{name: shown(cell, _MAX_CELL) for name, cell in row.items()} for row in page.to_pylist()]
            if len(rows) == limit:
                break
        return columns, rows, file.metadata.num_rows


class _Lines:
    """The lines of a file from a byte on, and how far they were read."""

    def __init__(self, source: Source, begin: int) -> None:
        self._file = source.open()
        self._file.seek(begin)
        self.at, self._end = begin, begin + _MAX_SCAN

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        line = self._file.readline(_MAX_LINE)
        if not line:
            raise StopIteration
        self.at += len(line)
        if self.at > self._end:
            raise ValueError("this page lies too deep in a text file; page forward, or store the data as Parquet")
        return line


def _csv_records(lines: _Lines, header: list[str]) -> Iterator[dict[str, Any]]:
    for row in csv.reader((line.decode() for line in lines), strict=True):
        if row:
            yield {name: cell or None for name, cell in zip(header, row, strict=False)}


def _jsonl_records(lines: _Lines) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.strip():
            value = orjson.loads(line)
            if not isinstance(value, dict):
                raise ValueError("a line is not a JSON object")
            yield value


def _records(source: Source, fmt: DatasetFormat, begin: int) -> tuple[_Lines, Iterator[dict[str, Any]]]:
    """Records from a byte at which one begins; 0 is the beginning of the file."""
    lines = _Lines(source, begin)
    if fmt is DatasetFormat.JSONL:
        return lines, _jsonl_records(lines)
    csv.field_size_limit(16 * 1024**2)
    first = _Lines(source, 0) if begin else lines
    header = next((row for row in csv.reader((line.decode() for line in first), strict=True) if row), [])
    return lines, _csv_records(lines, header)


def _text(
    source: Source, fmt: DatasetFormat, offset: int, limit: int, places: Places
) -> tuple[tuple[PreviewColumn, ...], list[dict[str, Any]], int | None]:
    if not places.head:
        places.head = list(islice(_records(source, fmt, 0)[1], _TYPED_ROWS))
        places.rows = len(places.head) if len(places.head) < _TYPED_ROWS else None
    page = places.head[offset : offset + limit]
    if offset + limit > len(places.head) and (places.rows is None or offset < places.rows):
        page = _page(source, fmt, offset, limit, places)
    names = list(dict.fromkeys(name for record in (*places.head, *page) for name in record))
    type_of = _csv_type_of if fmt is DatasetFormat.CSV else _type_of
    columns = tuple(
        PreviewColumn(
            name=name,
            type=type_of([record[name] for record in places.head if record.get(name) is not None]),
            nullable=any(record.get(name) is None for record in places.head),
        )
        for name in names
    )
    return columns, [{name: shown(record.get(name), _MAX_CELL) for name in names} for record in page], places.rows


def _page(source: Source, fmt: DatasetFormat, offset: int, limit: int, places: Places) -> list[dict[str, Any]]:
    """Rows from the nearest known place on, learning places on the way."""
    number = max((row for row in places.begins if row <= offset), default=0)
    lines, records = _records(source, fmt, places.begins.get(number, 0))
    page: list[dict[str, Any]] = []
    for record in records:
        if number >= offset:
            page.append(record)
        number += 1
        if number % _TYPED_ROWS == 0:
            places.begins[number] = lines.at
        if len(page) == limit:
            return page
    places.rows = number
    return page


def _type_of(values: list[Any]) -> ColumnType:
    kinds = {_JSON_TYPES[type(value)] for value in values}
    if not kinds:
        return ColumnType.NULL
    if kinds == {ColumnType.INTEGER, ColumnType.NUMBER}:
        return ColumnType.NUMBER
    return next(iter(kinds)) if len(kinds) == 1 else ColumnType.OTHER


def _csv_type_of(values: list[str]) -> ColumnType:
    """The type that all these texts read as, as the structure check would say."""
    forms = ((INTEGER, ColumnType.INTEGER), (NUMBER, ColumnType.NUMBER), (BOOLEAN, ColumnType.BOOLEAN))
    if not values:
        return ColumnType.NULL
    return next((kind for form, kind in forms if all(re.match(form, value) for value in values)), ColumnType.STRING)
