"""The strict reader of Parquet files, for the parsing process only: the footer is judged before any page is decoded."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from llmops_resources.checks.options import CheckOptions
from llmops_resources.checks.problems import Problems
from llmops_resources.checks.readers import UnreadableError, check_names
from llmops_resources.checks.spool import PART_BYTES, ColumnType, SpooledFile, SpoolWriter, as_json, type_of_arrow

_BATCH_ROWS = 16_384
_FEW_ROWS = 64
_THRIFT_BYTES = 32 * 1024**2
_UNCHECKED = {ColumnType.BINARY, ColumnType.OTHER}
_NESTED = {ColumnType.LIST, ColumnType.OBJECT}
# 0001-01-01 and 9999-12-31 in days since 1970: what Python, polars and PostgreSQL can all write down
_CALENDAR = (-719_162, 2_932_896)
_TICKS_A_DAY = {"s": 86_400, "ms": 86_400 * 10**3, "us": 86_400 * 10**6, "ns": 86_400 * 10**9}


def read_parquet(
    path: Path, name: str, spool: SpoolWriter, problems: Problems, options: CheckOptions
) -> tuple[SpooledFile, dict[str, pa.DataType]]:
    """The rows of a Parquet file whose footer promises nothing absurd, and the Arrow type of each column.

    Raises UnreadableError, ValueError or a pyarrow error.
    """
    limits: dict[str, Any] = {
        "thrift_string_size_limit": _THRIFT_BYTES, "thrift_container_size_limit": 1_000_000,
        "pre_buffer": False, "page_checksum_verification": True,
    }  # fmt: skip
    with pq.ParquetFile(path, **limits) as file:
        if what := promises_too_much(file.metadata, path.stat().st_size, options):
            advice = "Upload the real data, in several smaller files if needed."
            problems.add("bomb", f"The file {what}", advice, file=name)
            raise UnreadableError
        schema = file.schema_arrow
        _check_columns(schema, name, problems, options)
        types = {column.name: type_of_arrow(column.type) for column in schema}
        start = spool.rows
        readable = [column for column, kind in types.items() if kind not in _UNCHECKED]
        texts = _folded(file.metadata, schema)
        with pq.ParquetFile(path, read_dictionary=texts, **limits) as folded, spool.overlapping():
            for group in range(file.num_row_groups):
                rows = _rows_at_once(folded, group, texts)
                for batch in file.iter_batches(rows, row_groups=[group], columns=readable, use_threads=False):
                    batch.validate(full=True)
                    spool.add_batch(pa.table(dict(_flat_columns(batch, types))))
    return SpooledFile(name=name, rows=spool.rows - start), {column.name: column.type for column in schema}


def _check_columns(schema: pa.Schema, name: str, problems: Problems, options: CheckOptions) -> None:
    if not schema.names:
        problems.add("no_columns", "The file has no columns", "Upload a file with rows and columns.", file=name)
        raise UnreadableError
    check_names(schema.names, name, problems, options)
    for field in schema:
        if type_of_arrow(field.type) in _UNCHECKED:
            problems.add(
                "unsupported_type",
                f"The column {field.name!r} has the type {field.type}, which cannot be checked",
                "Store text, numbers, booleans, dates, lists or structs; encode binary content elsewhere.",
                file=name,
                column=field.name,
            )


def promises_too_much(meta: pq.FileMetaData, size: int, options: CheckOptions) -> str:
    """What an absurd footer of a file of `size` bytes promises, to follow its name in a sentence; else nothing."""
    decoded = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
    values = meta.num_rows * max(meta.num_columns, 1)
    if meta.num_rows > options.max_rows:
        return f"promises {meta.num_rows} rows; at most {options.max_rows} are accepted"
    if decoded > max(64 * 1024**2, options.max_expansion * size):
        return f"would grow from {size} to {decoded} bytes when it is decoded"
    if values > max(10_000_000, 100 * size):
        return f"promises {values} values in {size} bytes"
    return ""


def _rows_at_once(folded: pq.ParquetFile, group: int, texts: list[str]) -> int:
    """How many rows of a row group can be decoded together within about eight parts of the spool.

    Texts repeat without taking bytes in two ways: as entries of a dictionary, all of which come with the first row of
    a file opened with `read_dictionary`, and as shared beginnings (DELTA_BYTE_ARRAY), of which nothing is known before.
    """
    meta = folded.metadata.row_group(group)
    chunks = [meta.column(position) for position in range(meta.num_columns)]
    if any("DELTA_BYTE_ARRAY" in chunk.encodings for chunk in chunks):
        return _FEW_ROWS
    stored = [chunk.path_in_schema for chunk in chunks if chunk.has_dictionary_page and chunk.path_in_schema in texts]
    if not stored or not meta.num_rows:
        return _BATCH_ROWS
    first = next(folded.iter_batches(1, row_groups=[group], columns=stored, use_threads=False))
    longest = sum(pc.max(pc.binary_length(array.dictionary)).as_py() or 0 for array in first.columns)
    return max(1, min(_BATCH_ROWS, 8 * PART_BYTES // max(longest, 1)))


def _folded(meta: pq.FileMetaData, schema: pa.Schema) -> list[str]:
    """The columns of text whose values stand once in a dictionary: decoded, they may be far larger than the file."""
    groups = [meta.row_group(position) for position in range(meta.num_row_groups)]
    chunks = [group.column(position) for group in groups for position in range(group.num_columns)]
    folded = {chunk.path_in_schema for chunk in chunks if chunk.has_dictionary_page}
    return [field.name for field in schema if field.name in folded and _is_text(field.type)]


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _flat_columns(batch: pa.RecordBatch, types: dict[str, ColumnType]) -> Iterator[tuple[str, pa.Array]]:
    """Columns as the spool keeps them: nested values as JSON text, dictionaries decoded, numbers as they are."""
    for column, array in zip(batch.schema.names, batch.columns, strict=True):
        kind = types[column]
        if kind in _NESTED:
            yield column, pa.array(_as_texts(column, array), pa.large_string())
        elif kind is ColumnType.STRING:
            yield column, array.cast(pa.large_string())
        elif pa.types.is_dictionary(array.type):
            yield column, array.dictionary_decode()
        else:
            if kind in {ColumnType.DATE, ColumnType.DATETIME}:
                _check_calendar(column, array)
            yield column, array


def _as_texts(column: str, array: pa.Array) -> list[str | None]:
    try:
        return [None if value is None else as_json(value) for value in array.to_pylist(maps_as_pydicts="strict")]
    except KeyError as error:
        raise ValueError(f"a map in the column {column!r} has the same key twice") from error


def _check_calendar(column: str, array: pa.Array) -> None:
    kind = array.type
    ticks = (
        _TICKS_A_DAY[kind.unit] if pa.types.is_timestamp(kind)
        else _TICKS_A_DAY["ms"] if pa.types.is_date64(kind)
        else 1
    )  # fmt: skip
    whole = array.view(pa.int32() if pa.types.is_date32(kind) else pa.int64())
    ends = pc.min_max(whole).as_py()
    if ends["min"] is not None and not _CALENDAR[0] <= ends["min"] // ticks <= ends["max"] // ticks <= _CALENDAR[1]:
        raise ValueError(f"the column {column!r} has a time outside the years 1 to 9999")
