"""The bytes of an upload in chunks: each checked before it counts, all of them read as the files they are."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final
from uuid import UUID

from llmops_resources import blobs
from llmops_resources.blobs import Blobs, Gathered, Piece, Slot
from llmops_resources.catalog.uploads.values import ReceivedChunk, UploadFile
from llmops_resources.errors import InvalidInput

if TYPE_CHECKING:
    from hashlib import _Hash

Place = tuple[UUID, int]  # upload, number of the file
_KEPT: Final = 512


class Digests:
    """The SHA-256 of files as far as this process has received them, in order and without a gap.

    A digest that is not here, since the process was started again or another one took a chunk in, is made by reading.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Place, tuple[int, _Hash]] = OrderedDict()

    def before(self, place: Place, offset: int) -> "_Hash | None":
        """A digest to go on with, of the first `offset` bytes of the file; None when it is not known."""
        with self._lock:
            known, digest = self._kept.get(place, (0, None))
            if offset == 0:
                return hashlib.sha256()
            return digest.copy() if digest is not None and known == offset else None

    def keep(self, place: Place, size: int, digest: "_Hash | None") -> None:
        """Remember the digest of the file's first `size` bytes."""
        with self._lock:
            self._kept.pop(place, None)
            if digest is not None:
                self._kept[place] = size, digest
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)

    def of(self, place: Place, size: int) -> str | None:
        """The hex SHA-256 of a file of `size` bytes, if all of it was received here."""
        with self._lock:
            known, digest = self._kept.get(place, (0, None))
            return digest.hexdigest() if digest is not None and known == size else None


def slot(store: Blobs, folder: str, file: int, offset: int) -> AbstractContextManager[Slot]:
    """Where the chunk at `offset` of the file may be written while the block runs; whether it counts, a row decides."""
    return blobs.slot(store, f"{folder}/{whole_name(file)}", offset)


def whole_name(file: int) -> str:
    """The name, in the folder of the upload, of an object in which chunks of the file lie at their own offsets."""
    return f"{file:04d}.whole"


def store_chunk(
    place: Slot,
    body: Iterable[bytes],
    *,
    file: UploadFile,
    offset: int,
    sha256: str,
    running: "_Hash | None" = None,
) -> ReceivedChunk:
    """Write a chunk, and continue the `running` digest of its file.

    Raises InvalidInput when its bytes are not those announced; nothing stays of it then.
    """
    stored = place.write(_within(body, file, offset, running))
    problem = ""
    if not stored.size:
        problem = "the chunk is empty"
    elif stored.sha256 != sha256:
        problem = f"the chunk at offset {offset} of file {file.number} is not what its Content-Digest says"
    if problem:
        place.discard()
        raise InvalidInput(problem, remedy=f"Send it again; the upload still stands at offset {offset}.")
    return ReceivedChunk(file=file.number, offset=offset, size=stored.size, sha256=stored.sha256)


def read_files(
    store: Blobs, upload: UUID, files: Iterable[tuple[UploadFile, list[Piece]]], digests: Digests | None = None
) -> Iterator[tuple[str, Gathered]]:
    """Name and content of each file; each is read to its end, or stored as it is, before the next begins."""
    for file, pieces in files:
        known = digests.of((upload, file.number), file.size) if digests is not None else None
        yield file.name, Gathered(store, file.name, pieces, sha256=known, announced=file.sha256)


def _within(body: Iterable[bytes], file: UploadFile, offset: int, running: "_Hash | None") -> Iterator[bytes]:
    size, room = 0, file.size - offset
    for piece in body:
        size += len(piece)
        if size > room:
            raise InvalidInput(
                f"the chunk at offset {offset} goes past the end of file {file.number}",
                remedy=f"The file was announced with {file.size:,} bytes; at most {room:,} are left to send.",
            )
        if running is not None:
            running.update(piece)
        yield piece
