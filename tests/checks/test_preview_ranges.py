"""A preview reads what its page needs from storage, and no more."""

from pathlib import Path

import polars as pl
import pytest

from llmops_resources.checks.formats import DatasetFormat
from llmops_resources.checks.preview import Places, preview
from llmops_resources.checks.ranges import Source


class Counted:
    """A local file that adds up the bytes it hands out."""

    def __init__(self, path: Path) -> None:
        self.local, self.bytes = Source.of_path(path), 0
        self.source = Source(self.local.size, self.read)

    def read(self, offset: int, length: int) -> bytes:
        piece = self.local.read(offset, length)
        self.bytes += len(piece)
        return piece


@pytest.fixture
def table() -> pl.DataFrame:
    ids = range(40_000)
    return pl.DataFrame({"id": ids, "text": [f"줄 {i} " + f"{i * 7919 % 10**6:06}" * 20 for i in ids]})


def test_a_page_of_a_parquet_file_reads_its_row_group_only(tmp_path: Path, table: pl.DataFrame) -> None:
    path = tmp_path / "d.parquet"
    table.write_parquet(path, row_group_size=2_000, compression="uncompressed")
    counted = Counted(path)
    page = preview(counted.source, DatasetFormat.PARQUET, offset=30_005, limit=10)
    assert [row["id"] for row in page.rows] == list(range(30_005, 30_015))
    assert page.statistics.rows == 40_000
    assert counted.bytes < counted.local.size / 4


@pytest.mark.parametrize("fmt", [DatasetFormat.CSV, DatasetFormat.JSONL])
def test_a_text_file_is_read_only_up_to_its_page_and_the_next_page_begins_there(
    tmp_path: Path, table: pl.DataFrame, fmt: DatasetFormat
) -> None:
    path = tmp_path / f"d.{fmt}"
    (table.write_csv if fmt is DatasetFormat.CSV else table.write_ndjson)(path)
    counted, places = Counted(path), Places()
    first = preview(counted.source, fmt, limit=10, places=places)
    assert first.statistics.rows is None  # nobody has counted them
    assert counted.bytes < counted.local.size / 8
    preview(counted.source, fmt, offset=20_000, limit=10, places=places)
    before = counted.bytes
    page = preview(counted.source, fmt, offset=20_010, limit=10, places=places)
    assert [int(row["id"]) for row in page.rows] == list(range(20_010, 20_020))
    assert counted.bytes - before < counted.local.size / 8
    last = preview(counted.source, fmt, offset=39_995, limit=10, places=places)
    assert (len(last.rows), last.statistics.rows) == (5, 40_000)


def test_quoted_line_ends_and_blank_lines_do_not_move_a_page(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("a,b\n" + "".join(f'{i},"two\n\nlines, ""한글"""\n\n' for i in range(3_500)), encoding="utf-8")
    places = Places()
    for offset in (0, 999, 1_001, 2_500, 3_100, 1_999):
        page = preview(path, DatasetFormat.CSV, offset=offset, limit=3, places=places)
        assert [row["a"] for row in page.rows] == [str(offset + i) for i in range(3)]
        assert {row["b"] for row in page.rows} == {'two\n\nlines, "한글"'}
