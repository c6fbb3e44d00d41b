"""The comparing process: `python -m llmops_resources.checks.comparing` reads a request on stdin, answers on stdout.

Native readers may crash or ask for all memory, so the comparison of files happens there, under limits that the kernel
keeps; `compare_files` is its other end.
"""

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson
from pydantic import ValidationError

from llmops_resources.checks.diff import Diff, DiffOptions, compare
from llmops_resources.checks.frames import open_table
from llmops_resources.checks.options import CheckOptions
from llmops_resources.errors import FieldProblem, InvalidInput, TooLarge, ValidationFailed
from llmops_resources.values import Value

_THREADS: Final = min(4, os.cpu_count() or 1)

Files = tuple[tuple[str, Path], ...]


class CompareRequest(Value):
    """Files (declared name, path) of both versions, their digests, and an empty folder to work in."""

    older: Files
    newer: Files
    digests: tuple[str, str]
    folder: Path
    options: DiffOptions
    checks: CheckOptions


class Refusal(Value):
    """Why the files cannot be compared; `details` as in an error."""

    message: str
    remedy: str
    details: tuple[FieldProblem, ...] = ()


class CompareAnswer(Value):
    """One of the two."""

    diff: Diff | None = None
    refusal: Refusal | None = None


def compare_files(
    older: Sequence[tuple[str, Path]],
    newer: Sequence[tuple[str, Path]],
    *,
    digests: tuple[str, str],
    options: DiffOptions,
    checks: CheckOptions,
) -> Diff:
    """Compare two versions' files in a process of its own, with the memory and seconds of the parser's limits.

    Raises ValidationFailed for an impossible key, InvalidInput for unreadable files, TooLarge past the limits.
    """
    with tempfile.TemporaryDirectory(prefix="llmops-compare-") as folder:
        request = CompareRequest(
            older=tuple(older), newer=tuple(newer), digests=digests, folder=Path(folder), options=options, checks=checks
        )
        answer = _answer(request)
    if answer.diff is not None:
        return answer.diff
    refusal = answer.refusal or Refusal(message="the files cannot be compared", remedy="Validate both versions.")
    if refusal.details:
        raise ValidationFailed(refusal.message, remedy=refusal.remedy, details=refusal.details)
    raise InvalidInput(refusal.message, remedy=refusal.remedy)


def _answer(request: CompareRequest) -> CompareAnswer:
    environment = {
        **os.environ, "POLARS_MAX_THREADS": str(_THREADS), "OMP_NUM_THREADS": "1",
        "ARROW_DEFAULT_MEMORY_POOL": "system",
    }  # fmt: skip
    too_large = "Compare smaller versions, or give the machine more memory and compare again."
    try:
        done = subprocess.run(
            [sys.executable, "-m", "llmops_resources.checks.comparing"],
            input=orjson.dumps(request.json_dict()),
            capture_output=True,
            check=False,
            timeout=request.checks.parser_seconds,
            env=environment,
        )
        if done.returncode == 0:
            return CompareAnswer.model_validate(orjson.loads(done.stdout))
    except subprocess.TimeoutExpired:
        raise TooLarge(
            f"the comparison took longer than {request.checks.parser_seconds:g} seconds", remedy=too_large
        ) from None
    except (orjson.JSONDecodeError, ValidationError) as error:
        raise InvalidInput("the comparison gave no readable answer", remedy="Validate both versions.") from error
    lines = done.stderr[-2_000:].decode("utf-8", "replace").strip().splitlines()
    raise TooLarge(f"the comparison ended early: {(lines or ['it was killed'])[-1][:200]}", remedy=too_large)


def answer(request: CompareRequest) -> CompareAnswer:
    """What a request gets; an expected refusal is an answer too."""
    folders = [request.folder / which for which in ("older", "newer")]
    try:
        for folder in folders:
            folder.mkdir()
        older = open_table(request.older, folders[0], request.checks)
        newer = open_table(request.newer, folders[1], request.checks)
        return CompareAnswer(diff=compare(older, newer, request.options, content=request.digests))
    except (InvalidInput, ValidationFailed) as error:
        return CompareAnswer(refusal=Refusal(message=error.message, remedy=error.remedy, details=error.details))


def main() -> None:
    """Answer one request under the limits it names."""
    request = CompareRequest.model_validate(orjson.loads(sys.stdin.buffer.read()))
    memory = request.checks.parser_memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stdout.buffer.write(orjson.dumps(answer(request).json_dict()))


if __name__ == "__main__":
    main()
