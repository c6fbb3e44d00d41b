"""The parsing process: `python -m llmops_resources.checks.parsing` reads a request on stdin, answers on stdout.

Native parsers may crash or ask for all memory, so nothing else happens in this process and its limits are the
kernel's: address space and processor time. The parent side is `structure.py`.
"""

import os
import resource
import sys
from pathlib import Path

import orjson
import polars as pl
import pyarrow as pa

from llmops_resources.checks.formats import DatasetFormat
from llmops_resources.checks.options import CheckOptions
from llmops_resources.checks.parquet import read_parquet
from llmops_resources.checks.problems import Problem, Problems
from llmops_resources.checks.readers import TypesSeen, UnreadableError, read_csv, read_jsonl
from llmops_resources.checks.spool import (
    ColumnType,
    ExpansionError,
    Spool,
    SpooledColumn,
    SpooledFile,
    SpoolWriter,
    inferred_types,
    type_of_arrow,
)
from llmops_resources.errors import Unavailable
from llmops_resources.values import Value


class ParseRequest(Value):
    """Files (declared name, path) of one format, and the empty folder to spool them in."""

    fmt: DatasetFormat
    files: tuple[tuple[str, Path], ...]
    folder: Path
    options: CheckOptions


class ParseAnswer(Value):
    """What could be read, and what is wrong with the rest."""

    spool: Spool
    problems: tuple[Problem, ...]
    counts: dict[str, int]


def parse(request: ParseRequest) -> ParseAnswer:
    """Read every file of the request into spool parts."""
    problems = Problems(request.options.problems_per_kind)
    size = sum(path.stat().st_size for _, path in request.files)
    writer = SpoolWriter(request.folder, budget=max(256 * 1024**2, request.options.max_expansion * size))
    files: list[SpooledFile] = []
    seen: TypesSeen = {}
    stored: dict[str, pa.DataType] = {}
    first: tuple[str, list[str]] | None = None
    for name, path in request.files:
        names: list[str] = []
        try:
            if request.fmt is DatasetFormat.CSV:
                file, names = read_csv(path, name, writer, problems, request.options)
                seen.update({column: {} for column in names if column not in seen})
            elif request.fmt is DatasetFormat.JSONL:
                file, names = read_jsonl(path, name, writer, problems, request.options, types=seen)
            else:
                file, types = read_parquet(path, name, writer, problems, request.options)
                names = list(types)
                for column, kind in types.items():
                    seen.setdefault(column, {}).setdefault(type_of_arrow(kind), (name, 1))
                    if type_of_arrow(stored.setdefault(column, kind)) is ColumnType.DATETIME and kind != stored[column]:
                        _report_other_times(column, stored[column], kind, name, problems)
        except UnreadableError:
            file = SpooledFile(name=name, rows=0)
        except (pa.ArrowException, OSError, ValueError, ArithmeticError, ExpansionError) as error:
            file = SpooledFile(name=name, rows=0)
            _report_unreadable(error, name, problems)
        files.append(file)
        if file.rows + len(file.skipped) == 0 and not problems.total:
            problems.add("no_rows", "The file has no rows", "Upload a file with at least one row.", file=name)
        if names and request.fmt is not DatasetFormat.JSONL:
            first = first or (name, names)
            _compare_columns(first, name, names, problems)
    spool = Spool(folder=request.folder, files=tuple(files), columns=())
    columns = _columns(request.fmt, spool, seen, problems)
    return ParseAnswer(
        spool=spool.model_copy(update={"columns": columns}),
        problems=tuple(problems.kept),
        counts=dict(problems.counts),
    )


def _report_unreadable(error: Exception, name: str, problems: Problems) -> None:
    if isinstance(error, ExpansionError):
        problems.add(
            "bomb",
            f"The data grows beyond {error} bytes when it is decoded",
            "Upload the real data, in several smaller files if needed.",
            file=name,
        )
        return
    reason = str(error).split("\n", 1)[0]
    problems.add(
        "unreadable",
        f"The file is damaged or truncated: {reason}",
        "Write the file again, and compare its size with the original before uploading.",
        file=name,
    )


def _report_other_times(
    column: str, first: pa.DataType, kind: pa.DataType, name: str, problems: Problems
) -> None:
    problems.add(
        "mixed_types",
        f"The column {column!r} is {first} in one file and {kind} in another",
        "Write the times of every file in one unit and one time zone.",
        file=name,
        column=column,
    )


def _compare_columns(first: tuple[str, list[str]], name: str, names: list[str], problems: Problems) -> None:
    if set(first[1]) != set(names):
        other = sorted(set(first[1]) ^ set(names))
        problems.add(
            "columns_differ",
            f"The columns differ from those of {first[0]}: {', '.join(other[:10])}",
            "Give every file of the data set the same columns.",
            file=name,
        )


def _columns(fmt: DatasetFormat, spool: Spool, seen: TypesSeen, problems: Problems) -> tuple[SpooledColumn, ...]:
    if fmt is DatasetFormat.CSV and spool.parts():
        texts = pl.concat([pl.scan_parquet(part, glob=False) for part in spool.parts()], how="diagonal_relaxed")
        types = inferred_types(texts, texts.collect_schema().names())
        return tuple(SpooledColumn(name=name, type=kind) for name, kind in types.items())
    return tuple(
        SpooledColumn(name=name, type=_merged(name, types, problems))
        for name, types in seen.items()
        if not types.keys() & {ColumnType.BINARY, ColumnType.OTHER}
    )


def _merged(name: str, types: dict[ColumnType, tuple[str, int]], problems: Problems) -> ColumnType:
    """One type for a column, and a problem where its values disagree."""
    kinds = types.keys() - {ColumnType.NULL}
    if not kinds:
        return ColumnType.NULL
    if kinds == {ColumnType.INTEGER, ColumnType.NUMBER}:
        return ColumnType.NUMBER
    if len(kinds) > 1:
        ordered = sorted(kinds, key=list(types).index)
        numeric = {ColumnType.INTEGER, ColumnType.NUMBER}
        odd = next(kind for kind in ordered[1:] if {ordered[0], kind} != numeric)
        file, row = types[odd]
        problems.add(
            "mixed_types",
            f"The column {name!r} is {ordered[0]} at first and {odd} in row {row}",
            "Use one type per column.",
            file=file,
            row=row,
            column=name,
        )
        return ColumnType.STRING
    return next(iter(kinds))


def main() -> None:
    """Answer one request under the limits it names; EX_TEMPFAIL and a sentence when the server is at fault."""
    request = ParseRequest.model_validate(orjson.loads(sys.stdin.buffer.read()))
    memory, seconds = request.options.parser_memory_bytes, 1 + int(request.options.parser_seconds)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        answer = parse(request)
    except Unavailable as error:
        sys.stderr.write(error.message)
        sys.exit(os.EX_TEMPFAIL)
    sys.stdout.buffer.write(orjson.dumps(answer.json_dict()))


if __name__ == "__main__":
    main()
