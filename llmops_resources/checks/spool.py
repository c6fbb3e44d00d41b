"""The private copy of a data set that every check after the parser reads: small Parquet parts of bounded row groups."""

import json
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import zip_longest
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from llmops_resources.errors import Unavailable
from llmops_resources.values import Value

PART_BYTES = 16 * 1024**2
PART_ROWS = 20_000
_PLAIN_BYTES = 1024**3  # so much is written as it is, which takes a third of the time; beyond, room counts for more
ROOM_REMEDY = "Free space in the temporary folder of the server, then try it again; the file was not judged."
INTEGER = r"^-?(0|[1-9][0-9]{0,17})$"
NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$"
_EXACT_NUMBER = r"^-?(0|[1-9][0-9]{0,17})(\.[0-9]+)?([eE][+-]?[0-9]+)?$"
BOOLEAN = r"^(true|false|True|False|TRUE|FALSE)$"


class ColumnType(StrEnum):
    """The type of a column as people are told it."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "datetime"
    LIST = "list"
    OBJECT = "object"
    BINARY = "binary"
    NULL = "null"
    OTHER = "other"


class SpooledFile(Value):
    """One file: how many rows could be read, and the numbers (from 1, ascending) of those that could not."""

    name: str
    rows: int
    skipped: tuple[int, ...] = ()

    def number(self, index: int) -> int:
        """The row number in the file, from 1, of the readable row with this index."""
        return index + 1 + bisect_right(range(len(self.skipped)), index, key=lambda i: self.skipped[i] - 1 - i)


class SpooledColumn(Value):
    name: str
    type: ColumnType


class Spool(Value):
    """What the parser left in `folder`: parts in row order. Text that stands for another type is still text there."""

    folder: Path
    files: tuple[SpooledFile, ...]
    columns: tuple[SpooledColumn, ...]

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)

    @property
    def unreadable(self) -> int:
        return sum(len(file.skipped) for file in self.files)

    def parts(self) -> list[Path]:
        return sorted(self.folder.glob("part-*.parquet"))

    def scan(self) -> pl.LazyFrame:
        """Every row, all columns present (null where a part lacks one), types as spooled."""
        frames = [pl.scan_parquet(part, glob=False) for part in self.parts()]
        names = [column.name for column in self.columns]
        return (
            pl.concat(frames, how="diagonal_relaxed").select(names) if frames else pl.LazyFrame({n: [] for n in names})
        )

    def frames(self) -> Iterator[tuple[int, pl.DataFrame]]:
        """Part by part: the number of rows before it and its rows."""
        before = 0
        for part in self.parts():
            frame = pl.read_parquet(part, glob=False)
            yield before, frame
            before += frame.height

    def typed(self, column: SpooledColumn) -> pl.Expr:
        """The column's values in its own type, where they were spooled as text."""
        target = {ColumnType.INTEGER: pl.Int64, ColumnType.NUMBER: pl.Float64}.get(column.type)
        expression = pl.col(column.name)
        return expression.cast(target, strict=False) if target is not None else expression

    def place(self, row: int) -> tuple[str, int]:
        """File name and row in that file, counted from 1, of the row with index `row` in the whole data set."""
        for file in self.files:
            if row < file.rows:
                return file.name, file.number(row)
            row -= file.rows
        raise IndexError(row)


@dataclass
class SpoolWriter:
    """Writes rows of text (`add_row`) or Arrow batches (`add_batch`) as parts, holding one or two parts in memory.

    Raises Unavailable when a part cannot be written; nothing of that part stays.
    """

    folder: Path
    budget: int  # bytes that decoded data may take in all
    written: int = 0
    rows: int = 0
    _part: int = 0
    _names: tuple[str, ...] = ()
    _given: Collection[str] = ()
    _pending: list[Sequence[str | None]] = field(default_factory=list)
    _pending_bytes: int = 0
    _batches: list[pa.Table] = field(default_factory=list)
    _pool: Executor | None = None
    _underway: "Future[None] | None" = None

    @contextmanager
    def overlapping(self) -> Iterator[None]:
        """Within it a thread writes one part while the next rows are decoded; all are written, or it raises, after."""
        try:
            with ThreadPoolExecutor(1) as self._pool:
                yield
                self.flush()
            if self._underway:
                self._underway.result()
        finally:
            self._pool = self._underway = None

    def add_row(self, names: Collection[str], cells: Sequence[str | None], size: int) -> None:
        """One row; `size` is about its bytes. `names` that do not begin with those before start a new part."""
        if names is not self._given:
            if tuple(names)[: len(self._names)] != self._names:
                self.flush()
            self._given, self._names = names, tuple(names)
        self._pending.append(cells)
        self._pending_bytes += size
        if len(self._pending) >= PART_ROWS or self._pending_bytes >= PART_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is pending; call it at the end of every file."""
        if self._pending:
            columns = zip_longest(*self._pending)
            table = pa.table([pa.array(column, pa.large_string()) for column in columns], names=list(self._names))
            self._pending, self._pending_bytes = [], 0
            self._count(table)
            self._write(table)
        if self._batches:
            table, self._batches = pa.concat_tables(self._batches), []
            self._write(table)

    def add_batch(self, table: pa.Table) -> None:
        self._count(table)
        self._batches.append(table)
        if sum(batch.nbytes for batch in self._batches) >= PART_BYTES:
            self.flush()

    def _count(self, table: pa.Table) -> None:
        self.rows += table.num_rows
        self.written += table.nbytes
        if self.written > self.budget:
            raise ExpansionError(self.budget)

    def _write(self, table: pa.Table) -> None:
        path = self.folder / f"part-{self._part:06d}.parquet"
        self._part += 1
        compression = "none" if self.written <= _PLAIN_BYTES else "lz4"
        if self._pool is None:
            _write_part(table, path, compression)
            return
        if self._underway:
            self._underway.result()  # never more than one part in waiting
        self._underway = self._pool.submit(_write_part, table, path, compression)


def _write_part(table: pa.Table, path: Path, compression: str) -> None:
    try:
        pq.write_table(table, path, compression=compression, use_dictionary=False, write_statistics=False)
    except OSError as error:  # the disk's fault, where an OSError of reading is the file's
        path.unlink(missing_ok=True)
        raise Unavailable(
            f"the rows cannot be put on the disk for their checks: {str(error).partition(chr(10))[0][:200]}",
            remedy=ROOM_REMEDY,
        ) from error


class ExpansionError(Exception):
    """The decoded data is larger than any honest file of this size."""


def inferred_types(texts: pl.LazyFrame, names: Sequence[str]) -> dict[str, ColumnType]:
    """The narrowest type that every non-null text of each CSV column reads as.

    Text stays what a number would not give back: leading zeros, and whole numbers or exponents beyond 64 bits.
    """
    tests = {"integer": INTEGER, "number": _EXACT_NUMBER, "boolean": BOOLEAN}
    fits = texts.select(
        test.alias(f"{position}-{kind}")
        for position, name in enumerate(names)
        for kind, test in (
            ("any", pl.col(name).is_not_null().any()),
            *((kind, pl.col(name).str.contains(pattern).all()) for kind, pattern in tests.items()),
        )
    )
    row = fits.collect(engine="streaming").row(0, named=True) if names else {}
    types: dict[str, ColumnType] = {}
    for position, name in enumerate(names):
        fit = next((kind for kind in tests if row[f"{position}-{kind}"]), "string")
        types[name] = ColumnType(fit if row[f"{position}-any"] else "null")
    numbers = [name for name, kind in types.items() if kind is ColumnType.NUMBER]
    finite = texts.select(pl.col(name).cast(pl.Float64, strict=False).is_finite().all() for name in numbers)
    for name, good in (finite.collect(engine="streaming").row(0, named=True) if numbers else {}).items():
        types[name] = ColumnType.NUMBER if good else ColumnType.STRING
    return types


def type_of_arrow(kind: pa.DataType) -> ColumnType:
    """The column type of an Arrow type."""
    tests: tuple[tuple[Any, ColumnType], ...] = (
        (pa.types.is_boolean, ColumnType.BOOLEAN),
        (pa.types.is_integer, ColumnType.INTEGER),
        (pa.types.is_floating, ColumnType.NUMBER),
        (pa.types.is_decimal, ColumnType.NUMBER),
        (pa.types.is_string, ColumnType.STRING),
        (pa.types.is_large_string, ColumnType.STRING),
        (pa.types.is_string_view, ColumnType.STRING),
        (pa.types.is_date, ColumnType.DATE),
        (pa.types.is_timestamp, ColumnType.DATETIME),
        (pa.types.is_map, ColumnType.OBJECT),
        (pa.types.is_struct, ColumnType.OBJECT),
        (pa.types.is_list, ColumnType.LIST),
        (pa.types.is_large_list, ColumnType.LIST),
        (pa.types.is_fixed_size_list, ColumnType.LIST),
        (pa.types.is_binary, ColumnType.BINARY),
        (pa.types.is_large_binary, ColumnType.BINARY),
        (pa.types.is_fixed_size_binary, ColumnType.BINARY),
        (pa.types.is_binary_view, ColumnType.BINARY),
        (pa.types.is_null, ColumnType.NULL),
    )
    if pa.types.is_dictionary(kind):
        return type_of_arrow(kind.value_type)
    return next((label for test, label in tests if test(kind)), ColumnType.OTHER)


def as_json(value: object) -> str:
    """Compact JSON text of a nested value; what JSON cannot say (dates, bytes, decimals) becomes its string."""
    return json.dumps(value, ensure_ascii=False, default=str, separators=(",", ":"))
