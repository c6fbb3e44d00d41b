"""Reading the rows of a work folder's data files."""

from collections.abc import Callable
from pathlib import Path

import polars as pl

from llmops_resources.errors import InvalidInput, ValidationFailed, field_problem

READERS: dict[str, Callable[[Path], pl.LazyFrame]] = {
    ".csv": pl.scan_csv,
    ".jsonl": pl.scan_ndjson,
    ".parquet": pl.scan_parquet,
}


def read_rows(folder: Path, columns: dict[str, str]) -> pl.DataFrame:
    """The named columns of all CSV, JSONL and Parquet files under `folder`, as strings, in file-name order.

    `columns` is from the name of a setting (for the error) to the name of a column.

    Raises:
        InvalidInput: there is no data file, or one cannot be read.
        ValidationFailed: a column is missing; the message lists those that exist.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in READERS)
    if not paths:
        raise InvalidInput(
            f"there is no {', '.join(READERS)} file in {folder}", remedy="put the data set's files there"
        )
    return pl.concat([_read(path, columns) for path in paths])


def _read(path: Path, columns: dict[str, str]) -> pl.DataFrame:
    try:
        frame = READERS[path.suffix.lower()](path)
        existing = frame.collect_schema().names()
        missing = {setting: name for setting, name in columns.items() if name not in existing}
        if not missing:
            return frame.select(pl.col(name).cast(pl.String) for name in columns.values()).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InvalidInput(f"{path.name} cannot be read: {error}", remedy="validate the data set again") from error
    remedy = f"{path.name} has the columns {', '.join(existing)}"
    problems = [field_problem(f"hyperparameters.{s}", f"no column {n!r}", remedy) for s, n in missing.items()]
    raise ValidationFailed(f"{path.name} has no column {', '.join(missing.values())}", remedy=remedy, details=problems)
