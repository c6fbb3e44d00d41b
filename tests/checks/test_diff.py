"""The comparison of two versions, held against one anyone can write in ten lines."""

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmops_resources.checks.diff import Change, Diff, DiffOptions, compare
from llmops_resources.checks.display import in_spreadsheet
from llmops_resources.checks.drift import Plan, Verdict, chi_squared, judge
from llmops_resources.checks.frames import Table, open_table
from llmops_resources.checks.matching import changed_cells, keying, match
from llmops_resources.checks.options import CheckOptions
from llmops_resources.errors import InvalidInput, ValidationFailed

SCHEMA = {"id": pl.Int64, "name": pl.String, "score": pl.Float64, "done": pl.Boolean, "tags": pl.List(pl.String)}
TEXTS = st.sampled_from(["", "a", "b", "한국어", "가", "null", "0", "\u00e9", "e\u0301"])
ROW = st.tuples(
    st.none() | st.integers(-2, 4),
    st.none() | TEXTS,
    st.none() | st.sampled_from([0.0, -0.0, 1.5, float("nan"), float("inf")]),
    st.none() | st.booleans(),
    st.none() | st.lists(st.none() | TEXTS, max_size=2),
)
KEYS = st.sampled_from([(), ("id",), ("name",), ("id", "name"), ("score",), ("done", "tags")])


def frame(rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def parquet(path: Path, table: pl.DataFrame) -> list[tuple[str, Path]]:
    table.write_parquet(path, row_group_size=3)
    return [(path.name, path)]


def diff_of(folder: Path, older: pl.DataFrame, newer: pl.DataFrame, *key: str, sample: int = 50) -> Diff:
    options = CheckOptions()
    tables = [
        open_table(parquet(folder / f"{name}.parquet", table), folder, options)
        for name, table in (("older", older), ("newer", newer))
    ]
    return compare(tables[0], tables[1], DiffOptions(key=key, sample=sample), content=("one", "two"))


def canonical(cell: Any) -> Any:
    """Python's own equality made that of the comparison: types apart, NaN equal to itself, no negative zero."""
    if isinstance(cell, float):
        return ("float", "nan" if cell != cell else cell + 0.0)  # noqa: PLR0124
    return (type(cell).__name__, tuple(map(canonical, cell)) if isinstance(cell, list) else cell)


def by_hand(older: Sequence[Any], newer: Sequence[Any], key: Sequence[str]) -> tuple[int, int, int, int]:
    """Added, removed, modified and unchanged rows, counted key by key."""
    places = [list(SCHEMA).index(name) for name in key] or range(len(SCHEMA))

    def groups(rows: Sequence[Any]) -> dict[Any, Counter[Any]]:
        found: dict[Any, Counter[Any]] = {}
        for row in rows:
            cells = tuple(map(canonical, row))
            found.setdefault(tuple(cells[place] for place in places), Counter())[cells] += 1
        return found

    before, after = groups(older), groups(newer)
    added = removed = modified = unchanged = 0
    for identity in before.keys() | after.keys():
        one, other = before.get(identity, Counter()), after.get(identity, Counter())
        same = (one & other).total()
        pairs = min(one.total(), other.total()) - same
        added, removed = added + other.total() - same - pairs, removed + one.total() - same - pairs
        modified, unchanged = modified + pairs, unchanged + same
    return added, removed, modified, unchanged


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROW, max_size=12), st.lists(ROW, max_size=12), KEYS)
def test_every_count_is_the_one_found_by_hand(
    tmp_path: Path, older: list[Any], newer: list[Any], key: tuple[str, ...]
) -> None:
    found = diff_of(tmp_path, frame(older), frame(newer), *key).rows
    assert (found.added, found.removed, found.modified, found.unchanged) == by_hand(older, newer, key)
    assert found.unchanged + found.modified + found.removed == len(older)
    assert found.unchanged + found.modified + found.added == len(newer)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.integers(-9, 9)), st.sets(st.integers(-9, 9)), st.sets(st.integers(-9, 9)), st.randoms())
def test_rows_in_the_order_of_their_key_are_matched_as_in_any_order(
    tmp_path: Path, older: set[int], newer: set[int], changed: set[int], chance: random.Random
) -> None:
    def rows(ids: set[int], other: set[int]) -> list[tuple[Any, ...]]:
        return [(i, "b" if i in other else "a", None, True, []) for i in sorted(ids)]

    before, after = rows(older, set()), rows(newer, changed)
    in_order = diff_of(tmp_path, frame(before), frame(after), "id")
    counts = in_order.rows
    assert (counts.added, counts.removed, counts.modified) == (
        len(newer - older), len(older - newer), len(older & newer & changed)
    )  # fmt: skip
    chance.shuffle(before)
    chance.shuffle(after)
    assert diff_of(tmp_path, frame(before), frame(after), "id").rows == counts
    numbers = {(row.change, (row.after or row.before or {})["id"]) for row in in_order.sample}
    assert {number for change, number in numbers if change is Change.ADDED} == newer - older


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROW, min_size=1, max_size=10, unique_by=lambda row: row[0]), st.data())
def test_the_changed_cells_of_each_column_are_counted(tmp_path: Path, rows: list[Any], data: st.DataObject) -> None:
    changed = [list(row) for row in rows]
    expected = dict.fromkeys(list(SCHEMA)[1:], 0)
    for before, after in zip(rows, changed, strict=True):
        after[1:] = data.draw(ROW)[1:]
        for place, name in enumerate(SCHEMA):
            if place and canonical(before[place]) != canonical(after[place]):
                expected[name] += 1
    found = diff_of(tmp_path, frame(rows), frame([tuple(row) for row in changed]), "id")
    assert {column.name: column.changed_cells for column in found.columns if column.name != "id"} == expected
    for row in found.sample:
        assert row.change is Change.MODIFIED
        assert row.changed == tuple(
            name for place, name in enumerate(SCHEMA)
            if canonical(rows[(row.older_row or 0) - 1][place]) != canonical(changed[(row.newer_row or 0) - 1][place])
        )  # fmt: skip


@pytest.mark.parametrize("step", [1, 3, 10**12])
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("budget", [1, 1_500, 10**6])
def test_cells_that_changed_otherwise_than_the_first_rows_did_are_counted_too(
    step: int, shuffled: bool, budget: int
) -> None:
    older = pl.DataFrame({"id": range(0, 4_000 * step, step)}).with_columns(
        a=pl.col("id") % 7, b=pl.lit("same"), c=pl.col("id").cast(pl.String), d=pl.lit(None, pl.Float64)
    )
    row = pl.col("id") // step
    newer = older.with_columns(
        a=pl.when(row % 4 == 0).then(pl.col("a") + 1).otherwise(pl.col("a")),
        b=pl.when(row == 3_999).then(pl.lit("else")).otherwise(pl.col("b")),
        c=pl.when((row % 8 == 0) & (row > 2_000)).then(pl.lit("x")).otherwise(pl.col("c")),
    )
    if shuffled:
        newer = newer.sample(fraction=1, shuffle=True, seed=1)
    by = keying(older.schema, ["id"], 7)
    found = match(older.lazy(), newer.lazy(), by)
    assert (found.added, found.removed, found.modified) == (0, 0, 1_001)
    cells = changed_cells(older.lazy(), newer.lazy(), found.differing, by, budget)
    assert cells == {"a": 1_000, "b": 1, "c": 249, "d": 0}


def test_known_changes_are_counted_and_shown_with_their_cells(tmp_path: Path) -> None:
    ids = range(1000)
    older = pl.DataFrame({"id": ids, "text": [f"문장 {i}" for i in ids], "n": [i % 7 for i in ids]})
    newer = (
        older.filter(pl.col("id") >= 20)
        .with_columns(n=pl.when(pl.col("id") < 50).then(99).otherwise(pl.col("n")))
        .vstack(pl.DataFrame({"id": range(1000, 1010), "text": ["new"] * 10, "n": [0] * 10}))
    )
    found = diff_of(tmp_path, older, newer, "id", sample=5)
    assert (found.rows.added, found.rows.removed, found.rows.modified, found.rows.unchanged) == (10, 20, 30, 950)
    assert {column.name: column.changed_cells for column in found.columns} == {"id": None, "text": 0, "n": 30}
    first = next(row for row in found.sample if row.change is Change.MODIFIED)
    assert (first.older_row, first.newer_row, first.changed) == (21, 1, ("n",))
    assert first.before == {"id": 20, "text": "문장 20", "n": 6}
    assert first.after == {"id": 20, "text": "문장 20", "n": 99}
    assert Counter(row.change for row in found.sample) == dict.fromkeys(Change, 5)


def test_changes_of_the_schema_are_told_apart(tmp_path: Path) -> None:
    older = pl.DataFrame({"id": [1, 2], "gone": ["x", None], "size": [1, 2]})
    newer = pl.DataFrame({"id": [1, 2], "size": ["1", "3"], "fresh": [True, None]})
    found = diff_of(tmp_path, older, newer, "id")
    assert (found.added_columns, found.removed_columns, found.retyped_columns) == (("fresh",), ("gone",), ("size",))
    assert found.rows.modified == 1  # 1 and "1" are the same text, 2 and "3" are not
    nulls = {column.name: (column.older_nulls, column.newer_nulls) for column in found.columns}
    assert nulls == {"id": (0, 0), "gone": (1, None), "size": (0, 0), "fresh": (None, 1)}
    assert found.verdict is Verdict.UNKNOWN  # a column that changed its type cannot be judged


def written(folder: Path, name: str, text: str) -> Table:
    (folder / name).write_text(text, encoding="utf-8")
    (folder / f"{name}.spool").mkdir()
    return open_table([(name, folder / name)], folder / f"{name}.spool", CheckOptions())


def test_text_formats_are_compared_by_value_and_with_parquet(tmp_path: Path) -> None:
    key = DiffOptions(key=("id",))
    older = written(tmp_path, "a.csv", "id,price,note\n1,1.50,가\n2,2,\n3,8,y\n")
    lines = '{"id":1,"price":1.5,"note":"가"}\n{"id":2,"price":2.0}\n{"id":3,"price":8,"note":"x"}\n'
    newer = written(tmp_path, "b.jsonl", lines)
    found = compare(older, newer, key, content=("x",))
    assert (found.rows.unchanged, found.rows.modified, found.retyped_columns) == (2, 1, ())
    as_text = written(tmp_path, "c.csv", "id,price,note\n1,1.50,가\n2,2,\n3,007,y\n")
    found = compare(older, as_text, key, content=("x",))
    assert found.retyped_columns == ("price",)  # 007 is text, so every price is compared as it was written
    assert (found.rows.unchanged, found.rows.modified) == (2, 1)
    same = pl.DataFrame({"id": [1, 2, 3], "price": [1.5, 2, 8], "note": ["가", None, "x"]})
    columns = open_table(parquet(tmp_path / "p.parquet", same), tmp_path, CheckOptions())
    found = compare(columns, newer, DiffOptions(), content=("x",))
    assert (found.rows.unchanged, found.rows.added, found.rows.removed) == (3, 0, 0)


def test_whole_numbers_beyond_the_precision_of_fractions_stay_apart(tmp_path: Path) -> None:
    big = 2**53
    older = pl.DataFrame({"id": pl.Series([big, big + 1], dtype=pl.UInt64)})
    newer = pl.DataFrame({"id": pl.Series([big, big + 2], dtype=pl.Int64)})
    assert diff_of(tmp_path, older, newer).rows.unchanged == 1


def test_a_key_that_is_not_there_or_named_twice_is_refused(tmp_path: Path) -> None:
    table = pl.DataFrame({"id": [1], "a": [1]})
    with pytest.raises(ValidationFailed) as refused:
        diff_of(tmp_path, table, table.drop("a"), "a", "a")
    assert [detail["path"] for detail in refused.value.details] == ["key", "key", "key"]
    assert "newer version has no column 'a'" in refused.value.details[0]["problem"]
    with pytest.raises(InvalidInput, match="no column in common"):
        diff_of(tmp_path, table, pl.DataFrame({"z": [1]}))


def test_cells_that_json_or_the_database_cannot_hold_are_shown_in_words(tmp_path: Path) -> None:
    older = pl.DataFrame({"id": [1], "x": [float("nan")], "t": ["a\0b"], "b": [b"\xff"], "long": ["ㅎ" * 5000]})
    newer = older.with_columns(x=pl.lit(float("inf")))
    row = diff_of(tmp_path, older, newer, "id").sample[0]
    assert row.before is not None
    assert row.after is not None
    assert (row.before["x"], row.after["x"], row.before["t"], row.before["b"]) == ("nan", "inf", "a␀b", "1 bytes")
    assert row.before["long"] == "ㅎ" * 299 + "…"


def test_drift_is_told_from_chance_by_the_number_of_rows() -> None:
    plan = Plan("x", value=pl.col("x"), edges=tuple(range(9)), labels=tuple(map(str, range(11))))
    even = [0, *[10] * 10]
    skewed = [0, *[4] * 5, *[16] * 5]
    assert judge(plan, [0, *[1000] * 10], [0, *[400] * 5, *[1600] * 5]).verdict is Verdict.DRIFTED
    assert judge(plan, [0, *[1000] * 10], [0, *[990] * 5, *[1010] * 5]).verdict is Verdict.STABLE
    few = judge(plan, [0, *[1] * 10], [0, *[1] * 10])
    assert few.verdict is Verdict.UNKNOWN
    assert "too few rows" in few.reason
    small = judge(plan, even, skewed)
    assert small.threshold is not None
    assert small.threshold > 0.1  # 100 rows explain more by chance than the custom
    assert judge(plan, [0] * 11, even).verdict is Verdict.UNKNOWN


def test_the_quantile_of_chi_squared_is_close_to_the_tables() -> None:
    for freedom, quantile in ((1, 6.635), (5, 15.086), (9, 21.666), (20, 37.566)):
        assert chi_squared(0.99, freedom) == pytest.approx(quantile, rel=0.02)


def test_two_samples_of_one_distribution_rarely_drift_and_a_shift_always_does(tmp_path: Path) -> None:
    chance = np.random.default_rng(5)
    columns = {f"c{i}": chance.normal(size=600) for i in range(40)}
    older = pl.DataFrame(columns)
    again = pl.DataFrame({name: chance.normal(size=600) for name in columns})
    assert not [each for each in diff_of(tmp_path, older, again).drift if each.verdict is Verdict.DRIFTED]
    shifted = again.with_columns(pl.all() + 1)
    assert {each.verdict for each in diff_of(tmp_path, older, shifted).drift} == {Verdict.DRIFTED}
    labels = pl.DataFrame({"label": ["yes"] * 500 + ["no"] * 500})
    skewed = pl.DataFrame({"label": ["yes"] * 900 + ["maybe"] * 100})
    judged = diff_of(tmp_path, labels, skewed).drift[0]
    assert (judged.measure, judged.verdict) == ("jensen_shannon", Verdict.DRIFTED)
    assert {each.label: round(each.newer, 2) for each in judged.bins} == {"yes": 0.9, "no": 0.0, "(other)": 0.1}


@pytest.mark.parametrize(
    ("cell", "exported"),
    [
        ('=HYPERLINK("http://x","y")', '\'=HYPERLINK("http://x","y")'),
        ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
        *((text, f"'{text}") for text in ("@SUM(A1)", "-2+3", "  =1", "\t=1", "＝1+1", "\n=1", "%0A=1")),
        *((text, text) for text in ("-5", "+1.5e3", "plain", "", "가나다", "a=1")),
        *((-5, "-5"), (True, "true"), (None, ""), ({"a": "=1"}, '{"a":"=1"}')),
    ],
)
def test_a_spreadsheet_never_runs_an_exported_cell(cell: Any, exported: str) -> None:
    assert in_spreadsheet(cell) == exported
