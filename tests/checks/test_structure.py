import csv
import io
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_resources.checks import spool as spooling
from llmops_resources.checks.options import CheckOptions
from llmops_resources.checks.parquet import _folded
from llmops_resources.checks.problems import Problems
from llmops_resources.checks.readers import UnreadableError, read_csv
from llmops_resources.checks.schema import ExpectedColumn, ExpectedSchema
from llmops_resources.checks.spool import ColumnType, SpooledFile, SpoolWriter

StructureOf = Callable[..., tuple]
DECLARED = ExpectedSchema(
    columns=(
        ExpectedColumn(name="id", type=ColumnType.INTEGER),
        ExpectedColumn(name="text"),
        ExpectedColumn(name="note", required=False, nullable=True),
    )
)


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def test_ragged_rows_are_named_and_the_others_kept(structure_of: StructureOf) -> None:
    report, spool = structure_of({"d.csv": 'a,b\n1,x\n2\n3,"y,\nz"\n4,5,6\n'})
    assert not report.passed
    assert [(p.kind, p.row) for p in report.problems] == [("ragged_row", 2), ("ragged_row", 4)]
    assert spool.scan().collect().rows() == [("1", "x"), ("3", "y,\nz")]
    assert spool.place(1) == ("d.csv", 3)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 4).flatmap(
        lambda width: st.lists(
            st.lists(
                st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
                min_size=width,
                max_size=width,
            ),
            min_size=1,
            max_size=8,
        )
    )
)
def test_a_well_formed_csv_is_never_called_ragged(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:
    folder = tmp_path_factory.mktemp("csv")
    header = [f"column {i}" for i in range(len(rows[0]))]
    with (folder / "d.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    problems, writer = Problems(10), SpoolWriter(folder, budget=10**9)
    read, _ = read_csv(folder / "d.csv", "d.csv", writer, problems, CheckOptions())
    assert problems.total == 0
    back = pl.read_parquet(folder / "part-000000.parquet").rows()
    assert [tuple(cell or "" for cell in row) for row in back] == [tuple(row) for row in rows]
    assert read.rows == len(rows)


@given(st.lists(st.booleans(), max_size=40))
def test_row_numbers_skip_over_unreadable_rows(readable: list[bool]) -> None:
    skipped = tuple(number for number, good in enumerate(readable, 1) if not good)
    file = SpooledFile(name="d", rows=sum(readable), skipped=skipped)
    numbers = [number for number, good in enumerate(readable, 1) if good]
    assert [file.number(index) for index in range(file.rows)] == numbers


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("a,a\n1,2\n", "duplicate_column"),
        ("a,\n1,2\n", "empty_header"),
        ("a;b\n1;2\n", "delimiter"),
        ("a,b\n", "no_rows"),
        ("\n\n", "no_header"),
        ('a,b\n1,"x\n2,3\n', "malformed_csv"),
        (",".join(f"c{i}" for i in range(1001)) + "\n", "too_many_columns"),
    ],
)
def test_a_csv_with_a_broken_frame_is_refused(structure_of: StructureOf, content: str, kind: str) -> None:
    report, spool = structure_of({"d.csv": content})
    assert list(report.counts) == [kind]
    assert report.problems[0].remedy
    assert spool is None


def test_types_of_csv_columns_are_inferred_and_leading_zeros_stay_text(structure_of: StructureOf) -> None:
    _, spool = structure_of({"d.csv": "i,n,b,z,e\n1,1.5,true,007,\n-2,3,false,8,\n"})
    assert [column.type for column in spool.columns] == ["integer", "number", "boolean", "string", "null"]


def test_each_bad_json_line_is_reported_with_its_row(structure_of: StructureOf) -> None:
    lines = [
        '{"a":1}',
        "[1]",
        '{"a":1,"a":2}',
        '{"a":1,"\\u0061":2}',
        '{"a":"\\ud800"}',
        '{"a":NaN}',
        '{"a":',
        '{"a":18446744073709551615}',
    ]
    report, spool = structure_of({"d.jsonl": "\n".join([*lines, '{"b":{"a":1},"a":2}'])})
    assert [p.row for p in report.problems if p.kind == "malformed_json"] == [2, 3, 4, 5, 6, 7, 8]
    assert spool.scan().collect().rows() == [("1", None), ("2", '{"a":1}')]


def test_json_nested_beyond_the_limit_is_refused(structure_of: StructureOf) -> None:
    report, _ = structure_of(
        {"d.jsonl": '{"a":1}\n{"a":' + "[" * 100_000 + "]" * 100_000 + '}\n{"a":' + '{"b":' * 40 + "1" + "}" * 41}
    )
    assert [p.row for p in report.problems] == [2, 3]


def test_a_key_that_appears_late_becomes_a_column(structure_of: StructureOf) -> None:
    lines = [json.dumps({"a": i}) for i in range(300)] + ['{"a": 300, "late": "here"}']
    report, spool = structure_of({"d.jsonl": "\n".join(lines)})
    assert report.passed
    assert [column.name for column in spool.columns] == ["a", "late"]
    assert spool.scan().collect()["late"].drop_nulls().to_list() == ["here"]


def test_a_column_of_two_types_is_named_with_the_row(structure_of: StructureOf) -> None:
    report, _ = structure_of({"d.jsonl": '{"a":1}\n{"a":2.5}\n{"a":"x"}\n'})
    assert [(p.kind, p.row, p.column) for p in report.problems] == [("mixed_types", 3, "a")]


def test_a_truncated_parquet_file_is_refused_with_the_remedy(structure_of: StructureOf) -> None:
    whole = parquet(pa.table({"a": list(range(100))}))
    for damaged in (whole[:-20], whole[:40] + b"\xff" * 60 + whole[100:-8] + whole[-8:], whole[:200] + whole[260:]):
        report, spool = structure_of({"d.parquet": damaged})
        assert not report.passed
        assert report.problems[0].remedy
        assert spool is None


def test_nested_parquet_values_are_kept_as_json(structure_of: StructureOf) -> None:
    report, spool = structure_of({"d.parquet": parquet(pa.table({"m": [[{"role": "user", "content": "안녕"}], None]}))})
    assert report.passed
    assert spool.scan().collect()["m"].to_list() == ['[{"role":"user","content":"안녕"}]', None]
    assert spool.columns[0].type == "list"


def test_a_parquet_file_that_promises_absurdly_many_values_is_refused(structure_of: StructureOf) -> None:
    report, _ = structure_of({"d.parquet": parquet(pa.table({"a": pa.nulls(30_000_000)}))})
    assert list(report.counts) == ["bomb"]


def test_a_parser_that_runs_out_of_memory_is_a_problem_and_not_a_crash(structure_of: StructureOf) -> None:
    cells = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), ["x" * 1_000_000])
    report, spool = structure_of({"d.parquet": parquet(pa.table({"a": cells}))}, parser_memory_bytes=2 * 1024**3)
    assert not report.passed
    assert report.problem_count == 1
    assert spool is None


def test_a_parser_that_takes_too_long_is_stopped(structure_of: StructureOf) -> None:
    report, _ = structure_of({"d.csv": "a\n1\n"}, parser_seconds=0.01)
    assert "took longer" in report.problems[0].message


def test_a_binary_column_is_refused_because_it_cannot_be_scanned(structure_of: StructureOf) -> None:
    report, _ = structure_of({"d.parquet": parquet(pa.table({"a": [b"\x00"], "b": ["x"]}))})
    assert [(p.kind, p.column) for p in report.problems] == [("unsupported_type", "a")]


def test_unknown_missing_and_mistyped_columns_are_each_named(structure_of: StructureOf) -> None:
    report, _ = structure_of({"d.csv": "id,txet\n1,a\n"}, DECLARED)
    assert {(p.kind, p.column) for p in report.problems} == {("missing_column", "text"), ("unknown_column", "txet")}
    assert report.compliant_rows == 0
    report, _ = structure_of({"d.csv": "id,text\n1,a\n,b\nx,c\n4,\n"}, DECLARED)
    assert {(p.kind, p.row, p.column) for p in report.problems} == {
        ("empty_cell", 2, "id"),
        ("wrong_type", 3, "id"),
        ("empty_cell", 4, "text"),
    }
    assert report.compliant_rows == 1


def test_a_parquet_column_of_another_type_breaks_the_schema(structure_of: StructureOf) -> None:
    report, _ = structure_of({"d.parquet": parquet(pa.table({"id": [1.5], "text": ["x"]}))}, DECLARED)
    assert [(p.kind, p.column) for p in report.problems] == [("wrong_type", "id")]


def test_what_keeps_to_the_schema_passes(structure_of: StructureOf) -> None:
    for name, content in {
        "d.csv": "id,text\n1,a\n",
        "d.jsonl": '{"id":1,"text":"a","note":null}\n',
        "d.parquet": parquet(pa.table({"id": [1], "text": ["a"]})),
    }.items():
        report, _ = structure_of({name: content}, DECLARED)
        assert report.passed, report.problems
        assert report.compliant_rows == 1


A_TYPE_EACH = {
    "integer": ("7", "x", "1.5"),
    "number": ("1.5", "x", "1,5"),
    "boolean": ("true", "x", "1"),
    "date": ("2026-02-28", "2026-02-31", "28.02.2026"),
    "datetime": ("2026-02-28T09:30:00Z", "2026-02-30T09:30:00Z", "09:30"),
    "list": ("[1]", "x", "1"),
    "object": ('{"a": 1}', "x", "[1]"),
}


@pytest.mark.parametrize("kind", list(A_TYPE_EACH))
def test_cells_that_do_not_read_as_the_declared_type_are_named_by_column_and_row(
    structure_of: StructureOf, tmp_path: Path, kind: str
) -> None:
    good, *bad = A_TYPE_EACH[kind]
    with (tmp_path / "made.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["name", "a"], *(["row", cell] for cell in (good, *bad, good))])
    expected = ExpectedSchema(columns=(ExpectedColumn(name="name"), ExpectedColumn(name="a", type=kind)))
    report, _ = structure_of({"d.csv": (tmp_path / "made.csv").read_bytes()}, expected)
    assert [(p.kind, p.file, p.row, p.column) for p in report.problems] == [
        ("wrong_type", "d.csv", 2, "a"), ("wrong_type", "d.csv", 3, "a"),
    ]  # fmt: skip
    assert report.problems[0].message == f"'a' does not read as {kind} in row 2"
    assert "or declare another type" in report.problems[0].remedy
    assert report.compliant_rows == 2


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("string", '"1"', "1"), ("integer", "1", '"1"'), ("number", "1", '"1.5"'), ("boolean", "true", '"true"'),
        ("list", "[1]", '"[1]"'), ("object", '{"b":1}', '"{}"'), ("date", '"2026-01-31"', "20260131"),
    ],
)  # fmt: skip
def test_a_json_value_has_the_type_that_it_has_and_not_one_that_its_text_reads_as(
    structure_of: StructureOf, kind: str, good: str, bad: str
) -> None:
    expected = ExpectedSchema(columns=(ExpectedColumn(name="a", type=kind),))
    assert structure_of({"d.jsonl": f'{{"a":{good}}}\n'}, expected)[0].passed
    report, _ = structure_of({"d.jsonl": f'{{"a":{bad}}}\n'}, expected)
    assert [(p.kind, p.column) for p in report.problems] == [("wrong_type", "a")]
    assert report.problems[0].message.startswith(f"'a' should be {kind} and is ")


def test_a_fraction_among_whole_numbers_is_named_by_its_row(structure_of: StructureOf) -> None:
    expected = ExpectedSchema(columns=(ExpectedColumn(name="a", type="integer"),))
    report, _ = structure_of({"d.jsonl": '{"a":1}\n{"a":2.5}\n'}, expected)
    assert [(p.kind, p.row, p.column) for p in report.problems] == [("wrong_type", 2, "a")]


def test_numbers_written_as_text_in_parquet_are_no_numbers(structure_of: StructureOf) -> None:
    report, _ = structure_of({"d.parquet": parquet(pa.table({"id": ["1"], "text": ["x"]}))}, DECLARED)
    assert [p.message for p in report.problems] == ["'id' should be integer and is string"]


def test_a_misspelt_column_is_told_the_name_it_should_have(structure_of: StructureOf) -> None:
    report, _ = structure_of({"d.csv": "id,texts\n1,a\n"}, DECLARED)
    assert {(p.kind, p.message, p.remedy) for p in report.problems} == {
        ("missing_column", "The required column 'text' of type string is missing",
         "Add the column, or declare it as not required."),
        ("unknown_column", "The column 'texts' is not in the declared schema", "Rename it to 'text', or declare it."),
    }  # fmt: skip


def test_a_schema_that_declares_a_column_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="'a' is declared more than once"):
        ExpectedSchema(columns=(ExpectedColumn(name="a"), ExpectedColumn(name="a", type="integer")))


def test_files_of_different_formats_or_columns_are_refused(structure_of: StructureOf) -> None:
    assert "mixed_formats" in structure_of({"a.csv": "a\n1\n", "b.jsonl": '{"a":1}\n'})[0].counts
    assert "columns_differ" in structure_of({"a.csv": "a\n1\n", "b.csv": "b\n1\n"})[0].counts


def test_the_problem_list_is_capped_and_the_count_is_not(structure_of: StructureOf) -> None:
    report, _ = structure_of({"d.csv": "a,b\n1,2\n" + "1\n" * 500}, problems_per_kind=5)
    assert len(report.problems) == 5
    assert report.problem_count == report.unreadable_rows == 500


def test_a_header_of_blank_lines_only_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("\n")
    with pytest.raises(UnreadableError):
        read_csv(path, "d.csv", SpoolWriter(tmp_path, budget=1), Problems(1), CheckOptions())


def test_what_is_spooled_beyond_the_plain_bytes_takes_less_room_and_reads_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooling, "_PLAIN_BYTES", 1_000_000)
    writer = SpoolWriter(tmp_path, budget=10**9)
    rows = pa.table({"n": [1] * 50_000})
    for _ in range(4):
        writer.add_batch(rows)
        writer.flush()
    sizes = [path.stat().st_size for path in sorted(tmp_path.iterdir())]
    assert max(sizes[2:]) < 10_000
    assert min(sizes[:2]) > 400_000
    assert all(pl.read_parquet(path)["n"].to_list() == [1] * 50_000 for path in tmp_path.iterdir())


def test_only_text_that_lies_in_a_dictionary_is_read_as_one(tmp_path: Path) -> None:
    table = pa.table({"few": ["a", "b"] * 500, "many": [f"text {n}" for n in range(1_000)], "n": range(1_000)})
    pq.write_table(table, tmp_path / "d.parquet", use_dictionary=["few", "n"], row_group_size=100)
    with pq.ParquetFile(tmp_path / "d.parquet") as file:
        assert _folded(file.metadata, file.schema_arrow) == ["few"]


FULL = """
import sys
from pathlib import Path
import pyarrow as pa
from llmops_resources.checks.options import CheckOptions
from llmops_resources.checks.spool import SpoolWriter
from llmops_resources.checks.structure import check_structure
from llmops_resources.errors import Unavailable
source, spooled, direct = map(Path, sys.argv[1:])
writer = SpoolWriter(direct, budget=10**9)
try:
    with writer.overlapping():
        writer.add_batch(pa.table({"n": range(50_000)}))
        writer.flush()
        writer.add_batch(pa.table({"n": range(2_000_000)}))
except Unavailable as error:
    print("overlapping:", error, "|", error.remedy)
try:
    print(check_structure([("d.parquet", source)], spooled, expected=None, options=CheckOptions()))
except Unavailable as error:
    print("checked:", error, "|", error.remedy)
"""


def test_a_disk_that_is_full_under_the_spool_is_not_called_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "d.parquet").write_bytes(parquet(pa.table({"n": range(2_000_000)})))
    (tmp_path / "spooled").mkdir()
    (tmp_path / "direct").mkdir()
    finished = subprocess.run(
        [sys.executable, "-c", FULL, *(str(tmp_path / name) for name in ("d.parquet", "spooled", "direct"))],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000)),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    for line, way in zip(finished.stdout.splitlines(), ("overlapping: ", "checked: "), strict=True):
        assert line.startswith(f"{way}the rows cannot be put on the disk")
        assert "File too large" in line
        assert "Free space" in line
    assert list((tmp_path / "spooled").iterdir()) == []
    assert [path.name for path in (tmp_path / "direct").iterdir()] == ["part-000000.parquet"]  # the one that was whole
