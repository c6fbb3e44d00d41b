"""A catalogue of what people and attackers upload as data sets: each kind is refused, or read exactly right.

`refused` is a regular expression that the refusal must match (its message or one of its details). Otherwise `rows` is
the whole content, column by column, as the checks must see it: cells of CSV and JSON lines are text, null is None.
Large files are made while they are sent, and bombs are small files that would grow.
"""

# ruff: noqa: E501 - a table, a line a kind

import bz2
import gzip
import io
import json
import lzma
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Content = bytes | Iterator[bytes] | dict[str, bytes]
MEBIBYTE = 1024**2


@dataclass(frozen=True)
class BadFile:
    """One kind. `content` gives bytes, pieces of a large file, or several files by name (then `name` is unused)."""

    kind: str
    name: str
    content: Callable[[], Content]
    refused: str = ""
    rows: dict[str, list[Any]] | None = None

    def files(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        """As an upload hands them over."""
        made = self.content()
        for name, body in made.items() if isinstance(made, dict) else [(self.name, made)]:
            yield name, _pieces(body) if isinstance(body, bytes) else body


def _pieces(body: bytes) -> Iterator[bytes]:
    return (body[at : at + 65_536] for at in range(0, len(body), 65_536))


def _text(fmt: str) -> Callable[..., BadFile]:
    def bad(kind: str, content: str | bytes | Callable[[], Content], refused: str = "", **rows: list[Any]) -> BadFile:
        body = content.encode() if isinstance(content, str) else content
        make = body if callable(body) else partial(bytes, body)
        return BadFile(f"{fmt}: {kind}", f"data.{fmt}", make, refused, rows or None)

    return bad


csv, jsonl, parquet = _text("csv"), _text("jsonl"), _text("parquet")


def named(kind: str, content: str | bytes | Callable[[], Content], rows: dict[str, list[Any]]) -> BadFile:
    """An accepted CSV file whose columns have names that are no Python words."""
    body = content.encode() if isinstance(content, str) else content
    return BadFile(f"csv: {kind}", "data.csv", body if callable(body) else partial(bytes, body), "", rows)


def written(table: pa.Table, **options: Any) -> bytes:
    """A table as a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def one_line(before: bytes, unit: bytes, megabytes: int) -> Iterator[bytes]:
    """A line of so many megabytes, made while it is sent."""
    yield before
    for _ in range(megabytes):
        yield unit * (MEBIBYTE // len(unit))


def _zipped() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("data.csv", "a,b\n1,2\n")
    return sink.getvalue()


def _tarred() -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("data.csv"))
    return sink.getvalue()


def _arrow() -> bytes:
    sink = io.BytesIO()
    table = pa.table({"a": [1]})
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _wide(columns: int) -> str:
    return ",".join(f"c{i}" for i in range(columns))


BYTES = [
    csv("UTF-16 little endian with a mark", "a,b\n1,2\n".encode("utf-16"), "UTF-16"),
    csv("UTF-16 big endian with a mark", b"\xfe\xff" + "a,b\n1,2\n".encode("utf-16-be"), "UTF-16"),
    csv("UTF-16 without a mark", "a,b\n1,2\n".encode("utf-16-le"), "UTF-16 without a mark"),
    csv("UTF-32", "a,b\n1,2\n".encode("utf-32"), "UTF-32"),
    csv("byte order mark", "a,b\n1,2\n".encode("utf-8-sig"), "byte order mark"),
    jsonl("byte order mark", '{"a":1}\n'.encode("utf-8-sig"), "byte order mark"),
    csv("Latin-1", "name\ncafé\n".encode("latin-1"), r"not valid UTF-8 at byte 8 \(line 2\)"),
    csv("CP949", "name\n안녕\n".encode("cp949"), "not valid UTF-8"),
    jsonl("CP949", '{"a":"안녕"}\n'.encode("cp949"), "not valid UTF-8"),
    csv("invalid UTF-8 in the last of many rows", b"a\n" + b"x\n" * 50_000 + b"\xff\n", r"line 50002"),
    csv("a character cut off at the end", "a\n한".encode()[:-1], "not valid UTF-8"),
    csv("overlong UTF-8", b"a\n\xc0\x80\n", "not valid UTF-8"),
    csv("surrogates in UTF-8", b"a\n\xed\xa0\x80\n", "not valid UTF-8"),
    csv("NUL byte", b"a,b\n1,\x002\n", r"NUL byte at byte 6 \(line 2\)"),
    jsonl("NUL byte", b'{"a":"\x00"}\n', "NUL byte"),
    csv("lone carriage returns", "a,b\r1,2\r", "carriage return"),
    jsonl("lone carriage returns", '{"a":1}\r{"a":2}\r', "carriage return"),
    csv("empty file", b"", "is empty"),
    jsonl("empty file", b"", "is empty"),
    parquet("empty file", b"", "is empty"),
    csv("100 MB on one line", partial(one_line, b"a\n", b"x", 100), "longer than 16777216 bytes"),
    csv("100 MB on one line of commas", partial(one_line, b"", b"a,", 100), "longer than 16777216 bytes"),
    jsonl("100 MB on one line", partial(one_line, b'{"a":"', b"x", 100), "longer than 16777216 bytes"),
    csv("100,000 lines of nothing", b"\n" * 100_000, "no header"),
    jsonl("100,000 lines of nothing", b"\n" * 100_000, "no rows"),
]

OTHER_FORMATS = [
    csv("gzip bomb", lambda: gzip.compress(b"a,b\n" + b"1,2\n" * 4_000_000, 1), "gzip-compressed"),
    jsonl("zip archive", _zipped, "zip-compressed"),
    csv("spreadsheet", _zipped, "zip-compressed"),
    csv("bzip2", lambda: bz2.compress(b"a\n1\n"), "bzip2-compressed"),
    csv("xz", lambda: lzma.compress(b"a\n1\n"), "xz-compressed"),
    csv("zstd", lambda: pa.compress(b"a\n1\n", codec="zstd", asbytes=True), "zstd-compressed"),
    csv("tar archive", _tarred, "binary file"),
    csv("pickle", lambda: pickle.dumps({"a": 1}), "pickle"),
    csv("PDF document", b"%PDF-1.7\n", "PDF"),
    parquet("Arrow IPC file", _arrow, "Arrow IPC"),
    parquet("ORC file", b"ORC\x00", "ORC"),
    parquet("Avro file", b"Obj\x01\x00", "Avro"),
    csv("SQLite database", b"SQLite format 3\x00\x10", "SQLite"),
    csv("Parquet", lambda: written(pa.table({"a": [1]})), "contains Parquet"),
    parquet("CSV", "a,b\n1,2\n", "does not begin with the Parquet magic"),
    parquet("encrypted footer", b"PARE" + b"\x00" * 100 + b"PARE", "does not begin with the Parquet magic"),
    csv("JSON lines", '{"a":1}\n', "contains JSON"),
    jsonl("JSON array", '[{"a":1},{"a":2}]', "one JSON array"),
    jsonl("CSV", "a,b\n1,2\n", "does not begin with a JSON object"),
    jsonl("pretty printed object", json.dumps({"a": 1, "b": 2}, indent=2), "Row 1"),
    csv("error page of a web server", "<!DOCTYPE html>\n<html><body>404, not found</body></html>\n", "HTML"),
    csv("XML", '<?xml version="1.0"?>\n<rows/>\n', "XML"),
    csv(
        "pointer of Git LFS",
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "Git LFS",
    ),
    BadFile("no extension", "data", lambda: b"a\n1\n", "no extension"),
    BadFile("program", "data.exe", lambda: b"MZ\x90", "extension '.exe'"),
    BadFile("two formats", "", lambda: {"a.csv": b"a\n1\n", "b.jsonl": b'{"a":1}\n'}, "different formats"),
]

CSV = [
    csv("short row", "a,b\n1,2\n3\n", "Row 2 has 1 cells where the header has 2"),
    csv("row cut off at the end", "a,b,c\n1,2,3\n4,5", "Row 2 has 2 cells"),
    csv("long row", "a,b\n1,2\n3,4,5\n", "Row 2 has 3 cells"),
    csv("100,000 ragged rows", b"a,b\n" + b"1\n" * 100_000, r"10000 problem\(s\).*Row 1 has 1 cells"),
    csv("repeated name", "a,b,a\n1,2,3\n", "column 'a' appears more than once"),
    csv("missing name", "a,,c\n1,2,3\n", "Column 2 has no name"),
    csv("blank name", "a,  ,c\n1,2,3\n", "Column 2 has no name"),
    csv("header without rows", "a,b\n", "no rows"),
    csv("semicolons", "a;b\n1;2\n", "another delimiter"),
    csv("tabulators", "a\tb\n1\t2\n", "another delimiter"),
    csv("bars", "a|b\n1|2\n", "another delimiter"),
    csv("note of a spreadsheet about its delimiter", "sep=;\na;b\n1;2\n", "another delimiter"),
    csv("quote that never closes, 5 MB", b'a,b\n1,"' + b"x\n" * 2_500_000, "Reading stopped after row 0"),
    csv("text behind a closing quote", 'a,b\n1,"x"y\n', "Reading stopped after row 0"),
    csv("space before a quote", 'a,b\n1, "x,y"\n', "Row 1 has 3 cells"),
    csv("thousands without quotes", "a,b\n1,234,5\n", "Row 1 has 3 cells"),
    csv("comment before the header", "# exported\na,b\n1,2\n", "Row 1 has 2 cells where the header has 1"),
    csv("100,000 columns", f"{_wide(100_000)}\n".encode, "100000 columns; at most 1000"),
    csv("name of 1 MB", lambda: b"a" * MEBIBYTE + b",b\n1,2\n", "longer than 255 characters"),
    csv("name with a line end", '"a\nb",c\n1,2\n', "control character"),
    csv("name that turns the text around", "a,b\u202egnp\n1,2\n", "control character"),
    csv("name that stands for every column", "*,b\n1,2\n", "stands for several columns"),
    csv("name that is a pattern", "^.*$,b\n1,2\n", "stands for several columns"),
    csv("CR LF", "a,b\r\n1,2\r\n", a=["1"], b=["2"]),
    csv("mixed line ends", "a,b\r\n1,2\r3,4\n", a=["1", "3"], b=["2", "4"]),
    csv("no line end at the end", "a,b\n1,2", a=["1"], b=["2"]),
    csv("blank lines between rows", "a,b\n\n1,2\n\r\n\n3,4\n\n", a=["1", "3"], b=["2", "4"]),
    csv("quoted line ends and commas", 'a,b\n"1\n,\r\n2","x"\n', a=["1\n,\r\n2"], b=["x"]),
    csv("doubled quotes", 'a,b\n"say ""hi""",""""\n', a=['say "hi"'], b=['"']),
    csv("quote inside a cell", 'a,b\n5" disk,2\n', a=['5" disk'], b=["2"]),
    csv("other line separators", "a,b\nx\u2028y,x\u0085y\x0b\x0c\n", a=["x\u2028y"], b=["x\u0085y\x0b\x0c"]),
    csv("formulas", "a,b\n=cmd|' /C calc'!A0,+1+1\n@x,-2\n", a=["=cmd|' /C calc'!A0", "@x"], b=["+1+1", "-2"]),
    csv("script", "a\n<script>alert(1)</script>\n", a=["<script>alert(1)</script>"]),
    csv("leading zeros", "a\n007\n010\n", a=["007", "010"]),
    csv("whole number beyond 64 bits", "a\n123456789012345678901234567890\n1\n", a=["123456789012345678901234567890", "1"]),
    csv("number beyond a float", "a\n1e400\n2.5\n", a=["1e400", "2.5"]),
    csv("words for nothing", "a,b\nNA,NULL\nnan,None\n", a=["NA", "nan"], b=["NULL", "None"]),
    csv("cells of blanks", 'a,b\n" ",\n', a=[" "], b=[None]),
    csv("decimal commas", 'a\n"1,5"\n"2,5"\n', a=["1,5", "2,5"]),
    csv("invisible characters", "a\nx\u200by\u202ez\n", a=["x\u200by\u202ez"]),
    csv("beyond the basic plane", "a\n😀𝒳\U0010ffff\n", a=["😀𝒳\U0010ffff"]),
    named("name with dots and blanks", " a.b ,c d\n1,2\n", {" a.b ": ["1"], "c d": ["2"]}),
    named("name in capitals too", "a,A\n1,2\n", {"a": ["1"], "A": ["2"]}),
    csv(
        "columns in another order", lambda: {"a.csv": b"a,b\n1,2\n", "b.csv": b"b,a\n4,3\n"}, a=["1", "3"], b=["2", "4"]
    ),
    csv("other columns", lambda: {"a.csv": b"a,b\n1,2\n", "b.csv": b"a,c\n3,4\n"}, "differ from those of a.csv: b, c"),
    csv("one good file and one bad", lambda: {"a.csv": b"a\n1\n", "b.csv": b'a\n"'}, "Reading stopped"),
]  # fmt: skip

JSONL = [
    jsonl("lone surrogate", '{"a":"\\ud800"}\n', "Row 1"),
    jsonl("half of a surrogate pair", '{"a":"\\udc00\\ud83d"}\n', "Row 1"),
    jsonl("repeated key", '{"a":1,"a":2}\n', "key 'a' appears twice"),
    jsonl("repeated key behind an escape", '{"a":1,"\\u0061":2}\n', "key 'a' appears twice"),
    jsonl("repeated key inside", '{"a":{"b":1,"b":2}}\n', "key 'b' appears twice"),
    jsonl("not a number", '{"a":NaN}\n', "Row 1"),
    jsonl("infinity", '{"a":-Infinity}\n', "Row 1"),
    jsonl("number beyond a float", '{"a":1e400}\n', "Row 1"),
    jsonl("number beyond a float inside", '{"a":[1e400]}\n', "Row 1"),
    jsonl("whole number beyond 63 bits", '{"a":9223372036854775808}\n', "does not fit 64 bits"),
    jsonl("whole number beyond 64 bits", '{"a":123456789012345678901234567890}\n', "does not fit 64 bits"),
    jsonl("whole number beyond 64 bits inside", '{"a":{"b":[-9223372036854775809]}}\n', "does not fit 64 bits"),
    jsonl("100,000 arrays in one another", b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "Row 1"),
    jsonl("100,000 arrays that never end", b'{"a":' + b"[" * 100_000 + b"\n", "Row 1"),
    jsonl("5,000 objects in one another", b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"\n", "Row 1"),
    jsonl("200 arrays in one another", b'{"a":' + b"[" * 200 + b"]" * 200 + b"}\n", "nested deeper than 32"),
    jsonl("20,000 keys", lambda: _keys(20_000), "columns; at most 1000"),
    jsonl("20,000 keys in one row", lambda: json.dumps({f"k{i}": 1 for i in range(20_000)}).encode(), "20000 columns"),
    jsonl("key of 1 MB", lambda: json.dumps({"k" * MEBIBYTE: 1}).encode(), "longer than 255 characters"),
    jsonl("NUL in a key", '{"a\\u0000":1}\n', "control character"),
    jsonl("key without a name", '{"":1}\n', "has no name"),
    jsonl("empty object", '{}\n{"a":1}\n', "the object is empty"),
    jsonl("comma at the end", '{"a":1,}\n', "Row 1"),
    jsonl("comment", '{"a":1} // one\n', "Row 1"),
    jsonl("single quotes", "{'a':1}\n", "Row 1"),
    jsonl("two objects on a line", '{"a":1}{"a":2}\n', "Row 1"),
    jsonl("commas between the rows", '{"a":1},\n{"a":2}\n', "Row 1"),
    jsonl("row cut off at the end", '{"a":1}\n{"a":', "Row 2"),
    jsonl("a row that is an array", '{"a":1}\n[2]\n', "Row 2: the line holds an array"),
    jsonl("a row that is a number", '{"a":1}\n2\n', "Row 2: the line holds a number"),
    jsonl("a row that is null", '{"a":1}\nnull\n', "Row 2: the line holds null"),
    jsonl("raw control character in a string", '{"a":"x\x01y"}\n', "Row 1"),
    jsonl("two types in a column", '{"a":1}\n{"a":"x"}\n', "integer at first and string in row 2"),
    jsonl("key that stands for every column", '{"*":1,"b":2}\n', "stands for several columns"),
    jsonl("CR LF and blank lines", '{"a":1}\r\n\r\n \n{"a":2}\r\n', a=["1", "2"]),
    jsonl("key that comes late", b'{"a":1}\n' * 300 + b'{"a":2,"z":"x"}\n', a=["1"] * 300 + ["2"], z=[None] * 300 + ["x"]),
    jsonl("keys in any order", '{"a":1,"b":2}\n{"b":3,"a":4}\n', a=["1", "4"], b=["2", "3"]),
    jsonl("NUL in a text", '{"a":"x\\u0000y"}\n', a=["x\0y"]),
    jsonl("escaped pair and line ends", '{"a":"\\ud83d\\ude00\\n\\u2028"}\n', a=["😀\n\u2028"]),
    jsonl("whole numbers and fractions", '{"a":1}\n{"a":2.5}\n{"a":-9223372036854775808}\n', a=["1", "2.5", "-9223372036854775808"]),
    jsonl("null and absent", '{"a":null,"b":1}\n{"b":2}\n', a=[None, None], b=["1", "2"]),
    jsonl("nested values", '{"a":{"b":[1,{"c":"한"}]}}\n', a=['{"b":[1,{"c":"한"}]}']),
    jsonl("many digits inside a text", '{"a":"123456789012345678901234567890"}\n', a=["123456789012345678901234567890"]),
]  # fmt: skip


def _keys(count: int) -> bytes:
    return b"".join(b'{"k%d":1}\n' % i for i in range(count))


def _damaged(at: int, by: bytes) -> bytes:
    """A sound file of two columns with some bytes replaced; negative positions count from the end."""
    whole = written(pa.table({"a": list(range(1000)), "b": ["text"] * 1000}), compression="none")
    at = at if at >= 0 else len(whole) + at
    return whole[:at] + by + whole[at + len(by) :]


def _with_checksums_broken() -> bytes:
    table = pa.table({"a": [f"value {i}" for i in range(1000)]})
    whole = written(table, compression="none", write_page_checksum=True, use_dictionary=False)
    return whole.replace(b"value 500", b"value 900", 1)


def _deep(levels: int) -> bytes:
    kind = pa.int64()
    for _ in range(levels):
        kind = pa.struct([("x", kind)])
    return written(pa.table({"a": pa.nulls(1, kind)}))


def _nulls() -> bytes:
    return written(pa.table({"a": pa.nulls(30_000_000, pa.int8())}))


def _zeros(compression: str) -> bytes:
    sink = io.BytesIO()
    group = pa.table({"a": pa.array([" " * 1_000_000] * 50, pa.large_string())})
    with pq.ParquetWriter(sink, group.schema, compression=compression, use_dictionary=False) as writer:
        for _ in range(8):
            writer.write_table(group)
    return sink.getvalue()


def _dictionary(rows: int, cell: int) -> bytes:
    cells = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), ["x" * cell])
    return written(pa.table({"a": cells}))


def _shared_beginnings(rows: int, cell: int) -> bytes:
    cells = pa.array(["x" * cell] * rows, pa.large_string())
    return written(pa.table({"a": cells}), use_dictionary=False, column_encoding={"a": "DELTA_BYTE_ARRAY"})


def _many_columns(count: int) -> bytes:
    return written(pa.table({f"c{i}": [1] for i in range(count)}), compression="none", write_statistics=False)


def _invalid_text() -> bytes:
    array = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")])
    return written(pa.table({"a": array}))


def _map(*pairs: tuple[str, int]) -> bytes:
    return written(pa.table({"a": pa.array([list(pairs)], pa.map_(pa.string(), pa.int64()))}))


def _times(unit: str, zone: str | None, *values: int) -> pa.Table:
    return pa.table({"a": pa.array(values, pa.timestamp(unit, zone))})


def _doubled_fields() -> bytes:
    kind = pa.struct([("x", pa.int64()), ("x", pa.int64())])
    inner = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], fields=list(kind))
    return written(pa.table({"a": inner}))


PARQUET = [
    parquet("cut off", lambda: _damaged(0, b"")[:-20], "truncated or damaged"),
    parquet("nothing but the magic", b"PAR1", "truncated or damaged"),
    parquet("magic of the head destroyed", lambda: _damaged(0, b"XXXX"), "does not begin with the Parquet magic"),
    parquet("magic of the end destroyed", lambda: _damaged(-4, b"XXXX"), "truncated or damaged"),
    parquet("footer of 2 GB", lambda: _damaged(-8, b"\xff\xff\xff\x7f"), "truncated or damaged"),
    parquet("footer length of zero", lambda: _damaged(-8, b"\0\0\0\0"), "damaged"),
    parquet("footer of garbage", lambda: _damaged(-400, b"\xff" * 300), "damaged"),
    parquet("damaged page header", lambda: _damaged(4, b"\xff" * 40), "damaged"),
    parquet("hole in the middle", lambda: _damaged(0, b"")[:2_000] + _damaged(0, b"")[2_500:], "damaged"),
    parquet("page that differs from its checksum", _with_checksums_broken, "damaged"),
    parquet("invalid UTF-8", _invalid_text, "damaged"),
    parquet("repeated name", lambda: written(pa.table([[1], [2]], names=["a", "a"])), "appears more than once"),
    parquet("column without a name", lambda: written(pa.table([[1]], names=[""])), "has no name"),
    parquet("NUL in a name", lambda: written(pa.table([[1]], names=["a\0b"])), "control character"),
    parquet("name that is a pattern", lambda: written(pa.table([[1], [2]], names=["^.*$", "b"])), "stands for several"),
    parquet("200 structs in one another", partial(_deep, 200), "damaged|nested"),
    parquet("30 million empty cells", _nulls, "promises 30000000 values|would grow"),
    parquet("zstd bomb, 400 MB", partial(_zeros, "zstd"), "would grow"),
    parquet("gzip bomb, 400 MB", partial(_zeros, "gzip"), "would grow"),
    parquet("dictionary bomb, 50 GB", partial(_dictionary, 50_000, 1_000_000), "grows beyond"),
    parquet("bomb of shared beginnings, 300 MB", partial(_shared_beginnings, 300, 1_000_000), "grows beyond"),
    parquet("5,000 columns", partial(_many_columns, 5_000), "5000 columns; at most 1000"),
    parquet("binary column", lambda: written(pa.table({"a": [b"\0"], "b": ["x"]})), "type binary"),
    parquet("duration", lambda: written(pa.table({"a": pa.array([1], pa.duration("s"))})), r"type duration"),
    parquet("time of day", lambda: written(pa.table({"a": pa.array([1], pa.time64("us"))})), r"type time64"),
    parquet("no columns", lambda: written(pa.table({})), "no columns"),
    parquet("no rows", lambda: written(pa.table({"a": pa.array([], pa.int64())})), "no rows"),
    parquet("map with a repeated key", partial(_map, ("k", 1), ("k", 2)), "same key twice"),
    parquet("struct with a repeated field", _doubled_fields, "damaged|appears more than once"),
    parquet("time beyond the calendar", lambda: written(_times("us", None, 2**62)), "outside the years 1 to 9999"),
    parquet("seconds beyond the calendar", lambda: written(_times("s", None, 2**53)), "outside the years 1 to 9999"),
    parquet("time in two zones", lambda: {
        "a.parquet": written(_times("us", None, 0)), "b.parquet": written(_times("us", "Asia/Seoul", 0)),
    }, "timestamp"),
    parquet("two types in two files", lambda: {
        "a.parquet": written(pa.table({"a": [1]})), "b.parquet": written(pa.table({"a": ["x"]})),
    }, "integer at first and string"),
    parquet("texts with shared beginnings", partial(_shared_beginnings, 200, 3), a=["xxx"] * 200),
    parquet("cells of 1 MB from a dictionary", partial(_dictionary, 20, 1_000_000), a=["x" * 1_000_000] * 20),
    parquet("whole numbers beyond 63 bits", lambda: written(pa.table({"a": pa.array([2**64 - 1], pa.uint64())})), a=[2**64 - 1]),
    parquet("not a number and infinity", lambda: written(pa.table({"a": [float("inf"), -float("inf"), 1.5, None]})), a=[float("inf"), -float("inf"), 1.5, None]),
    parquet("NUL in a text", lambda: written(pa.table({"a": ["x\0y", "\u202e"]})), a=["x\0y", "\u202e"]),
    parquet("one row in each of 300 row groups", lambda: written(pa.table({"a": list(range(300))}), row_group_size=1), a=list(range(300))),
    parquet("dictionaries", lambda: written(pa.table({"a": pa.array(["x", None, "x"]).dictionary_encode()})), a=["x", None, "x"]),
    parquet("nested values", lambda: written(pa.table({"a": [[{"b": "한"}], None]})), a=['[{"b":"한"}]', None]),
    parquet("a map", partial(_map, ("k", 1), ("l", 2)), a=['{"k":1,"l":2}']),
    parquet("nothing but nulls", lambda: written(pa.table({"a": pa.nulls(3)})), a=[None, None, None]),
]  # fmt: skip

CATALOGUE = [*BYTES, *OTHER_FORMATS, *CSV, *JSONL, *PARQUET]
