import random
from pathlib import Path

import polars as pl
import pytest

from llmops_resources.checks.formats import DatasetFormat
from llmops_resources.checks.options import CheckOptions
from llmops_resources.checks.pii import PiiStatus
from llmops_resources.checks.preview import preview
from llmops_resources.checks.report import ValidationReport, check
from llmops_resources.checks.schema import ExpectedColumn, ExpectedSchema
from llmops_resources.errors import InvalidInput

FAST = CheckOptions(ner_sample_rows=0)


@pytest.fixture
def table(tmp_path: Path) -> pl.DataFrame:
    rng = random.Random(7)
    words = ["alpha", "beta", "gamma", "delta", "model", "data"]
    return pl.DataFrame(
        {
            "id": range(200),
            "text": [" ".join(rng.choices(words, k=rng.randint(5, 12))) + f" {i}" for i in range(200)],
            "price": [rng.gauss(10, 2) for _ in range(200)],
        }
    )


def checked(path: Path, table: pl.DataFrame, **arguments: object) -> ValidationReport:
    table.write_parquet(path / "d.parquet")
    return check([("d.parquet", path / "d.parquet")], options=FAST, **arguments)


def part(report: ValidationReport, name: str) -> float | None:
    return next(p.score for p in report.quality.parts if p.name == name)


def test_a_good_data_set_passes_and_its_report_survives_json(tmp_path: Path, table: pl.DataFrame) -> None:
    steps: list[tuple[str, float]] = []
    report = checked(tmp_path, table, progress=lambda step, fraction: steps.append((step, fraction)))
    assert report.passed, report.reasons
    assert report.reasons == ()
    assert (report.row_count, report.column_count, report.format) == (200, 3, DatasetFormat.PARQUET)
    assert report.quality.score > 90
    assert ValidationReport.model_validate(report.json_dict()) == report
    assert [step for step, fraction in steps if fraction == 1] == ["structure", "pii", "quality"]


def test_the_same_files_give_the_same_report(tmp_path: Path, table: pl.DataFrame) -> None:
    assert checked(tmp_path, table) == checked(tmp_path, table)


def test_the_three_formats_of_one_table_agree(tmp_path: Path, table: pl.DataFrame) -> None:
    table.write_csv(tmp_path / "d.csv")
    table.write_ndjson(tmp_path / "d.jsonl")
    table.write_parquet(tmp_path / "d.parquet")
    reports = [check([(name, tmp_path / name)], options=FAST) for name in ("d.csv", "d.jsonl", "d.parquet")]
    assert len({report.quality.score for report in reports}) == 1
    assert len({tuple((c.name, c.type, c.nulls, c.distinct) for c in report.columns) for report in reports}) == 1


def test_repeated_rows_empty_cells_and_outliers_each_lower_their_part(tmp_path: Path, table: pl.DataFrame) -> None:
    doubled = checked(tmp_path, pl.concat([table, table]))
    assert part(doubled, "duplicates") == 0
    assert not doubled.passed
    assert "below 70" in doubled.reasons[-1]
    holes = table.with_columns(pl.when(pl.col("id") % 2 == 0).then("text").alias("text"))
    assert part(checked(tmp_path, holes), "missing_values") == pytest.approx(66.7, abs=0.1)
    wild = table.with_columns(pl.when(pl.col("id") < 20).then(10_000.0).otherwise("price").alias("price"))
    assert (part(checked(tmp_path, wild), "distribution") or 0) < 90


def test_nullable_columns_of_the_declared_schema_may_be_empty(tmp_path: Path, table: pl.DataFrame) -> None:
    expected = ExpectedSchema(
        columns=(
            ExpectedColumn(name="id", type="integer"),
            ExpectedColumn(name="text"),
            ExpectedColumn(name="price", type="number", nullable=True),
        )
    )
    holes = table.with_columns(pl.when(pl.col("id") < 100).then("price").alias("price"))
    report = checked(tmp_path, holes, expected=expected)
    assert report.passed, report.reasons
    assert part(report, "schema_compliance") == 100


def test_personal_data_blocks_and_says_where(tmp_path: Path, table: pl.DataFrame) -> None:
    report = checked(tmp_path, table.with_columns(contact=pl.lit("kim@example.com")))
    assert not report.passed
    assert report.reasons == ("Personal data was found: EMAIL_ADDRESS (200)",)
    assert report.pii.findings[0].column == "contact"


def test_unreadable_rows_leave_the_scan_incomplete(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("a,b\n1,x\n2\n")
    report = check([("d.csv", tmp_path / "d.csv")], options=FAST)
    assert report.pii.status is PiiStatus.PENDING
    assert (report.pii.coverage.total_rows, report.pii.coverage.rows_scanned_rules) == (2, 1)
    assert not report.passed


@pytest.mark.parametrize(
    ("name", "content"), [("d.csv", b""), ("d.csv", b"a\n\xff\n"), ("d.exe", b"MZ"), ("d.parquet", b"PAR1")]
)
def test_a_file_that_cannot_be_read_gives_a_report_that_does_not_pass(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    report = check([(name, tmp_path / name)])
    assert not report.passed
    assert len(report.structure.problems) == 1
    assert report.pii.status is PiiStatus.PENDING
    assert report.quality.score == 0
    assert report.recommendations


@pytest.mark.parametrize("fmt", list(DatasetFormat))
def test_a_preview_is_one_page_with_schema_and_figures(tmp_path: Path, table: pl.DataFrame, fmt: DatasetFormat) -> None:
    path = tmp_path / f"d.{fmt}"
    if fmt is DatasetFormat.PARQUET:
        table.write_parquet(path, row_group_size=30)
    else:
        (table.write_csv if fmt is DatasetFormat.CSV else table.write_ndjson)(path)
    page = preview(path, fmt, offset=55, limit=10)
    assert [int(row["id"]) for row in page.rows] == list(range(55, 65))
    assert [(column.name, column.type) for column in page.columns] == [
        ("id", "integer"),
        ("text", "string"),
        ("price", "number"),
    ]
    assert (page.statistics.rows, page.statistics.columns, page.statistics.bytes) == (200, 3, path.stat().st_size)
    assert preview(path, fmt, offset=195, limit=10).rows[-1]["id"] in {199, "199"}
    assert preview(path, fmt, offset=500, limit=10).rows == ()


def test_a_preview_of_an_impossible_page_or_a_broken_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"a": 1}\n[2]\n')
    for arguments in ({"offset": -1}, {"limit": 0}, {"limit": 501}, {}):
        with pytest.raises(InvalidInput) as caught:
            preview(path, DatasetFormat.JSONL, **arguments)
        assert caught.value.remedy


def test_long_cells_are_cut_in_a_preview(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"a": "' + "x" * 5_000 + '", "b": [1, {"c": 2}]}\n')
    row = preview(path, DatasetFormat.JSONL).rows[0]
    assert len(row["a"]) == 2_000
    assert row["b"] == [1, {"c": 2}]


def test_rows_that_differ_in_a_word_are_counted_as_near_duplicates_and_not_as_exact_ones(tmp_path: Path) -> None:
    rng = random.Random(3)
    words = [f"word{i}" for i in range(3_000)]
    texts = [" ".join(rng.choices(words, k=40)) for _ in range(100)]
    texts += [f"{text} indeed" for text in texts[:25]]
    pl.DataFrame({"text": texts}).write_parquet(tmp_path / "d.parquet")
    report = check([("d.parquet", tmp_path / "d.parquet")], options=FAST)
    figures = {p.name: (p.figure, p.rows_looked_at) for p in report.quality.parts}
    assert figures["near_duplicates"] == (0.2, 125)
    assert figures["duplicates"] == (0, None)
    assert part(report, "near_duplicates") == 60


def test_short_texts_are_not_judged_for_near_repeats(tmp_path: Path) -> None:
    report = checked(tmp_path, pl.DataFrame({"text": [f"What is {i} plus 5?" for i in range(50)]}))
    assert part(report, "near_duplicates") is None


def test_a_few_poisoned_rows_move_the_score_by_no_more_than_their_share(tmp_path: Path, table: pl.DataFrame) -> None:
    clean = checked(tmp_path, table)
    hostile = table.head(4).with_columns(pl.lit(1e300).alias("price"), pl.lit("\x01" * 9_000).alias("text"))
    poisoned = checked(tmp_path, pl.concat([table, hostile]))
    assert clean.quality.score - poisoned.quality.score < 15
    quiet = {p.name: p.score for p in poisoned.quality.parts}
    assert (quiet["distribution"] or 0) < 100
    assert (quiet["format"] or 0) < 100


def test_a_report_stored_before_near_duplicates_were_counted_still_loads(tmp_path: Path, table: pl.DataFrame) -> None:
    stored = checked(tmp_path, table).json_dict()
    stored["quality"]["parts"] = [p for p in stored["quality"]["parts"] if p["name"] != "near_duplicates"]
    for old in stored["quality"]["parts"]:
        del old["rowsLookedAt"]
    for new in ("customRecognizers", "nerCellsCut"):
        del stored["pii"]["coverage"][new]
    assert ValidationReport.model_validate(stored).passed
