"""Taking in a data set's files: inspected while they stream into a draft, published whole or not at all."""

import itertools
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from llmops_resources.blobs import Blobs, Draft, Manifest, StoredFile
from llmops_resources.catalog.uploads.names import check_label
from llmops_resources.checks.bytes import ByteInspector
from llmops_resources.checks.formats import SNIFF_BYTES, DatasetFormat, format_of_name, sniff
from llmops_resources.checks.options import CheckOptions
from llmops_resources.checks.schema import ExpectedSchema
from llmops_resources.checks.structure import check_structure
from llmops_resources.errors import InvalidInput, ValidationFailed, field_problem

#: Uploads up to this size are parsed before they are accepted; larger ones are parsed by the validation run.
PARSED_AT_ONCE = 32 * 1024**2
#: Seconds the parser has for them, since the sender waits.
PARSED_WITHIN = 300
_SHOWN_PROBLEMS = 20


def take_in(
    blobs: Blobs,
    prefix: str,
    files: Iterable[tuple[str, Iterator[bytes]]],
    *,
    expected: ExpectedSchema | None,
    options: CheckOptions,
    max_bytes: int,
) -> Manifest:
    """Publish the files (name, bytes) as the version folder `prefix`; each is read to its end before the next.

    Bytes are stored as `part-0001.csv` and so on, never under a stranger's file name. Raises UnsupportedFormat,
    InvalidInput, TooLarge or ValidationFailed for bad files, Conflict when other bytes are published there; in every
    case nothing of a refused upload stays.
    """
    with Draft(blobs, prefix) as draft:
        with tempfile.TemporaryDirectory(prefix="llmops-upload-") as scratch:
            stored, kept = _add_all(draft, files, Path(scratch), options, max_bytes)
            if kept:
                _parse(kept, Path(scratch), expected, options)
        return draft.publish(stored)


def check_name(name: str) -> None:
    """Raises UnsupportedFormat or InvalidInput for a name that no data set file has, before its bytes are sent."""
    format_of_name(check_label(name))


def _add_all(
    draft: Draft,
    files: Iterable[tuple[str, Iterator[bytes]]],
    scratch: Path,
    options: CheckOptions,
    max_bytes: int,
) -> tuple[list[StoredFile], list[tuple[str, Path]]]:
    """What was stored, and the local copies to parse (none when the upload is large)."""
    stored: list[StoredFile] = []
    kept: list[tuple[str, Path]] = []
    for number, (name, content) in enumerate(files, start=1):
        check_name(name)
        head = _head(content)
        fmt = sniff(name, head[:SNIFF_BYTES])
        copy = scratch / f"part-{number:04d}.{fmt}"
        left = max_bytes - sum(file.size for file in stored)
        chunks = _inspected(name, fmt, itertools.chain((head,), content), copy, options)
        part = draft.add(f"part-{number:04d}.{fmt}", content, chunks, max_bytes=left, asked=lambda _start: 0)
        stored.append(part)
        kept.append((name, copy))
    if not stored:
        raise InvalidInput("the upload has no files", remedy="Send at least one file in the form field `files`.")
    if len({Path(file.path).suffix for file in stored}) > 1:
        raise InvalidInput("the files have different formats", remedy="Upload files of one format.")
    small = sum(file.size for file in stored) <= PARSED_AT_ONCE
    return stored, kept if small else []


def _head(content: Iterator[bytes]) -> bytes:
    """The first pieces of a file, enough of them to tell its format."""
    head = b""
    while len(head) < SNIFF_BYTES and (piece := next(content, None)) is not None:
        head += piece
    return head


def _inspected(
    name: str, fmt: DatasetFormat, chunks: Iterable[bytes], copy: Path, options: CheckOptions
) -> Iterator[bytes]:
    """The file's chunks, inspected on the way and copied to `copy` up to PARSED_AT_ONCE bytes."""
    inspector = ByteInspector(name, fmt, max_line_bytes=options.max_row_bytes)
    room = PARSED_AT_ONCE
    with copy.open("wb") as local:
        for chunk in chunks:
            inspector.feed(chunk)
            if len(chunk) <= room:
                local.write(chunk)
            room -= len(chunk)
            yield chunk
    inspector.finish()


def _parse(
    files: list[tuple[str, Path]], scratch: Path, expected: ExpectedSchema | None, options: CheckOptions
) -> None:
    folder = scratch / "rows"
    folder.mkdir()
    hurried = options.model_copy(update={"parser_seconds": min(options.parser_seconds, PARSED_WITHIN)})
    _, report, _ = check_structure(files, folder, expected=expected, options=hurried)
    if report.passed:
        return
    details = [
        field_problem(_place(problem.row, problem.column), problem.message, problem.remedy)
        for problem in report.problems[:_SHOWN_PROBLEMS]
    ]
    first = details[0]["problem"] if details else "the files cannot be read as rows"
    raise ValidationFailed(
        f"{report.problem_count} problem(s) in the files; the first: {first}",
        remedy="Mend the file and upload it again; nothing was stored.",
        details=details,
    )


def _place(row: int | None, column: str | None) -> str:
    parts = [f"row {row}" if row is not None else "", f"column {column}" if column else ""]
    return ", ".join(part for part in parts if part) or "files"
