"""How a column's values are spread, counted by the validation and kept with its report."""

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st

from llmops_resources.checks.options import CheckOptions
from llmops_resources.checks.profiles import _BLANK, _BROKEN, _DAMAGED, ColumnProfile, _marks, _outliers
from llmops_resources.checks.report import ValidationReport, check


def report_of(folder: Path, table: pl.DataFrame) -> ValidationReport:
    table.write_parquet(folder / "d.parquet")
    return check([("d.parquet", folder / "d.parquet")], options=CheckOptions(ner_sample_rows=0))


def test_a_report_tells_how_numbers_times_and_texts_are_spread(tmp_path: Path) -> None:
    table = pl.DataFrame(
        {
            "n": [*range(100), None],
            "day": [date(2026, 1, 1 + i % 28) for i in range(101)],
            "label": ["가나다" if i % 3 else "x" for i in range(101)],
            "same": [7] * 101,
        }
    )
    found = {column.name: column.statistics for column in report_of(tmp_path, table).columns}
    numbers, days, labels, same = (found[name] for name in ("n", "day", "label", "same"))
    assert numbers is not None
    assert (numbers.edges[0], numbers.edges[-1], sum(numbers.counts), len(numbers.counts)) == (0, 99, 100, 20)
    assert numbers.counts == (5,) * 20
    assert [round(value) for value in numbers.quantiles] == [5, 25, 50, 74, 94]
    assert days is not None
    assert days.edges[0] == 1_767_225_600  # 2026-01-01 UTC
    assert labels is not None
    assert [(top.value, top.count) for top in labels.top] == [("가나다", 67), ("x", 34)]
    assert (labels.of, labels.edges[0], labels.edges[-1]) == ("length", 1, 3)
    assert same is not None
    assert (same.edges, same.counts) == ((7, 7), (101,))


def test_values_of_a_column_with_personal_data_are_not_kept(tmp_path: Path) -> None:
    table = pl.DataFrame({"mail": ["jane.roe@example.org", "john.doe@example.org"] * 20, "n": range(40)})
    mail = report_of(tmp_path, table).columns[0].statistics
    assert mail is not None
    assert (mail.top, mail.of) == ((), "length")


def test_a_report_from_before_statistics_can_still_be_read(tmp_path: Path) -> None:
    report = report_of(tmp_path, pl.DataFrame({"n": [1, 2, 3]})).json_dict()
    for column in report["columns"]:
        del column["statistics"]
    (column,) = ValidationReport.model_validate(report).columns
    assert isinstance(column, ColumnProfile)
    assert column.statistics is None


_ODD = "a\t\n\r\x0e\x1f\x7f\x08,\ufffd\uff0c\uffee가"


@given(st.lists(st.none() | st.text(st.characters(codec="utf-8")) | st.text(_ODD), max_size=30))
def test_marks_of_texts_are_what_the_patterns_say_however_they_come_together(texts: list[str | None]) -> None:
    cells = pl.Series(texts, dtype=pl.String)
    half = len(texts) // 2
    for some in (cells, cells.slice(half), cells.head(half)):
        damaged = some.str.contains(_DAMAGED).fill_null(value=False)
        blank = ~some.str.contains(r"\S").fill_null(value=True)
        assert _marks(some).to_list() == [_BROKEN if d else int(b) for d, b in zip(damaged, blank, strict=True)]


def test_every_character_alone_is_blank_when_the_pattern_says_so() -> None:
    every = pl.Series([chr(code) for code in range(0x11_0000) if not 0xD800 <= code < 0xE000])
    assert ((_marks(every) == _BLANK) == ~every.str.contains(r"\S")).all()


@example([1.6e308] * 2 + [1.7e308])
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-5, 5).map(float), max_size=40))
def test_outliers_are_counted_as_numpy_counts_them_without_knowing_the_order(numbers: list[float]) -> None:
    values = np.array(sorted(numbers))
    with np.errstate(over="ignore"):
        deviation = np.abs(values - np.median(values)) if numbers else values
        usual = np.median(deviation) if numbers else 0
        expected = np.count_nonzero(deviation * 0.6745 > 3.5 * usual) if usual > 0 else 0
    assert _outliers(values) == expected
