"""A page of rows for people to look at, straight from a file that passed the structure check."""

import csv
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from llmops_resources.checks.formats import DatasetFormat
from llmops_resources.checks.spool import BOOLEAN, INTEGER, NUMBER, ColumnType, type_of_arrow
from llmops_resources.errors import InvalidInput
from llmops_resources.values import Value

MAX_PAGE = 500
_MAX_CELL = 2_000
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
    """`bytes` is the file's size. `rows` counts all rows of the file."""

    rows: int
    columns: int
    bytes: int
    format: DatasetFormat


class Preview(Value):
    """Rows `offset` and following (from 0), cells as JSON values; long texts are cut and end with an ellipsis."""

    columns: tuple[PreviewColumn, ...]
    rows: tuple[dict[str, Any], ...]
    offset: int
    statistics: PreviewStatistics


def preview(path: Path, fmt: DatasetFormat, offset: int = 0, limit: int = 20) -> Preview:
    """The page of at most `limit` rows (up to `MAX_PAGE`) from `offset`, with the schema and basic statistics.

    Parquet reads only the row groups of the page; CSV and JSONL stream the file once, in bounded memory, to count.
    Raises InvalidInput for a negative offset, a limit out of range, or a file that cannot be read.
    """
    if offset < 0 or not 1 <= limit <= MAX_PAGE:
        raise InvalidInput(
            f"No page at offset {offset} with limit {limit}",
            remedy=f"offset is at least 0, limit from 1 to {MAX_PAGE}.",
        )
    try:
        if fmt is DatasetFormat.PARQUET:
            columns, rows, total = _parquet(path, offset, limit)
        else:
            is_csv = fmt is DatasetFormat.CSV
            records = _csv_records(path) if is_csv else _jsonl_records(path)
            columns, rows, total = _text(records, _csv_type_of if is_csv else _type_of, offset, limit)
    except (pa.ArrowException, csv.Error, ValueError, OSError) as error:
        reason = str(error).split("\n", 1)[0][:200]
        raise InvalidInput(
            f"The file cannot be previewed: {reason}", remedy="Validate the data set and repair what the report names."
        ) from error
    statistics = PreviewStatistics(rows=total, columns=len(columns), bytes=path.stat().st_size, format=fmt)
    return Preview(columns=columns, rows=tuple(rows), offset=offset, statistics=statistics)


def _parquet(path: Path, offset: int, limit: int) -> tuple[tuple[PreviewColumn, ...], list[dict[str, Any]], int]:
    with pq.ParquetFile(path) as file:
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
        for batch in file.iter_batches(batch_size=1_024, row_groups=groups, use_threads=False) if groups else ():
            page = batch.slice(skip, limit - len(rows))
            skip = max(0, skip - batch.num_rows)
            rows += [{name: _shown(cell) for name, cell in row.items()} for row in page.to_pylist()]
            if len(rows) == limit:
                break
        return columns, rows, file.metadata.num_rows


def _csv_records(path: Path) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(16 * 1024**2)
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file, strict=True)
        header = next((row for row in reader if row), [])
        for row in reader:
            if row:
                yield {name: cell or None for name, cell in zip(header, row, strict=False)}


def _jsonl_records(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                value = orjson.loads(line)
                if not isinstance(value, dict):
                    raise ValueError("a line is not a JSON object")
                yield value


def _text(
    records: Iterator[dict[str, Any]], type_of: Callable[[list[Any]], ColumnType], offset: int, limit: int
) -> tuple[tuple[PreviewColumn, ...], list[dict[str, Any]], int]:
    head = list(islice(records, _TYPED_ROWS))
    page = head[offset : offset + limit]
    total = len(head)
    for record in records:
        if offset <= total < offset + limit:
            page.append(record)
        total += 1
    names = list(dict.fromkeys(name for record in (*head, *page) for name in record))
    columns = tuple(
        PreviewColumn(
            name=name,
            type=type_of([record[name] for record in head if record.get(name) is not None]),
            nullable=any(record.get(name) is None for record in head),
        )
        for name in names
    )
    return columns, [{name: _shown(record.get(name)) for name in names} for record in page], total


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


def _shown(cell: Any) -> Any:
    """A cell as JSON, within bounds."""
    if cell is None or isinstance(cell, bool | int | float):
        return cell
    text = (
        cell
        if isinstance(cell, str)
        else orjson.dumps(cell, default=str).decode()
        if isinstance(cell, list | dict)
        else str(cell)
    )
    if len(text) > _MAX_CELL:
        return text[: _MAX_CELL - 1] + "…"
    return cell if isinstance(cell, list | dict) else text
