"""Which rows two versions share, by a key or as multisets, from hashes of fixed width instead of the rows themselves.

A row is 64 bits of its cells and 128 bits of its key (a single whole-number, date or boolean key is kept as it is), so
memory grows with the number of rows and not with their width. Hashes are of typed values: null is no empty text, NaN
equals NaN, 0.0 equals -0.0. They are polars', seeded by what is compared, and never stored: another release may
compute others. The odds that two different keys of n rows are taken for one are n² in 2¹²⁸, that a changed row is
taken for an unchanged one 1 in 2⁶⁴, and as small that a changed cell of a modified row is not counted.

Rows of a key that occurs more than once: equal rows are unchanged, of the rest as many as possible are modified, what
remains was added or removed. So unchanged + modified + removed is always the older version's row count, and unchanged
+ modified + added the newer one's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

OLDER_ROW, NEWER_ROW = "__older_row", "__newer_row"
_KEY, _CELLS = "__key", "__cells"
_DELTA = "__delta"  # by how much the cells' hash of a modified row grew, modulo 2⁶⁴
_ODD = 0x9E3779B97F4A7C15
_SPREAD = 4  # keys that span at most so many numbers a row are found by their place in a table
_TELLING = 64  # modified rows that tell which columns to count first


@dataclass(frozen=True)
class Keying:
    """How rows are told apart: an expression of a row's identity, and one of the cells that may differ under it.

    `cells` is the sum of the hashes of the columns in `weights`, each times its weight, modulo 2⁶⁴.
    """

    identity: pl.Expr
    cells: pl.Expr
    seed: int
    weights: dict[str, int]


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
    # powers of an odd number: columns may not change places
    weights = {name: pow(_ODD, power, 2**64) for power, name in enumerate(rest)} if key else {}
    cells = pl.lit(0, pl.UInt64)
    for name in reversed(weights):
        cells = cells * pl.lit(_ODD, pl.UInt64) + pl.col(name).hash(seed)
    first = schema[key[0]] if len(key) == 1 else None
    if first is not None and (first.is_integer() or first in (pl.Boolean, pl.Date)):
        return Keying(pl.col(key[0]).alias(_KEY), cells.alias(_CELLS), seed, weights)
    whole = pl.struct(list(key) or list(schema))
    high, low = (whole.hash(seed + half) for half in (1, 2))
    identity = high.reinterpret(signed=True).cast(pl.Int128) * pl.lit(2**64, pl.Int128) + low.cast(pl.Int128)
    return Keying(identity.alias(_KEY), cells.alias(_CELLS), seed, weights)


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
    older: pl.LazyFrame, newer: pl.LazyFrame, differing: pl.DataFrame, by: Keying, budget: int
) -> dict[str, int]:
    """How many cells of each column differ in the modified rows; at most `budget` hashes a side are held at once.

    Columns that differ in the first of these rows are read first. A row whose changes they explain, because with them
    the hash of its cells grew by as much as it did, has no others, so that other columns are read for the rest only.
    """
    unexplained = differing.drop_nulls([OLDER_ROW, NEWER_ROW])
    counts = dict.fromkeys(by.weights, 0)
    width = max(1, budget // max(unexplained.height, 1))
    likely = _likely(older, newer, unexplained, by, min(width, _TELLING))
    for names in (likely, [name for name in by.weights if name not in likely]):
        for start in range(0, len(names), width):
            if unexplained.is_empty():
                return counts
            some = names[start : start + width]
            pairs = _pairs(older, newer, unexplained, by, some)
            for name, changed in pairs.select(_differs(some)).row(0, named=True).items():
                counts[name] += changed
            grown = ((_newer(name) - pl.col(name)) * pl.lit(by.weights[name], pl.UInt64) for name in some)
            left = (pl.col(_DELTA) - pl.sum_horizontal(grown)).alias(_DELTA)
            unexplained = pairs.select(_KEY, left).filter(pl.col(_DELTA) != 0)
    return counts


def _likely(
    older: pl.LazyFrame, newer: pl.LazyFrame, modified: pl.DataFrame, by: Keying, together: int
) -> list[str]:
    """The columns that differ in the first modified rows; none when these do not lie close together in both."""
    first = modified.sort(OLDER_ROW).head(_TELLING)
    windows = []
    for frame, rows in ((older, first[OLDER_ROW].sort()), (newer, first[NEWER_ROW].sort())):
        if not len(rows) or _SPREAD * (rows[-1] - rows[0]) > modified[rows.name].sort()[-1]:
            return []
        windows.append(frame.slice(rows[0], rows[-1] - rows[0] + 1))
    names = list(by.weights)
    found: dict[str, int] = {}
    for start in range(0, len(names), together):
        some = names[start : start + together]
        found |= _pairs(windows[0], windows[1], first, by, some).select(_differs(some)).row(0, named=True)
    return [name for name in names if found[name]]


def _pairs(
    older: pl.LazyFrame, newer: pl.LazyFrame, modified: pl.DataFrame, by: Keying, names: Sequence[str]
) -> pl.DataFrame:
    """The modified rows, with the hash of each of the cells before and after."""
    hashes = [pl.col(name).hash(by.seed) for name in names]
    before, after = (fetch(frame, modified, by, hashes) for frame in (older, newer))
    both = before.join(after, on=_KEY, nulls_equal=True, suffix="__newer")
    return both.join(modified.select(_KEY, _DELTA), on=_KEY, nulls_equal=True)


def _newer(name: str) -> pl.Expr:
    return pl.col(f"{name}__newer")


def _differs(names: Sequence[str]) -> list[pl.Expr]:
    return [(pl.col(name) != _newer(name)).sum().alias(name) for name in names]


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
    if on == (_KEY,) and (places := _places(left[_KEY], right[_KEY])) is not None:
        return _merged(left, right, places)
    cells = [] if _CELLS in on else [pl.col(_CELLS).ne_missing(pl.col(f"{_CELLS}__newer"))]
    only = pl.col(OLDER_ROW).is_null() | pl.col(NEWER_ROW).is_null()
    older, newer = left.lazy().rename({"__row": OLDER_ROW}), right.lazy().rename({"__row": NEWER_ROW})
    joined = older.join(newer, on=list(on), how="full", nulls_equal=True, coalesce=True, suffix="__newer")
    grown = pl.lit(None, pl.UInt64) if _CELLS in on else pl.col(f"{_CELLS}__newer") - pl.col(_CELLS)
    kept = joined.filter(pl.any_horizontal(only, *cells)).select(*on, OLDER_ROW, NEWER_ROW, grown.alias(_DELTA))
    return kept.collect(engine="streaming")


def _places(keys: pl.Series, among: pl.Series) -> pl.Series | None:
    """Where each of `keys` is `among` others, null where it is not, without a table of hashes: None if that takes one.

    Whole numbers close together are looked up in a table of all of them, others in ascending order are searched for.
    """
    sides = (keys, among)
    if not all(side.dtype.is_integer() and len(side) and not side.null_count() for side in sides):
        return None
    ends = [int(str(end)) for side in sides for end in (side.min(), side.max())]
    low, high = min(ends), max(ends)
    if high - low < _SPREAD * max(len(keys), len(among)) and -(2**63) <= low <= high < 2**63:
        table = pl.repeat(None, high - low + 1, dtype=pl.UInt32, eager=True)
        table = table.scatter(among.cast(pl.Int64) - low, pl.int_range(len(among), dtype=pl.UInt32, eager=True))
        return table.gather(keys.cast(pl.Int64) - low)
    if not all(side.is_sorted() for side in sides):
        return None
    at = among.search_sorted(keys).clip(0, len(among) - 1)
    return pl.select(pl.when(among.gather(at) == keys).then(at)).to_series()


def _merged(left: pl.DataFrame, right: pl.DataFrame, places: pl.Series) -> pl.DataFrame:
    """As `_differing`, when it is known at which places of `right` the keys of `left` are."""
    met = places.is_not_null()
    grown = right[_CELLS].gather(places) - left[_CELLS]
    modified = (grown != 0).fill_null(value=False)
    older, newer = pl.col("__row").alias(OLDER_ROW), pl.col("__row").alias(NEWER_ROW)
    no_row, no_delta = pl.lit(None, pl.UInt32), pl.lit(None, pl.UInt64).alias(_DELTA)
    changed = [
        left.filter(modified).select(
            _KEY, older,
            right["__row"].gather(places.filter(modified)).alias(NEWER_ROW),
            grown.filter(modified).alias(_DELTA),
        )
    ]  # fmt: skip
    hits = met.sum()
    if hits < left.height:
        changed.append(left.filter(~met).select(_KEY, older, no_row.alias(NEWER_ROW), no_delta))
    if hits < right.height:
        unmet = pl.repeat(True, right.height, eager=True).scatter(places.drop_nulls(), False)
        changed.append(right.filter(unmet).select(_KEY, no_row.alias(OLDER_ROW), newer, no_delta))
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
