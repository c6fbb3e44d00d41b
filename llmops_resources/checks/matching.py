"""Which rows two versions share, by a key or as multisets, from hashes of fixed width instead of the rows themselves.

A row is 64 bits of its cells and 128 bits of its key (a single whole-number, date or boolean key is kept as it is), so
memory grows with the number of rows and not with their width. Hashes are of typed values: null is no empty text, NaN
equals NaN, 0.0 equals -0.0. They are polars', seeded by what is compared, and never stored: another release may
compute others. The odds that two different keys of n rows are taken for one are n² in 2¹²⁸, that a changed row is
taken for an unchanged one 1 in 2⁶⁴.

Rows of a key that occurs more than once: equal rows are unchanged, of the rest as many as possible are modified, what
remains was added or removed. So unchanged + modified + removed is always the older version's row count, and unchanged
+ modified + added the newer one's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

OLDER_ROW, NEWER_ROW = "__older_row", "__newer_row"
_KEY, _CELLS = "__key", "__cells"
_ODD = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class Keying:
    """How rows are told apart: an expression of a row's identity, and one of the cells that may differ under it."""

    identity: pl.Expr
    cells: pl.Expr
    seed: int


@dataclass(frozen=True)
class Match:
    """Counts of rows, and the differing ones (identity, row numbers from 0 in each version; ambiguous keys left out).

    `older_repeated` and `newer_repeated` count keys that occur more than once.
    """

    older_rows: int
    newer_rows: int
    added: int
    removed: int
    modified: int
    older_repeated: int
    newer_repeated: int
    differing: pl.DataFrame

    @property
    def unchanged(self) -> int:
        return self.older_rows - self.removed - self.modified


def keying(schema: pl.Schema, key: Sequence[str], seed: int) -> Keying:
    """For a key: its columns identify a row. Without one: all columns do."""
    rest = [name for name in schema if name not in key]
    cells = pl.lit(0, pl.UInt64)
    for name in rest if key else ():  # a polynomial in an odd number, modulo 2⁶⁴: columns may not change places
        cells = cells * pl.lit(_ODD, pl.UInt64) + pl.col(name).hash(seed)
    first = schema[key[0]] if len(key) == 1 else None
    if first is not None and (first.is_integer() or first in (pl.Boolean, pl.Date)):
        return Keying(pl.col(key[0]).alias(_KEY), cells.alias(_CELLS), seed)
    whole = pl.struct(list(key) or list(schema))
    high, low = (whole.hash(seed + half) for half in (1, 2))
    identity = high.reinterpret(signed=True).cast(pl.Int128) * pl.lit(2**64, pl.Int128) + low.cast(pl.Int128)
    return Keying(identity.alias(_KEY), cells.alias(_CELLS), seed)


def match(older: pl.LazyFrame, newer: pl.LazyFrame, by: Keying) -> Match:
    """Compare two versions with the same columns."""
    left, right = _hashed(older, by), _hashed(newer, by)
    repeated_left, repeated_right = _repeated(left), _repeated(right)
    counts = _Counts()
    rows = left.height, right.height
    if repeated_left.height or repeated_right.height:
        doubled = pl.concat([repeated_left, repeated_right]).unique()
        counts = _within(*(side.join(doubled, on=_KEY, how="semi", nulls_equal=True) for side in (left, right)))
        left, right = (side.join(doubled, on=_KEY, how="anti", nulls_equal=True) for side in (left, right))
    differing = _differing(left, right)
    added, removed = (differing[name].null_count() for name in (OLDER_ROW, NEWER_ROW))
    return Match(
        older_rows=rows[0],
        newer_rows=rows[1],
        added=added + counts.added,
        removed=removed + counts.removed,
        modified=differing.height - added - removed + counts.modified,
        older_repeated=repeated_left.height,
        newer_repeated=repeated_right.height,
        differing=differing,
    )


def multisets(older: pl.LazyFrame, newer: pl.LazyFrame, by: Keying) -> Match:
    """Compare two versions as multisets of rows: a row is unchanged, added or removed."""
    left, right = (_numbered(_hashed(side, by)) for side in (older, newer))
    differing = _differing(left, right, on=(_KEY, _CELLS))
    added, removed = (differing[name].null_count() for name in (OLDER_ROW, NEWER_ROW))
    return Match(left.height, right.height, added, removed, 0, 0, 0, differing.drop(_CELLS))


def fetch(frame: pl.LazyFrame, wanted: pl.DataFrame, by: Keying, columns: Sequence[pl.Expr]) -> pl.DataFrame:
    """`columns` of the rows whose identity is in `wanted`, with the identity."""
    some = frame.filter(by.identity.is_in(wanted[_KEY].implode(), nulls_equal=True))
    return some.select(by.identity, *columns).collect(engine="streaming")


def changed_cells(
    older: pl.LazyFrame, newer: pl.LazyFrame, differing: pl.DataFrame, by: Keying, columns: Sequence[str], budget: int
) -> dict[str, int]:
    """How many cells of each column differ in the modified rows; at most `budget` hashes a side are held at once."""
    modified = differing.drop_nulls([OLDER_ROW, NEWER_ROW])
    width = max(1, budget // max(modified.height, 1))
    counts: dict[str, int] = {}
    for start in range(0, len(columns) if modified.height else 0, width):
        some = columns[start : start + width]
        hashes = [pl.col(name).hash(by.seed) for name in some]
        pairs = fetch(older, modified, by, hashes).join(
            fetch(newer, modified, by, hashes), on=_KEY, nulls_equal=True, suffix="__newer"
        )
        differ = [(pl.col(name) != pl.col(f"{name}__newer")).sum().alias(name) for name in some]
        counts |= pairs.select(differ).row(0, named=True)
    return {name: counts.get(name, 0) for name in columns}


@dataclass(frozen=True)
class _Counts:
    added: int = 0
    removed: int = 0
    modified: int = 0


def _hashed(frame: pl.LazyFrame, by: Keying) -> pl.DataFrame:
    hashed = frame.select(by.identity, by.cells).collect(engine="streaming")
    return hashed.with_row_index("__row")


def _numbered(side: pl.DataFrame) -> pl.DataFrame:
    """Equal rows numbered from 0, in place of their cells, so that each of them can be met once."""
    once = side[_KEY].n_unique() == side.height
    number = pl.lit(0, pl.UInt32) if once else pl.int_range(pl.len(), dtype=pl.UInt32).over(_KEY)
    return side.with_columns(number.alias(_CELLS))


def _repeated(side: pl.DataFrame) -> pl.DataFrame:
    """The identities that occur more than once."""
    if side[_KEY].n_unique() == side.height:
        return side.select(_KEY).clear()
    return side.group_by(_KEY).len().filter(pl.col("len") > 1).select(_KEY)


def _differing(left: pl.DataFrame, right: pl.DataFrame, on: Sequence[str] = (_KEY,)) -> pl.DataFrame:
    """Rows that are not in both with equal cells, by identity; each identity occurs at most once a side."""
    if on == (_KEY,) and _is_ascending(left[_KEY]) and _is_ascending(right[_KEY]):
        return _merged(left, right)
    cells = [] if _CELLS in on else [pl.col(_CELLS).ne_missing(pl.col(f"{_CELLS}__newer"))]
    only = pl.col(OLDER_ROW).is_null() | pl.col(NEWER_ROW).is_null()
    older, newer = left.lazy().rename({"__row": OLDER_ROW}), right.lazy().rename({"__row": NEWER_ROW})
    joined = older.join(newer, on=list(on), how="full", nulls_equal=True, coalesce=True, suffix="__newer")
    kept = joined.filter(pl.any_horizontal(only, *cells)).select(*on, OLDER_ROW, NEWER_ROW)
    return kept.collect(engine="streaming")


def _is_ascending(keys: pl.Series) -> bool:
    return keys.dtype.is_integer() and len(keys) > 0 and keys.null_count() == 0 and keys.is_sorted()


def _merged(left: pl.DataFrame, right: pl.DataFrame) -> pl.DataFrame:
    """As `_differing`, for whole numbers in ascending order: each finds its place, without a table of hashes."""
    keys = right[_KEY]
    at = keys.search_sorted(left[_KEY]).clip(0, len(keys) - 1)
    met = keys.gather(at) == left[_KEY]
    modified = met & (right[_CELLS].gather(at) != left[_CELLS])
    nothing = pl.lit(None, pl.UInt32)
    newer = right["__row"].gather(at.filter(modified)).alias(NEWER_ROW)
    older = pl.col("__row").alias(OLDER_ROW)
    changed = [left.filter(modified).select(_KEY, older, newer)]
    hits = met.sum()
    if hits < left.height:
        changed.append(left.filter(~met).select(_KEY, older, nothing.alias(NEWER_ROW)))
    if hits < right.height:
        added = right.filter(pl.repeat(True, right.height, eager=True).scatter(at.filter(met), False))
        changed.append(added.select(_KEY, nothing.alias(OLDER_ROW), pl.col("__row").alias(NEWER_ROW)))
    return pl.concat(changed)


def _within(left: pl.DataFrame, right: pl.DataFrame) -> _Counts:
    """The counts of keys that occur more than once in a version."""
    groups = [side.group_by(_KEY, _CELLS).len() for side in (left, right)]
    both = groups[0].join(
        groups[1], on=[_KEY, _CELLS], how="full", nulls_equal=True, coalesce=True, suffix="__newer"
    )
    older, newer = pl.col("len").fill_null(0), pl.col("len__newer").fill_null(0)
    same = pl.min_horizontal(older, newer)
    keys = both.group_by(_KEY).agg((older - same).sum().alias("older"), (newer - same).sum().alias("newer"))
    pairs = pl.min_horizontal("older", "newer")
    added, removed, modified = keys.select(
        (pl.col("newer") - pairs).sum().alias("added"), (pl.col("older") - pairs).sum().alias("removed"), pairs.sum()
    ).row(0)
    return _Counts(added, removed, modified)
