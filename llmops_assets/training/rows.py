"""Reading the rows of a work folder's data files."""

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from llmops_resources.errors import InvalidInput, ValidationFailed, field_problem

READERS: dict[str, Callable[[Path], pl.LazyFrame]] = {
    ".csv": pl.scan_csv,
    ".jsonl": pl.scan_ndjson,
    ".parquet": pl.scan_parquet,
}


ROWS_AT_ONCE = 10_000


def read_rows(folder: Path, columns: dict[str, str]) -> pl.DataFrame:
    """The named columns of all CSV, JSONL and Parquet files under `folder`, as strings, in file-name order.

    `columns` is from the name of a setting (for the error) to the name of a column.

    Raises:
        InvalidInput: there is no data file, or one cannot be read.
        ValidationFailed: a column is missing; the message lists those that exist.
    """
    return pl.concat(stream_rows(folder, columns))


def stream_rows(folder: Path, columns: dict[str, str]) -> Iterator[pl.DataFrame]:
    """The same rows in the same order, some thousands at a time. Raises what `read_rows` raises."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in READERS)
    if not paths:
        raise InvalidInput(
            f"there is no {', '.join(READERS)} file in {folder}", remedy="put the data set's files there"
        )
    for path in paths:
        yield from _read(path, columns)


def _read(path: Path, columns: dict[str, str]) -> Iterator[pl.DataFrame]:
    try:
        frame = READERS[path.suffix.lower()](path)
        existing = frame.collect_schema().names()
        missing = {setting: name for setting, name in columns.items() if name not in existing}
        if not missing:
            wanted = frame.select(pl.col(name).cast(pl.String) for name in columns.values())
            # The first frame may be empty, but it is there: it carries the columns.
            yield wanted.head(0).collect()
            yield from wanted.collect_batches(chunk_size=ROWS_AT_ONCE, maintain_order=True)
            return
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InvalidInput(f"{path.name} cannot be read: {error}", remedy="validate the data set again") from error
    remedy = f"{path.name} has the columns {', '.join(existing)}"
    problems = [field_problem(f"hyperparameters.{s}", f"no column {n!r}", remedy) for s, n in missing.items()]
    raise ValidationFailed(f"{path.name} has no column {', '.join(missing.values())}", remedy=remedy, details=problems)
