"""The strict reader of Parquet files, for the parsing process only: the footer is judged before any page is decoded."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from llmops_resources.checks.options import CheckOptions
from llmops_resources.checks.problems import Problems
from llmops_resources.checks.readers import UnreadableError, check_names
from llmops_resources.checks.spool import ColumnType, SpooledFile, SpoolWriter, as_json, type_of_arrow

_BATCH_ROWS = 4_096
_THRIFT_BYTES = 32 * 1024**2


def read_parquet(
    path: Path, name: str, spool: SpoolWriter, problems: Problems, options: CheckOptions
) -> tuple[SpooledFile, dict[str, ColumnType]]:
    """The rows of a Parquet file whose footer promises nothing absurd. Raises UnreadableError or a pyarrow error."""
    with pq.ParquetFile(
        path, thrift_string_size_limit=_THRIFT_BYTES, thrift_container_size_limit=1_000_000, pre_buffer=False
    ) as file:
        if what := promises_too_much(file.metadata, path.stat().st_size, options):
            advice = "Upload the real data, in several smaller files if needed."
            problems.add("bomb", f"The file {what}", advice, file=name)
            raise UnreadableError
        schema = file.schema_arrow
        check_names(schema.names, name, problems, options)
        types = {column.name: type_of_arrow(column.type) for column in schema}
        for column, kind in types.items():
            if kind in {ColumnType.BINARY, ColumnType.OTHER}:
                problems.add(
                    "unsupported_type",
                    f"The column {column!r} has the type {schema.field(column).type}, which cannot be checked",
                    "Store text, numbers, booleans, dates, lists or structs; encode binary content elsewhere.",
                    file=name,
                    column=column,
                )
        start = spool.rows
        readable = [column for column, kind in types.items() if kind not in {ColumnType.BINARY, ColumnType.OTHER}]
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=readable, use_threads=False):
            batch.validate(full=True)
            spool.add_batch(pa.table(dict(_flat_columns(batch, types))))
        return SpooledFile(name=name, rows=spool.rows - start), types


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


def _flat_columns(batch: pa.RecordBatch, types: dict[str, ColumnType]) -> Iterator[tuple[str, pa.Array]]:
    """Columns as the spool keeps them: nested values as JSON text, dictionaries decoded, numbers as they are."""
    for column, array in zip(batch.schema.names, batch.columns, strict=True):
        kind = types[column]
        if kind in {ColumnType.LIST, ColumnType.OBJECT}:
            texts = [None if value is None else as_json(value) for value in array.to_pylist(maps_as_pydicts="lossy")]
            yield column, pa.array(texts, pa.large_string())
        elif kind is ColumnType.STRING:
            yield column, array.cast(pa.large_string())
        elif pa.types.is_dictionary(array.type):
            yield column, array.dictionary_decode()
        else:
            yield column, array
