"""Work that is done in parts and each part once, also when the process dies between two of them."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Protocol

from llmops_resources.values import canonical_json

PARTIAL: Final = "partial.jsonl"  # in a work folder


class Once(Protocol):
    """Does a part of the work under a name, or hands over what it came to before."""

    def __call__(self, name: str, work: Callable[[], Any], /) -> Any:
        """What `work()` gives, which must be JSON-ready and in lists, since that is how it comes back."""


def afresh(_name: str, work: Callable[[], Any]) -> Any:
    """Does every part, and keeps none."""
    return work()


class Partial:
    """A file of finished parts, one JSON line each, of which the first says what work they are parts of.

    A line is on the disk before the next part begins. A line that a dying process left unfinished is dropped, and so
    is everything where `identity` is that of other work: then nothing in the file can be gone on from. A context
    manager, called as `Once`.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self._path, self._identity = path, identity
        self._parts: dict[str, Any] = {}
        self._file: IO[bytes] | None = None

    def __enter__(self) -> "Partial":
        whole = self._read()
        self._file = self._path.open("ab")
        self._file.truncate(whole)
        if not whole:
            self._write({"identity": self._identity})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def __len__(self) -> int:
        return len(self._parts)

    def __contains__(self, name: str) -> bool:
        return name in self._parts

    def __getitem__(self, name: str) -> Any:
        """A part that is there. Raises KeyError."""
        return self._parts[name]

    def __call__(self, name: str, work: Callable[[], Any]) -> Any:
        """The part of that name: from the file, or done now and written there."""
        if name not in self._parts:
            self._parts[name] = work()
            self._write({"name": name, "part": self._parts[name]})
        return self._parts[name]

    def _read(self) -> int:
        """Takes over the finished lines; how many bytes they are."""
        whole = 0
        if not self._path.is_file():
            return whole
        with self._path.open("rb") as lines:
            for number, line in enumerate(lines):
                try:
                    found = json.loads(line) if line.endswith(b"\n") else None
                except ValueError:
                    found = None
                if not isinstance(found, dict) or (number == 0 and found != {"identity": self._identity}):
                    break
                if number:
                    self._parts[found["name"]] = found["part"]
                whole += len(line)
        return whole

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is None:
            raise ValueError("parts are written inside the `with` block")
        self._file.write(canonical_json(line) + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
