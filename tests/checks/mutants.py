"""Damaged data set files by the thousand: `python -m tests.checks.mutants FORMAT FIRST LAST FOLDER` judges some.

Each is made from a seed, so that a number names it for good. What the intake accepts must be what another reader
(csv, json, pyarrow) finds in the same bytes, cell by cell; anything else must be refused with a remedy. One line of
JSON is written for each. The process has the parser's limits, and an alarm ends it when one file takes too long.
"""

import csv
import io
import json
import random
import re
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from llmops_resources.checks.bytes import ByteInspector
from llmops_resources.checks.formats import SNIFF_BYTES, DatasetFormat, sniff
from llmops_resources.checks.options import CheckOptions
from llmops_resources.checks.parsing import ParseRequest, parse
from llmops_resources.checks.profiles import profile
from llmops_resources.checks.quality import check_quality
from llmops_resources.checks.spool import ColumnType, Spool, type_of_arrow
from llmops_resources.checks.structure import StructureReport
from llmops_resources.errors import PlatformError

OPTIONS = CheckOptions()
SECONDS = 30
_SPRINKLED = [
    b"\0", b'"', b'""', b"\n", b"\r", b"\r\n", b",", b"\xff", b"\xc3", b"\xef\xbb\xbf", "한".encode(), b"\\", b"{}",
    b"[" * 40, b":", b" ",
]  # fmt: skip
_HUGE = [b"9" * 19, b"9" * 400, b"1e999", b"-0", b"00", b"1e5", b"NaN", b"9223372036854775808", b"0.1", b"1_0"]


def _csv_seeds() -> list[bytes]:
    long = "".join(f'{i},"text {i}, with a comma",{i / 7:.3f},{"true" if i % 2 else "false"}\n' for i in range(30))
    return [
        b"id,name,amount\n1,a,1.5\n2,b,-3\n3,,0\n",
        f"id,text,share,good\n{long}".encode(),
        '질문,답\r\n"서울은 ""어디""?","대한민국의\n수도"\r\n하늘,\r\n'.encode(),
    ]


def _jsonl_seeds() -> list[bytes]:
    answers = [("user", f"질문 {i}") if i % 2 else ("assistant", "x" * i) for i in range(16)]
    chats = [{"messages": [{"role": role, "content": content}]} for role, content in answers]
    rows = [{"id": i, "text": f'{i} \\ "x"', "share": i / 7, "good": i % 2 == 0, "none": None} for i in range(20)]
    few = [{"a": 1}, {"a": 2, "b": {"c": [1, 2.5, None]}}]
    return [
        "".join(json.dumps(row, ensure_ascii=number % 2 == 0) + "\n" for number, row in enumerate(seed)).encode()
        for seed in (chats, rows, few)
    ]


def _parquet_seeds() -> list[bytes]:
    flat = pa.table({
        "id": list(range(200)), "text": [f"text {i % 50} 한글" if i % 9 else None for i in range(200)],
        "share": [i / 7 for i in range(200)], "good": [i % 3 == 0 for i in range(200)],
        "day": [date(2026, 1, 1 + i % 28) for i in range(200)],
        "at": pa.array([datetime(2026, 1, 1 + i % 28, tzinfo=UTC) for i in range(200)], pa.timestamp("us", "UTC")),
        "price": [Decimal(i) / 100 for i in range(200)],
    })  # fmt: skip
    chats = [[{"role": "user", "content": f"안녕 {i}"}] for i in range(40)]
    nested = pa.table({"m": chats, "s": [{"x": i} for i in range(40)]})
    choices: list[tuple[pa.Table, dict[str, Any]]] = [
        (flat, {}), (flat, {"compression": "none", "use_dictionary": False, "row_group_size": 60}),
        (flat, {"compression": "zstd", "write_page_checksum": True}), (nested, {"compression": "none"}),
        (pa.table({"a": ["x", "y"]}), {"compression": "none", "write_statistics": False, "store_schema": False}),
    ]  # fmt: skip
    made = []
    for table, options in choices:
        sink = io.BytesIO()
        pq.write_table(table, sink, **options)
        made.append(sink.getvalue())
    return made


SEEDS: dict[str, Callable[[], list[bytes]]] = {"csv": _csv_seeds, "jsonl": _jsonl_seeds, "parquet": _parquet_seeds}


def mutant(fmt: str, number: int, seeds: list[bytes]) -> bytes:
    """Mutant `number` of a format: one of the seeds after one to three strokes of bad luck."""
    chance = random.Random(f"{fmt} {number}")
    content = chance.choice(seeds)
    strokes = [_flip, _cut, _swap, _double, _lose, _sprinkle, _inflate]
    if fmt == "parquet":
        strokes += [_footer, _footer, _footer_length, _flip, _flip, _flip]
    for _ in range(chance.choice((1, 1, 2, 3))):
        content = chance.choice(strokes)(chance, content)
    return content


def _span(chance: random.Random, content: bytes, longest: int = 200) -> tuple[int, int]:
    start = chance.randrange(len(content) + 1)
    return start, min(len(content), start + chance.randint(1, longest))


def _flip(chance: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.randint(1, 8) if changed else 0):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _cut(chance: random.Random, content: bytes) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def _swap(chance: random.Random, content: bytes) -> bytes:
    a, b, c = sorted(chance.randrange(len(content) + 1) for _ in range(3))
    return content[:a] + content[b:c] + content[a:b] + content[c:]


def _double(chance: random.Random, content: bytes) -> bytes:
    start, end = _span(chance, content)
    return content[:end] + content[start:end] * chance.choice((1, 1, 5)) + content[end:]


def _lose(chance: random.Random, content: bytes) -> bytes:
    start, end = _span(chance, content, 40)
    return content[:start] + content[end:]


def _sprinkle(chance: random.Random, content: bytes) -> bytes:
    at = chance.randrange(len(content) + 1)
    return content[:at] + chance.choice(_SPRINKLED) + content[at:]


def _inflate(chance: random.Random, content: bytes) -> bytes:
    numbers = list(re.finditer(rb"[0-9]+", content))
    if not numbers:
        return content
    number = chance.choice(numbers)
    return content[: number.start()] + chance.choice(_HUGE) + content[number.end() :]


def _footer(chance: random.Random, content: bytes) -> bytes:
    if len(content) < 12:
        return content
    length = int.from_bytes(content[-8:-4], "little")
    changed = bytearray(content)
    for _ in range(chance.randint(1, 6)):
        at = max(0, len(content) - 8 - chance.randint(1, max(1, min(length, len(content) - 8))))
        changed[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    return bytes(changed)


def _footer_length(chance: random.Random, content: bytes) -> bytes:
    length = chance.choice((0, 1, 2**31 - 1, 2**32 - 1, len(content), chance.randrange(2**16)))
    return content[:-8] + length.to_bytes(4, "little") + content[-4:]


def judged(fmt: str, content: bytes, folder: Path) -> tuple[str, str]:
    """(refused, accepted or wrong; why) for a file of these bytes, by the steps of the intake."""
    name, path = f"data.{fmt}", folder / f"data.{fmt}"
    path.write_bytes(content)
    try:
        form = sniff(name, content[:SNIFF_BYTES])
        inspector = ByteInspector(name, form, max_line_bytes=OPTIONS.max_row_bytes)
        for at in range(0, len(content), 997):
            inspector.feed(content[at : at + 997])
        inspector.finish()
    except PlatformError as error:
        return ("refused", error.message) if error.remedy else ("wrong", f"no remedy: {error.message}")
    rows = folder / "rows"
    shutil.rmtree(rows, ignore_errors=True)
    rows.mkdir()
    answer = parse(ParseRequest(fmt=DatasetFormat(fmt), files=((name, path),), folder=rows, options=OPTIONS))
    if answer.problems:
        unclear = [p.message for p in answer.problems if not p.remedy or not p.message or len(p.message) > 300]
        return ("wrong", f"unclear: {unclear}") if unclear else ("refused", answer.problems[0].message)
    return _compared(fmt, content, answer.spool)


def _compared(fmt: str, content: bytes, spool: Spool) -> tuple[str, str]:
    found = spool.scan().collect()
    expected = READERS[fmt](content)
    if found.height != spool.rows or not spool.rows:
        return "wrong", f"{found.height} rows spooled, {spool.rows} told"
    kinds = {column.name: column.type for column in spool.columns}
    for name in {**expected, **dict.fromkeys(found.columns)}:
        if name not in expected or name not in found.columns:
            return "wrong", f"column {name!r} is not in both"
        seen = [_plain(cell, kinds[name]) for cell in found[name].to_list()]
        if fmt != "csv" and kinds[name] not in {ColumnType.STRING, ColumnType.DATE, ColumnType.DATETIME}:
            seen = [json.loads(cell) if isinstance(cell, str) else cell for cell in seen]
        if repr(seen) != repr(expected[name]):
            return "wrong", f"column {name!r}: {seen!r:.200} is not {expected[name]!r:.200}"
    structure = StructureReport(passed=True, problems=(), counts={}, problem_count=0)
    quality = check_quality(spool, structure, profile(spool), None)
    return ("accepted", "") if 0 <= quality.score <= 100 else ("wrong", f"a score of {quality.score}")


def _plain(cell: Any, kind: ColumnType) -> Any:
    return cell.isoformat() if kind in {ColumnType.DATE, ColumnType.DATETIME} and cell is not None else cell


def _read_csv(content: bytes) -> dict[str, list[Any]]:
    rows = [row for row in csv.reader(io.StringIO(content.decode(), newline=""), strict=True) if row]
    return {name: [row[place] or None for row in rows[1:]] for place, name in enumerate(rows[0])}


def _read_jsonl(content: bytes) -> dict[str, list[Any]]:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({key for key, _ in items}) == len(items), "a key is there twice"
        return dict(items)

    def constant(text: str) -> None:
        raise AssertionError(f"{text} is no JSON")

    lines = [line for line in content.decode().split("\n") if line.strip()]
    rows = [json.loads(line, object_pairs_hook=pairs, parse_constant=constant) for line in lines]
    return {name: [row.get(name) for row in rows] for row in rows for name in row}


def _read_parquet(content: bytes) -> dict[str, list[Any]]:
    table = pq.read_table(io.BytesIO(content), use_threads=False)
    nested = {ColumnType.LIST, ColumnType.OBJECT}
    columns: dict[str, list[Any]] = {}
    for field in table.schema:
        kind, cells = type_of_arrow(field.type), table[field.name].to_pylist()
        as_read = [json.loads(json.dumps(cell, default=str)) for cell in cells] if kind in nested else cells
        columns[field.name] = [_plain(cell, kind) for cell in as_read]
    return columns


READERS = {"csv": _read_csv, "jsonl": _read_jsonl, "parquet": _read_parquet}


def main() -> None:
    """Judge the mutants FIRST to LAST - 1 and say so, one line each."""
    fmt, first, last, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    resource.setrlimit(resource.RLIMIT_AS, (12 * 1024**3, 12 * 1024**3))
    seeds = SEEDS[fmt]()
    for number in range(first, last):
        signal.alarm(SECONDS)
        try:
            verdict, why = judged(fmt, mutant(fmt, number, seeds), folder)
        except MemoryError:
            verdict, why = "refused", "out of memory"  # the parsing process ends then, and its parent says so
        except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001 - whatever it is, it is a finding
            verdict, why = "wrong", f"{type(error).__name__}: {error}"
        print(json.dumps([number, verdict, why[:400]]), flush=True)
    signal.alarm(0)


if __name__ == "__main__":
    main()
