"""The structure of a data set: parsed in a process of its own, then held against the schema its owner declared."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson
from pydantic import ValidationError

from llmops_resources.checks.bytes import ByteInspector
from llmops_resources.checks.formats import SNIFF_BYTES, DatasetFormat, sniff
from llmops_resources.checks.options import CheckOptions
from llmops_resources.checks.parsing import ParseAnswer, ParseRequest
from llmops_resources.checks.problems import Problem, Problems
from llmops_resources.checks.schema import ExpectedSchema, compliance
from llmops_resources.checks.spool import ROOM_REMEDY, Spool
from llmops_resources.errors import PlatformError, Unavailable
from llmops_resources.values import Value

_READ_BYTES = 1024**2


class StructureReport(Value):
    """Whether the files are what they should be. `problems` is a sample; `counts` has the number of each kind."""

    passed: bool
    problems: tuple[Problem, ...]
    counts: dict[str, int]
    problem_count: int
    unreadable_rows: int = 0
    # The share of rows that keep to the declared schema; None when none was declared or nothing could be read.
    compliant_rows: int | None = None


def check_structure(
    files: Sequence[tuple[str, Path]],
    folder: Path,
    *,
    expected: ExpectedSchema | None,
    options: CheckOptions,
) -> tuple[DatasetFormat | None, StructureReport, Spool | None]:
    """Inspect, parse and compare `files` (declared name, path), spooling the rows into the empty `folder`.

    Returns the format, the report, and the spool when at least one row could be read. A bad file is a problem in
    the report, never an exception; a full disk is no bad file, and raises Unavailable.
    """
    problems = Problems(options.problems_per_kind)
    fmt = _inspect(files, options, problems)
    if fmt is None or problems.total:
        return fmt, _report(problems), None
    answer = _parse(ParseRequest(fmt=fmt, files=tuple(files), folder=folder, options=options), problems)
    if answer is None:
        return fmt, _report(problems), None
    problems.kept.extend(answer.problems)
    problems.counts.update(answer.counts)
    spool = answer.spool
    if not spool.rows:
        return fmt, _report(problems, unreadable=spool.unreadable), None
    typed = fmt is not DatasetFormat.CSV
    compliant = compliance(spool, expected, problems, typed=typed) if expected is not None else None
    return fmt, _report(problems, unreadable=spool.unreadable, compliant=compliant), spool


def _report(problems: Problems, *, unreadable: int = 0, compliant: int | None = None) -> StructureReport:
    return StructureReport(
        passed=problems.total == 0,
        problems=tuple(problems.kept),
        counts=dict(problems.counts),
        problem_count=problems.total,
        unreadable_rows=unreadable,
        compliant_rows=compliant,
    )


def _inspect(files: Sequence[tuple[str, Path]], options: CheckOptions, problems: Problems) -> DatasetFormat | None:
    """The one format of all files, their bytes inspected; each refusal becomes a problem."""
    formats: dict[DatasetFormat, str] = {}
    for name, path in files:
        try:
            with path.open("rb") as file:
                fmt = sniff(name, file.read(SNIFF_BYTES))
                formats.setdefault(fmt, name)
                inspector = ByteInspector(name, fmt, max_line_bytes=options.max_row_bytes)
                file.seek(0)
                while chunk := file.read(_READ_BYTES):
                    inspector.feed(chunk)
                inspector.finish()
        except PlatformError as error:
            problems.add(str(error.kind), error.message, error.remedy, file=name)
    if not files:
        problems.add("no_files", "The data set has no files", "Upload at least one file.")
    if len(formats) > 1:
        names = ", ".join(f"{name} is {fmt}" for fmt, name in formats.items())
        problems.add("mixed_formats", f"The files have different formats: {names}", "Upload files of one format.")
    return next(iter(formats), None)


def _parse(request: ParseRequest, problems: Problems) -> ParseAnswer | None:
    """Run the parsing process; a crash, a lack of memory or time becomes a problem."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "POLARS_MAX_THREADS": "2",
        "ARROW_DEFAULT_MEMORY_POOL": "system",
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "llmops_resources.checks.parsing"],
            input=orjson.dumps(request.json_dict()),
            capture_output=True,
            check=False,
            timeout=request.options.parser_seconds,
            env=environment,
        )
        if done.returncode == 0:
            return ParseAnswer.model_validate(orjson.loads(done.stdout))
        if done.returncode == os.EX_TEMPFAIL:
            raise Unavailable(done.stderr.decode("utf-8", "replace").splitlines()[-1], remedy=ROOM_REMEDY)
        reason = _ending(done.returncode, done.stderr)
    except subprocess.TimeoutExpired:
        reason = f"took longer than {request.options.parser_seconds:g} seconds"
    except (orjson.JSONDecodeError, ValidationError):
        reason = "gave no readable answer"
    problems.add(
        "parser_failed",
        f"The parser {reason} on {', '.join(name for name, _ in request.files)}",
        "The file is damaged, or far larger once decoded than it looks; write it again in smaller, plain files.",
    )
    return None


def _ending(code: int, stderr: bytes) -> str:
    if code < 0:
        return f"crashed ({signal.Signals(-code).name})"
    lines = stderr[-4_000:].decode("utf-8", "replace").strip().splitlines()
    last = lines[-1] if lines else ""
    return "ran out of memory" if "MemoryError" in last or "alloc" in last else f"failed ({last[:200]})"
