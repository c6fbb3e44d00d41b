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

_BATCH_ROWS = 4_096
_THRIFT_BYTES = 32 * 1024**2
_UNCHECKED = {ColumnType.BINARY, ColumnType.OTHER}
_NESTED = {ColumnType.LIST, ColumnType.OBJECT}
_WORDED = {ColumnType.STRING, *_NESTED}
# 0001-01-01 and 9999-12-31 in days since 1970: what Python, polars and PostgreSQL can all write down
_CALENDAR = (-719_162, 2_932_896)
_TICKS_A_DAY = {"s": 86_400, "ms": 86_400 * 10**3, "us": 86_400 * 10**6, "ns": 86_400 * 10**9}


def read_parquet(
    path: Path, name: str, spool: SpoolWriter, problems: Problems, options: CheckOptions
) -> tuple[SpooledFile, dict[str, pa.DataType]]:
    """The rows of a Parquet file whose footer promises nothing absurd, and the Arrow type of each column.

    Texts are read as dictionaries where the file has them so, since a dictionary can stand for far more than its
    bytes: they are decoded a few rows at a time. Raises UnreadableError, ValueError or a pyarrow error.
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
        folded = _folded_texts(file)
    types = {column.name: type_of_arrow(column.type) for column in schema}
    start = spool.rows
    readable = [column for column, kind in types.items() if kind not in _UNCHECKED]
    with pq.ParquetFile(path, read_dictionary=folded, **limits) as file:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=readable, use_threads=False):
            batch.validate(full=True)
            for piece in _small_enough(batch):
                spool.add_batch(pa.table(dict(_flat_columns(piece, types))))
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


def _folded_texts(file: pq.ParquetFile) -> list[str]:
    """The text columns that are stored with a dictionary somewhere."""
    texts = {field.name for field in file.schema_arrow if _is_text(field.type)}
    meta = file.metadata
    return [
        file.schema.column(position).path
        for position in range(meta.num_columns if meta.num_row_groups else 0)
        if file.schema.column(position).path in texts
        and any(meta.row_group(group).column(position).has_dictionary_page for group in range(meta.num_row_groups))
    ]


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _small_enough(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The batch in pieces whose decoded texts fit a part of the spool, or of one row."""
    if batch.num_rows <= 1 or sum(map(_decoded_bytes, batch.columns)) <= 4 * PART_BYTES:
        yield batch
        return
    half = batch.num_rows // 2
    yield from _small_enough(batch.slice(0, half))
    yield from _small_enough(batch.slice(half))


def _decoded_bytes(array: pa.Array) -> int:
    if not pa.types.is_dictionary(array.type) or not _is_text(array.type.value_type):
        return 0
    lengths = pc.binary_length(array.dictionary).cast(pa.int64())
    return int(pc.sum(lengths.take(array.indices)).as_py() or 0)


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
