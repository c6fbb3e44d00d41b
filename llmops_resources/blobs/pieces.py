"""An object that arrives in pieces: each written once, to where it will be read, and put into place without a copy.

In a local folder the pieces of a file go straight to their offset in one file, by whoever holds its lock; a second
writer at the same time gets an object of its own, as every piece does in S3. Which pieces count is for the caller to
decide: bytes of a piece that does not count are overwritten by the next one at that offset, or never read.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from uuid import uuid4

from llmops_resources.blobs.ahead import read_ahead
from llmops_resources.blobs.disk import prune_empty, write_pieces
from llmops_resources.blobs.failures import disk_errors
from llmops_resources.blobs.objects import Objects, refuse_beyond
from llmops_resources.blobs.values import StoredFile, check_key
from llmops_resources.errors import Conflict, NotFound, ValidationFailed
from llmops_resources.locking import NoLocksError, take


@dataclass(frozen=True)
class Piece:
    """`size` bytes from `at` on in the object `key`, with the hex SHA-256 they had when they were stored."""

    key: str
    at: int
    size: int
    sha256: str


class Lost(Conflict):
    """A piece is not what was stored, as after a power cut; the bytes of its file before `start` are sound."""

    def __init__(self, name: str, start: int) -> None:
        super().__init__(
            f"{name} is damaged from byte {start:,} on, as after a power cut", remedy=f"Send it again from {start} on."
        )
        self.name, self.start = name, start


@dataclass(frozen=True)
class Slot:
    """A place for one piece that nobody else writes to; `handle` is the locked file it is a part of, if any."""

    blobs: Objects
    key: str
    start: int = 0
    handle: int | None = None

    def write(self, chunks: Iterable[bytes]) -> StoredFile:
        """Store the piece; when `chunks` raises, or the disk is full, nothing of it stays.

        In a file it is not yet safe from a power cut: that is found out when the pieces are read for their digest.
        """
        if self.handle is None:
            return self.blobs.write(self.key, chunks)
        digest = hashlib.sha256()
        try:
            with disk_errors(Path(self.key)):
                end = write_pieces(self.handle, _hashed(chunks, digest), self.start)
        except BaseException:
            self.discard()
            raise
        return StoredFile(path=self.key.rsplit("/", 1)[-1], size=end - self.start, sha256=digest.hexdigest())

    def discard(self) -> None:
        """Remove what was written."""
        if self.handle is None:
            self.blobs.remove(self.key)
        else:
            os.ftruncate(self.handle, self.start)


@contextmanager
def slot(blobs: Objects, key: str, start: int) -> Iterator[Slot]:
    """A place for the piece that begins at `start` of the object to come, `key`, while the block runs.

    Ask what `start` is wanted inside the block: only there nobody else can move it. Raises Unavailable.
    """
    handle = _locked(blobs.root / check_key(key)) if blobs.root is not None else None
    if handle is None or blobs.root is None:
        yield Slot(blobs, f"{key}-{start:015d}-{uuid4().hex}")
        return
    try:
        yield Slot(blobs, key, start, handle)
    finally:
        if os.fstat(handle).st_size == 0:  # refused before a byte was written
            (blobs.root / key).unlink(missing_ok=True)
            prune_empty((blobs.root / key).parent, blobs.root)
        os.close(handle)


class Gathered(Iterator[bytes]):
    """The content of an object whose pieces are in the store: iterated, it is read and every piece is verified.

    `sha256` is the digest of all of it where somebody hashed the pieces while they were written, in order and without
    a restart in between; `announced` is what the sender said it would be. Iterating raises Lost.
    """

    def __init__(
        self,
        blobs: Objects,
        name: str,
        pieces: Sequence[Piece],
        *,
        sha256: str | None = None,
        announced: str | None = None,
    ) -> None:
        self.blobs, self.name, self.pieces, self.sha256, self._announced = blobs, name, pieces, sha256, announced
        self.size = sum(piece.size for piece in pieces)
        self._stream: Iterator[bytes] | None = None

    def __next__(self) -> bytes:
        """The next bytes."""
        if self._stream is None:
            self._stream = read_ahead(self._read())
        return next(self._stream)

    def close(self) -> None:
        """Stop the thread that reads ahead."""
        if self._stream is not None:
            self._stream.close()  # type: ignore[attr-defined]  # a generator

    def again(self) -> "Gathered":
        """The same content from its first byte on."""
        return Gathered(self.blobs, self.name, self.pieces, sha256=self.sha256, announced=self._announced)

    def verify(self) -> None:
        """Raises Lost unless every piece is what it was; nothing to do where the digest of all is known."""
        if self.sha256 is None:
            for _ in self:
                pass

    def check(self, sha256: str) -> None:
        """Raises ValidationFailed when the sender announced another digest."""
        if self._announced not in {None, sha256}:
            raise ValidationFailed(
                f"{self.name} has the SHA-256 {sha256}, not the {self._announced} that was announced",
                remedy="The file changed while it was sent, or the digest is of another file: upload it again.",
            )

    def _read(self) -> Iterator[bytes]:
        starts = accumulate((piece.size for piece in self.pieces), initial=0)
        for start, piece in zip(starts, self.pieces, strict=False):
            digest = None if self.sha256 else hashlib.sha256()
            try:
                for chunk in self.blobs.read_part(piece.key, piece.at, piece.size):
                    if digest is not None:
                        digest.update(chunk)
                    yield chunk
            except NotFound:
                raise Lost(self.name, start) from None
            if digest is not None and digest.hexdigest() != piece.sha256:
                raise Lost(self.name, start)


def store(
    blobs: Objects,
    key: str,
    content: Iterator[bytes],
    inspected: Iterable[bytes] | None = None,
    *,
    max_bytes: int | None = None,
) -> StoredFile:
    """Store `content` as the object `key`, hashed; `inspected` is the same bytes on their way through somebody's hands.

    What is Gathered from this store is put into place there, if the store can do that, and else written like any
    other. Raises what `Objects.write` does, and Lost.
    """
    chunks = content if inspected is None else inspected
    if not isinstance(content, Gathered):
        return blobs.write(key, chunks, max_bytes=max_bytes)
    parts = [(piece.key, piece.at, piece.size) for piece in content.pieces]
    refuse_beyond(max_bytes, content.size, content.name)
    with closing(content):
        if not blobs.can_join(parts):
            stored = blobs.write(key, chunks, max_bytes=max_bytes)
            content.check(stored.sha256)
            return stored
        sha256 = _digest(chunks, content) if inspected is not None or content.sha256 is None else content.sha256
        content.check(sha256)
        if blobs.join(key, parts):
            return StoredFile(path=key.rsplit("/", 1)[-1], size=content.size, sha256=sha256)
    with closing(content.again()) as once_more:
        return blobs.write(key, once_more)


def _hashed(chunks: Iterable[bytes], digest: "hashlib._Hash") -> Iterator[bytes]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


def _digest(chunks: Iterable[bytes], content: Gathered) -> str:
    """Read everything, and hash it unless the digest is known."""
    digest = hashlib.sha256()
    for chunk in chunks:
        if content.sha256 is None:
            digest.update(chunk)
    return content.sha256 or digest.hexdigest()


def _locked(path: Path) -> int | None:
    """The file opened and locked, made if need be; None when somebody else has it, or the disk knows no locks."""
    with disk_errors(path), suppress(NoLocksError):
        return take(path, _opened)
    return None


def _opened(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
