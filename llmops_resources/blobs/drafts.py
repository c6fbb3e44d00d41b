"""The files of a version folder to come: written and read back for their checks, then published or forgotten.

Where they are meanwhile decides what publishing costs. In a local folder they lie in staging and are renamed. In S3
there is no renaming, and copying what was staged makes the store write everything twice. So large files go into uploads
at their final place that are completed only at publishing (`hidden`), and small ones, as the beginnings of large ones
that checks ask for, wait in a temporary file of this machine. A process that is killed leaves nothing anybody sees.
"""

import hashlib
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import obstore

from llmops_resources.blobs.failures import disk_errors, store_errors
from llmops_resources.blobs.hidden import Hidden, Parts, hide
from llmops_resources.blobs.objects import refuse_beyond
from llmops_resources.blobs.pieces import Gathered, store
from llmops_resources.blobs.values import Manifest, StoredFile, check_key
from llmops_resources.blobs.versions import Blobs

#: Bytes of one draft that wait on this machine; what would go beyond that is staged in the store.
SCRATCH_BYTES: Final = 256 * 1024**2
_HERE: Final = Path("the upload")  # what a full disk is told to have been for


class _Scratch:
    """A temporary file without a name, made when it is needed: a process that dies leaves nothing of it."""

    def __init__(self) -> None:
        self.size = 0
        self._file: IO[bytes] | None = None

    def append(self, content: bytes | bytearray) -> None:
        with disk_errors(_HERE):
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="llmops-draft-", buffering=0)  # noqa: SIM115  `close` does
            self._file.seek(self.size)
            rest = memoryview(content)
            while rest:
                rest = rest[self._file.write(rest) :]
        self.size += len(content)

    def read(self, at: int, length: int) -> bytes:
        if self._file is None or length <= 0:
            return b""
        with disk_errors(_HERE):
            self._file.seek(at)
            return self._file.read(length)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


@dataclass(frozen=True)
class _Waiting:
    """A small file, or the beginning of a large one: `size` bytes from `at` on in the scratch file."""

    blobs: Blobs
    key: str
    scratch: _Scratch
    at: int
    size: int

    def read(self, start: int, length: int) -> bytes:
        return self.scratch.read(self.at + start, min(length, self.size - start))

    def appear(self) -> None:
        content = self.read(0, self.size)
        with store_errors(self.key):
            obstore.put(self.blobs.store, self.key, content, use_multipart=False)


class Draft:
    """A draft of the folder `prefix`, used as a context: what was neither published nor kept is gone at its end.

    For one thread. Its methods raise Unavailable when the store or this machine's disk fails.
    """

    def __init__(self, blobs: Blobs, prefix: str) -> None:
        self.staged = blobs.stage(prefix)
        self._blobs, self._prefix = blobs, prefix
        self._small: dict[str, _Waiting] = {}
        self._heads: dict[str, _Waiting] = {}
        self._hidden: dict[str, Hidden] = {}
        self._scratch = _Scratch()
        self._staging = False  # whether anything lies in the store's staging folder

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Forget whatever is still only a draft."""
        self._scratch.close()
        for hidden in self._hidden.values():
            hidden.forget()
        if self._staging:
            self._blobs.delete(self.staged)

    def add(
        self,
        name: str,
        content: Iterator[bytes],
        inspected: Iterable[bytes] | None = None,
        *,
        max_bytes: int | None = None,
        asked: Callable[[bytes], int] | None = None,
    ) -> StoredFile:
        """Take a file in; `inspected` is the same bytes on their way through somebody's hands.

        `asked` tells from the beginning of a file, some MiB of it, how many of its first bytes `read` will be asked
        for; without it, any part of the file can be read. Raises what `Objects.write` does, and Lost.
        """
        composer = self._blobs.composer
        if composer is None or isinstance(content, Gathered):
            self._staging = True
            stored = store(self._blobs, f"{self.staged}/{name}", content, inspected, max_bytes=max_bytes)
            return stored.model_copy(update={"path": name})
        key, digest, size = f"{self._prefix}/{check_key(name)}", hashlib.sha256(), 0

        def hashed() -> Iterator[bytes]:
            nonlocal size
            for chunk in content if inspected is None else inspected:
                size += len(chunk)
                refuse_beyond(max_bytes, size, name)
                digest.update(chunk)
                yield chunk

        parts = Parts(hashed())
        ahead = deque(islice(parts, 2))
        whole = chain(_drained(ahead), parts)
        small = len(ahead) < 2
        head: int | None = None
        if small:
            head = len(ahead[0]) if ahead else 0
        elif asked is not None:
            head = asked(bytes(ahead[0]))
        if head is None or self._scratch.size + head > SCRATCH_BYTES:
            self._staging = True
            self._blobs.write(f"{self.staged}/{name}", (bytes(part) for part in whole))
            return StoredFile(path=name, size=size, sha256=digest.hexdigest())
        waiting = _Waiting(self._blobs, key, self._scratch, self._scratch.size, head)
        if small:
            self._scratch.append(ahead.popleft() if ahead else b"")
            self._small[name] = waiting
        else:
            self._hidden[name] = hide(composer, key, self._keeping(whole, head), parts.give_back)
            self._heads[name] = waiting
        return StoredFile(path=name, size=size, sha256=digest.hexdigest())

    def read(self, name: str, at: int, length: int) -> bytes:
        """At most `length` bytes of a file that was added. Raises ValueError for bytes that nobody was to ask for."""
        waiting = self._small.get(name) or self._heads.get(name)
        if waiting is None:
            return self._blobs.read_range(f"{self.staged}/{name}", at, length)
        if name in self._heads and at + length > waiting.size:
            raise ValueError(f"of {name}, {waiting.size} bytes were kept: too few for {length} at {at}")
        return waiting.read(at, length)

    def publish(self, files: Sequence[StoredFile]) -> Manifest:
        """Make the folder exist with these files, as `Blobs.publish` does, and raise what it raises."""
        staged = self.staged if self._staging else None
        return self._blobs.publish(self._prefix, files, staged=staged, held={**self._small, **self._hidden})

    def keep(self) -> None:
        """Leave the files in the staging folder `staged`, safe from a power cut, for somebody else to go on with.

        Raises ValueError when a large file was added with `asked`.
        """
        if self._hidden:
            raise ValueError("files that were not to be read again cannot be kept")
        self._staging = True
        for name, waiting in self._small.items():
            self._blobs.write(f"{self.staged}/{name}", [waiting.read(0, waiting.size)])
        for entry in self._blobs.list(self.staged):
            self._blobs.settle(entry.key)
        self._staging = False

    def _keeping(self, parts: Iterable[bytearray], size: int) -> Iterator[bytearray]:
        """The parts, the first `size` bytes of them kept."""
        for part in parts:
            if size > 0:
                self._scratch.append(part[:size])
                size -= len(part)
            yield part


def _drained(ahead: deque[bytearray]) -> Iterator[bytearray]:
    """What was read ahead, and no longer held here once it is taken."""
    while ahead:
        yield ahead.popleft()
