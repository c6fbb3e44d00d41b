from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_resources.checks.bytes import ByteInspector
from llmops_resources.checks.formats import DatasetFormat, sniff
from llmops_resources.errors import InvalidInput, PlatformError, TooLarge, UnsupportedFormat


def verdict(chunks: list[bytes], fmt: DatasetFormat = DatasetFormat.CSV, max_line_bytes: int = 12) -> str:
    inspector = ByteInspector("data.csv", fmt, max_line_bytes=max_line_bytes)
    try:
        for chunk in chunks:
            inspector.feed(chunk)
        return str(inspector.finish())
    except PlatformError as error:
        return f"{error.message} / {error.remedy}"


pieces = st.sampled_from([b"a", b"\n", b"\r", b"\r\n", b"\x00", b"\xff", b"\xc3", b"\xa9", "é".encode(), "한".encode()])


@given(st.lists(pieces, max_size=40).map(b"".join), st.lists(st.integers(0, 60), max_size=8))
def test_the_verdict_does_not_depend_on_how_the_bytes_were_cut_into_chunks(content: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    chunks = [content[start:end] for start, end in pairwise(edges)]
    assert verdict(chunks) == verdict([content]) == verdict([content[i : i + 1] for i in range(len(content))])


@given(st.text(st.characters(exclude_characters="\x00\r", exclude_categories=["Cs"]), min_size=1))
def test_valid_text_passes_and_its_lines_are_counted(text: str) -> None:
    inspector = ByteInspector("data.csv", DatasetFormat.CSV)
    inspector.feed(text.encode())
    figures = inspector.finish()
    assert figures.size == len(text.encode())
    assert figures.lines == text.count("\n") + (not text.endswith("\n"))


def test_invalid_utf8_is_refused_with_its_byte_offset_and_line() -> None:
    inspector = ByteInspector("data.csv", DatasetFormat.CSV)
    with pytest.raises(InvalidInput, match=r"not valid UTF-8 at byte 6 \(line 2\)") as caught:
        inspector.feed(b"a,b\nxy\xe9\n")
    assert "UTF-8" in caught.value.remedy


def test_a_character_cut_off_at_the_end_of_the_file_is_refused() -> None:
    assert "not valid UTF-8 at byte 1" in verdict([b"a", "한".encode()[:2]])


def test_a_nul_byte_is_refused_with_its_line() -> None:
    assert "NUL byte at byte 4 (line 3)" in verdict([b"a\nb", b"\n\x00"])


def test_a_line_beyond_the_limit_is_refused_before_the_file_ends() -> None:
    inspector = ByteInspector("data.jsonl", DatasetFormat.JSONL, max_line_bytes=10)
    inspector.feed(b'{"a":1}\n')
    with pytest.raises(TooLarge, match="Line 2"):
        inspector.feed(b"x" * 11)


def test_lone_carriage_returns_as_line_ends_are_refused() -> None:
    assert "carriage return" in verdict([b"a,b\r1,2\r"])


def test_an_empty_file_is_refused() -> None:
    assert "is empty" in verdict([])
    with pytest.raises(InvalidInput, match="is empty"):
        sniff("data.csv", b"")


def test_a_truncated_parquet_upload_is_refused_with_the_remedy() -> None:
    assert "truncated" in verdict([b"PAR1", b"\x00" * 100], DatasetFormat.PARQUET)
    assert "truncated" in verdict([b"PAR1", b"\x00" * 10, b"\xff\xff\xff\x7fPAR1"], DatasetFormat.PARQUET)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("data.xlsx", b"PK\x03\x04", "extension '.xlsx'"),
        ("data", b"a,b\n", "no extension"),
        ("data.exe", b"MZ", "extension '.exe'"),
        ("data.json", b"[]", "extension '.json'"),
        ("data.csv", b"\x1f\x8b\x08", "gzip"),
        ("data.jsonl", b"PK\x03\x04", "zip"),
        ("data.csv", "a,b\n".encode("utf-16"), "UTF-16"),
        ("data.csv", "a,b\n1,2\n".encode("utf-16-le"), "UTF-16 without a mark"),
        ("data.csv", "a,b\n".encode("utf-32"), "UTF-32"),
        ("data.csv", "a,b\n".encode("utf-8-sig"), "byte order mark"),
        ("data.csv", b"PAR1\x00\x00", "contains Parquet"),
        ("data.parquet", b"a,b\n", "PAR1"),
        ("data.csv", b'{"a": 1}\n', "contains JSON"),
        ("data.jsonl", b'[{"a": 1}]', "JSON array"),
        ("data.jsonl", b"a,b\n", "JSON object"),
        ("data.csv", b"\x80\x04\x95", "pickle"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(name: str, content: bytes, problem: str) -> None:
    with pytest.raises(UnsupportedFormat) as caught:
        sniff(name, content)
    assert problem in caught.value.message
    assert caught.value.remedy


def test_right_files_are_recognized() -> None:
    assert sniff("a.CSV", b"a,b\n1,2\n") is DatasetFormat.CSV
    assert sniff("a.jsonl", b' {"a": 1}\n') is DatasetFormat.JSONL
    assert sniff("a.parquet", b"PAR1\x15") is DatasetFormat.PARQUET


def test_a_hostile_file_name_cannot_steer_the_terminal_or_flood_the_log() -> None:
    with pytest.raises(UnsupportedFormat) as caught:
        sniff("\x1b[31m\u202e" + "a" * 10_000 + ".exe", b"x")
    assert "\x1b" not in caught.value.message
    assert "\u202e" not in caught.value.message
    assert len(caught.value.message) < 300
