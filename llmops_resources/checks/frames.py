"""The rows of a version's files as one lazy frame, and two versions' columns brought to a common type.

Parquet is scanned where it lies, after its footer was judged; CSV and JSONL go through the strict readers into a spool.
Both happen in a process of its own (`comparing.py`), because native parsers may crash.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from llmops_resources.checks.formats import DatasetFormat, format_of_name
from llmops_resources.checks.options import CheckOptions
from llmops_resources.checks.parquet import promises_too_much
from llmops_resources.checks.parsing import ParseRequest, parse
from llmops_resources.checks.spool import ColumnType, type_of_arrow
from llmops_resources.errors import InvalidInput

_UNITS = ("ns", "us", "ms")


@dataclass(frozen=True)
class Table:
    """One version: its rows in order as they lie there, each column's type as people are told it, and its values."""

    frame: pl.LazyFrame
    types: dict[str, ColumnType]
    values: dict[str, pl.Expr]

    @property
    def rows(self) -> pl.LazyFrame:
        """Every column with its values in its own type."""
        return self.frame.select(self.values.values())


def open_table(files: Sequence[tuple[str, Path]], folder: Path, options: CheckOptions) -> Table:
    """The rows of `files` (declared name, path), all of one format; `folder` is an empty one for the spool.

    Raises InvalidInput when nothing can be read: rows that the check of a data set reports as unreadable are left out.
    """
    formats = {format_of_name(name) for name, _ in files}
    if len(formats) != 1:
        raise InvalidInput("the files of a version have different formats", remedy="Give every file the same format.")
    fmt = formats.pop()
    return _parquet(files, options) if fmt is DatasetFormat.PARQUET else _text(fmt, files, folder, options)


def _parquet(files: Sequence[tuple[str, Path]], options: CheckOptions) -> Table:
    types: dict[str, ColumnType] = {}
    for name, path in files:
        with pq.ParquetFile(path) as file:
            if reason := promises_too_much(file.metadata, path.stat().st_size, options):
                raise InvalidInput(f"{name} {reason}", remedy="Upload the real data, in several smaller files.")
            types |= {field.name: type_of_arrow(field.type) for field in file.schema_arrow}
    frames = [pl.scan_parquet(path, glob=False) for _, path in files]
    frame = frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal_relaxed")
    return Table(frame, types, {name: pl.col(name) for name in types})


def _text(fmt: DatasetFormat, files: Sequence[tuple[str, Path]], folder: Path, options: CheckOptions) -> Table:
    answer = parse(ParseRequest(fmt=fmt, files=tuple(files), folder=folder, options=options))
    spool = answer.spool
    if not spool.rows:
        reason = answer.problems[0].message if answer.problems else "it has no rows"
        raise InvalidInput(f"{files[0][0]} cannot be read: {reason}", remedy="Repair what its validation report names.")
    values = {column.name: spool.typed(column) for column in spool.columns}
    return Table(spool.scan(), {column.name: column.type for column in spool.columns}, values)


def aligned(older: Table, newer: Table, names: Sequence[str]) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Both versions with the columns `names` only, each in a type in which its values can be compared.

    Whole numbers and fractions meet as 64-bit fractions, times in the finer unit; types with nothing in common as text.
    """
    before, after = older.rows.collect_schema(), newer.rows.collect_schema()
    wanted = {name: _common(before[name], after[name]) for name in names}
    return _cast(older, before, wanted), _cast(newer, after, wanted)


def _common(one: pl.DataType, other: pl.DataType) -> pl.DataType:
    if one == other:
        return pl.String() if isinstance(one, pl.Categorical | pl.Enum) else one
    if isinstance(one, pl.Datetime) and isinstance(other, pl.Datetime) and one.time_zone == other.time_zone:
        return pl.Datetime(min(one.time_unit, other.time_unit, key=_UNITS.index), one.time_zone)
    if pl.String in (one, other) or one.is_nested() != other.is_nested():
        return pl.String()
    try:
        empty = [pl.DataFrame(schema={"value": kind}) for kind in (one, other)]
        return pl.concat(empty, how="vertical_relaxed").schema["value"]
    except pl.exceptions.PolarsError:
        return pl.String()


def _cast(table: Table, actual: pl.Schema, wanted: dict[str, pl.DataType]) -> pl.LazyFrame:
    as_written = table.frame.collect_schema()

    def cast(name: str, target: pl.DataType) -> pl.Expr:
        if actual[name] == target:
            return table.values[name]
        if target == pl.String and as_written[name] == pl.String:
            return pl.col(name)  # a number that was written as text is compared with text as it was written
        if target == pl.String and actual[name].is_nested():
            text = pl.struct(pl.col(name).alias("v")).struct.json_encode()
            cut = text.str.slice(5, text.str.len_chars() - 6)
            return pl.when(pl.col(name).is_not_null()).then(cut).alias(name)
        if target == pl.String and actual[name] == pl.Binary:
            return pl.col(name).bin.encode("hex")
        return table.values[name].cast(target)

    return table.frame.select(cast(name, target) for name, target in wanted.items())
