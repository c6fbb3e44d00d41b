"""What changed between two versions of a data set: rows, cells, schema and distributions."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import polars as pl
from pydantic import Field

from llmops_resources.checks.display import shown
from llmops_resources.checks.drift import Counted, Drift, Verdict, drift
from llmops_resources.checks.frames import Table, aligned
from llmops_resources.checks.matching import (
    NEWER_ROW,
    OLDER_ROW,
    Keying,
    Match,
    changed_cells,
    fetch,
    keying,
    match,
    multisets,
)
from llmops_resources.checks.spool import ColumnType
from llmops_resources.errors import InvalidInput, ValidationFailed, field_problem
from llmops_resources.values import Value, sha256_of

PROTOCOL = 1  # of what is counted; a stored comparison of another number is made again
_HELD_HASHES = 4_000_000  # 32 MB a side
_SAMPLE_CELLS = 3_000
_LONGEST_CELL = 300


class DiffOptions(Value):
    """`key` columns tell rows apart, none compares rows as wholes; the first `sample` rows of each change are kept."""

    key: tuple[str, ...] = ()
    sample: Annotated[int, Field(ge=0, le=200)] = 50


class Change(StrEnum):
    ADDED = "added"
    REMOVED = "removed"
    MODIFIED = "modified"


class RowCounts(Value):
    """Rows of both versions and what became of them; `…_repeated_keys` counts keys that occur more than once."""

    older: int
    newer: int
    added: int
    removed: int
    modified: int
    unchanged: int
    older_repeated_keys: int = 0
    newer_repeated_keys: int = 0


class ColumnChange(Value):
    """One column in both versions: its types (None: it is not there), empty cells, and changed cells.

    `changed_cells` counts cells of modified rows whose key is unique in both versions; None where nothing is compared.
    """

    name: str
    older_type: ColumnType | None
    newer_type: ColumnType | None
    older_nulls: int | None
    newer_nulls: int | None
    changed_cells: int | None

    @property
    def in_both(self) -> bool:
        return self.older_type is not None and self.newer_type is not None


class RowChange(Value):
    """One row of the sample: row numbers from 1, its cells before and after, and the columns that differ."""

    change: Change
    older_row: int | None
    newer_row: int | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    changed: tuple[str, ...] = ()


class Diff(Value):
    """A whole comparison. `sample` has the first rows of each change, in the order of the files."""

    key: tuple[str, ...]
    rows: RowCounts
    columns: tuple[ColumnChange, ...]
    added_columns: tuple[str, ...]
    removed_columns: tuple[str, ...]
    retyped_columns: tuple[str, ...]
    drift: tuple[Drift, ...]
    verdict: Verdict
    sample: tuple[RowChange, ...]


def compare(older: Table, newer: Table, options: DiffOptions, *, content: Sequence[str]) -> Diff:
    """Compare two versions in their common columns.

    `content` names what is compared (digests): with the options it seeds the hashes, so equal inputs give equal
    results and nobody can craft rows that collide. Raises ValidationFailed for a key column that is not in both,
    InvalidInput for versions without a common column.
    """
    common = [name for name in older.types if name in newer.types]
    if not common:
        raise InvalidInput("the versions have no column in common", remedy="Compare versions of the same data.")
    _check_key(options.key, older, newer)
    before, after = aligned(older, newer, common)
    seed = int(sha256_of([*content, PROTOCOL]).removeprefix("sha256:")[:12], 16)
    by = keying(before.collect_schema(), options.key, seed)
    found = (match if options.key else multisets)(before, after, by)
    payload = [name for name in common if name not in options.key]
    cells = changed_cells(before, after, found.differing, by, _HELD_HASHES) if options.key else {}
    retyped = tuple(name for name in common if older.types[name] != newer.types[name])
    rows = (found.older_rows, found.newer_rows)
    judged = [name for name in payload if name not in retyped]
    counted = drift(before, after, rows, common, judged)
    drifts = (*counted.drift, *(Drift(column=name, reason="its type changed") for name in retyped))
    return Diff(
        key=options.key,
        rows=_row_counts(found),
        columns=_columns(older, newer, counted, cells),
        added_columns=tuple(name for name in newer.types if name not in older.types),
        removed_columns=tuple(name for name in older.types if name not in newer.types),
        retyped_columns=retyped,
        drift=drifts,
        verdict=overall([each.verdict for each in drifts]),
        sample=_sample(before, after, found.differing, by, options),
    )


def overall(verdicts: Sequence[Verdict]) -> Verdict:
    """Drifted if any column is; stable only if every column is."""
    if Verdict.DRIFTED in verdicts:
        return Verdict.DRIFTED
    return Verdict.STABLE if verdicts and set(verdicts) == {Verdict.STABLE} else Verdict.UNKNOWN


def _check_key(key: Sequence[str], older: Table, newer: Table) -> None:
    problems = []
    for name in key:
        missing = [which for which, side in (("older", older), ("newer", newer)) if name not in side.types]
        if missing:
            where = " and the ".join(missing)
            remedy = f"Choose among {', '.join(sorted(older.types.keys() & newer.types.keys())[:20])}."
            problems.append(field_problem("key", f"the {where} version has no column {name!r}", remedy))
    if len(set(key)) != len(key):
        problems.append(field_problem("key", "a column is named twice", "Name every key column once."))
    if problems:
        raise ValidationFailed("the versions cannot be compared by this key", details=problems)


def _row_counts(found: Match) -> RowCounts:
    return RowCounts(
        older=found.older_rows,
        newer=found.newer_rows,
        added=found.added,
        removed=found.removed,
        modified=found.modified,
        unchanged=found.unchanged,
        older_repeated_keys=found.older_repeated,
        newer_repeated_keys=found.newer_repeated,
    )


def _columns(older: Table, newer: Table, counted: Counted, cells: dict[str, int]) -> tuple[ColumnChange, ...]:
    nulls = [_nulls(older, counted.older_nulls), _nulls(newer, counted.newer_nulls)]
    return tuple(
        ColumnChange(
            name=name,
            older_type=older.types.get(name),
            newer_type=newer.types.get(name),
            older_nulls=nulls[0].get(name),
            newer_nulls=nulls[1].get(name),
            changed_cells=cells.get(name),
        )
        for name in dict.fromkeys((*older.types, *newer.types))
    )


def _nulls(side: Table, known: dict[str, int]) -> dict[str, int]:
    """The empty cells of every column; those that only this side has are counted here."""
    more = [side.values[name].null_count() for name in side.types if name not in known]
    return known | (side.frame.select(more).collect(engine="streaming").row(0, named=True) if more else {})


def _sample(
    before: pl.LazyFrame, after: pl.LazyFrame, differing: pl.DataFrame, by: Keying, options: DiffOptions
) -> tuple[RowChange, ...]:
    names = before.collect_schema().names()
    size = min(options.sample, max(1, _SAMPLE_CELLS // len(names)))
    older, newer = pl.col(OLDER_ROW), pl.col(NEWER_ROW)
    kinds = {
        Change.ADDED: differing.filter(older.is_null()).sort(NEWER_ROW).head(size),
        Change.REMOVED: differing.filter(newer.is_null()).sort(OLDER_ROW).head(size),
        Change.MODIFIED: differing.filter(older.is_not_null() & newer.is_not_null()).sort(OLDER_ROW).head(size),
    }
    wanted = pl.concat(kinds.values())
    if wanted.is_empty():
        return ()
    sides = [_rows(frame, wanted, by) for frame in (before, after)]
    return tuple(
        _row_change(change, numbers, sides[0].get(key), sides[1].get(key))
        for change, rows in kinds.items()
        for key, *numbers in rows.select(rows.columns[0], OLDER_ROW, NEWER_ROW).iter_rows()
    )


@dataclass(frozen=True)
class _Row:
    cells: dict[str, Any]
    hashes: tuple[int, ...]


def _rows(frame: pl.LazyFrame, wanted: pl.DataFrame, by: Keying) -> dict[Any, _Row]:
    """Rows by identity. Texts are cut before they are read; whether a cell changed is told by its hash."""
    schema = frame.collect_schema()
    cut = [
        pl.col(name).str.slice(0, _LONGEST_CELL + 1) if kind == pl.String else pl.col(name)
        for name, kind in schema.items()
    ]
    hashes = [pl.col(name).hash(by.seed).alias(f"{name}\0hash") for name in schema]
    found = fetch(frame, wanted, by, [*cut, *hashes])
    width = len(schema)
    return {
        row[0]: _Row(
            {name: shown(cell, _LONGEST_CELL) for name, cell in zip(schema, row[1:], strict=False)}, row[1 + width :]
        )
        for row in found.iter_rows()
    }


def _row_change(change: Change, numbers: Sequence[int | None], before: _Row | None, after: _Row | None) -> RowChange:
    older, newer = (None if number is None else number + 1 for number in numbers)
    if change is Change.ADDED:
        before = None
    if change is Change.REMOVED:
        after = None
    changed: tuple[str, ...] = ()
    if before is not None and after is not None:
        pairs = zip(before.cells, before.hashes, after.hashes, strict=True)
        changed = tuple(name for name, one, other in pairs if one != other)
    return RowChange(
        change=change, older_row=older, newer_row=newer, before=before.cells if before else None,
        after=after.cells if after else None, changed=changed,
    )  # fmt: skip
