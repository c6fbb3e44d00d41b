"""The bytes of an upload in chunks: each checked before it counts, all of them read as the files they are."""

import hashlib
from collections.abc import Iterable, Iterator

from llmops_resources.blobs import Blobs, read_ahead
from llmops_resources.catalog.uploads.values import ReceivedChunk, UploadFile
from llmops_resources.errors import InvalidInput, ValidationFailed


def store_chunk(
    blobs: Blobs, key: str, body: Iterable[bytes], *, file: UploadFile, offset: int, sha256: str
) -> ReceivedChunk:
    """Write a chunk as the object `key`. Raises InvalidInput when its bytes are not those announced; nothing stays."""
    stored = blobs.write(key, _within(body, file, offset))
    problem = ""
    if not stored.size:
        problem = "the chunk is empty"
    elif stored.sha256 != sha256:
        problem = f"the chunk at offset {offset} of file {file.number} is not what its Content-Digest says"
    if problem:
        blobs.remove(key)
        raise InvalidInput(problem, remedy=f"Send it again; the upload still stands at offset {offset}.")
    return ReceivedChunk(file=file.number, offset=offset, size=stored.size, sha256=stored.sha256)


def read_files(blobs: Blobs, files: Iterable[tuple[UploadFile, list[str]]]) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Name and bytes of each file, put together from its chunks; each is read to its end before the next begins."""
    for file, keys in files:
        yield file.name, _whole(blobs, file, keys)


def _whole(blobs: Blobs, file: UploadFile, keys: list[str]) -> Iterator[bytes]:
    """Raises ValidationFailed at the end when the sender named another digest for the whole file."""
    digest = hashlib.sha256() if file.sha256 is not None else None
    for piece in read_ahead(piece for key in keys for piece in blobs.read(key)):
        if digest is not None:
            digest.update(piece)
        yield piece
    if digest is not None and digest.hexdigest() != file.sha256:
        raise ValidationFailed(
            f"{file.name} has the SHA-256 {digest.hexdigest()}, not the {file.sha256} that was announced",
            remedy="The file changed while it was sent, or the digest is of another file: upload it again.",
        )


def _within(body: Iterable[bytes], file: UploadFile, offset: int) -> Iterator[bytes]:
    size, room = 0, file.size - offset
    for piece in body:
        size += len(piece)
        if size > room:
            raise InvalidInput(
                f"the chunk at offset {offset} goes past the end of file {file.number}",
                remedy=f"The file was announced with {file.size:,} bytes; at most {room:,} are left to send.",
            )
        yield piece
