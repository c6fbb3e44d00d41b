"""Single objects: written whole or not at all, read as a stream, never inside a published folder."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import ObjectStore

from llmops_resources.blobs.disk import prune_empty, sync_up, write_whole
from llmops_resources.blobs.failures import store_errors
from llmops_resources.blobs.values import StoredFile, StoredObject, check_key
from llmops_resources.errors import Conflict, InvalidInput, NotFound, PlatformError, TooLarge

MANIFEST: Final = "manifest.json"
STAGING: Final = "staging"
PART_BYTES: Final = 8 * 1024**2
PARTS_IN_FLIGHT: Final = 3


@dataclass(frozen=True)
class Objects:
    """Objects under one root; `root` is the local folder, or None for S3.

    All methods raise Unavailable when the store cannot be reached or is full, InvalidInput for a bad key.
    """

    store: ObjectStore
    base: str
    root: Path | None = None

    def uri(self, prefix: str) -> str:
        """Where the folder lies, for programs outside the platform: `s3://…/` or `file://…/`."""
        return f"{self.base}/{check_key(prefix.strip('/'))}/"

    def write(self, key: str, chunks: Iterable[bytes], *, max_bytes: int | None = None) -> StoredFile:
        """Store the chunks as one object, hashing them on the way; on any failure nothing becomes visible.

        Memory is bounded by a few parts of 8 MiB. The answer's `path` is the last part of the key. Raises TooLarge
        past `max_bytes`, Conflict inside a published folder, and whatever `chunks` raises.
        """
        check_key(key)
        folder = "/".join(key.split("/")[:3])
        if folder != key and not key.startswith(f"{STAGING}/") and self.exists(f"{folder}/{MANIFEST}"):
            raise Conflict(f"{folder} is published and never changes", remedy="Create a new version for the new files.")
        return self._put_stream(key, chunks, max_bytes)

    def read(self, key: str, chunk_size: int = 1024**2) -> Iterator[bytes]:
        """The object's bytes in chunks of at least `chunk_size` (but the last). Raises NotFound."""
        check_key(key)
        if self.root is not None:
            yield from self._read_file(self.root / key, key, chunk_size)
            return
        with store_errors(key):
            stream = iter(obstore.get(self.store, key).stream(min_chunk_size=chunk_size))
        while True:
            with store_errors(key):
                chunk = next(stream, None)
            if chunk is None:
                return
            yield bytes(chunk)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """At most `length` bytes from `start`; empty past the end. Raises NotFound."""
        if start < 0 or length < 0:
            raise InvalidInput("a byte range cannot be negative", remedy="Ask from 0 on.")
        length = min(length, self.head(key) - start)
        if length <= 0:
            return b""
        with store_errors(key):
            return bytes(obstore.get_range(self.store, key, start=start, length=length))

    def head(self, key: str) -> int:
        """The object's size in bytes. Raises NotFound."""
        check_key(key)
        with store_errors(key):
            return obstore.head(self.store, key)["size"]

    def exists(self, key: str) -> bool:
        """Whether the object is there."""
        try:
            self.head(key)
        except NotFound:
            return False
        return True

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Every object below the folder, unordered."""
        with store_errors(prefix):
            for batch in obstore.list(self.store, check_key(prefix.strip("/")) + "/"):
                for entry in batch:
                    yield StoredObject(entry["path"], entry["size"], entry["last_modified"])

    def delete(self, prefix: str) -> int:
        """Remove the folder's objects, its manifest first so that readers stop at once; returns how many there were.

        Best effort: an object that is already gone is not an error.
        """
        keys = sorted((entry.key for entry in self.list(prefix)), key=lambda key: not key.endswith(f"/{MANIFEST}"))
        for key in keys:
            self.remove(key)
        if self.root is not None:
            prune_empty(self.root / prefix.strip("/"), self.root)
        return len(keys)

    def remove(self, key: str) -> None:
        """Remove one object; one that is gone already is not an error."""
        try:
            with store_errors(key):
                obstore.delete(self.store, check_key(key))
        except NotFound:
            return

    def _read_file(self, path: Path, key: str, chunk_size: int) -> Iterator[bytes]:
        """The store's own client reads local files 8 KiB at a time, which takes several times as long."""
        if not path.is_file():
            raise NotFound(f"there is no object {key}", remedy="Check the name; it may have been deleted.")
        with store_errors(key):
            file = path.open("rb", buffering=0)
        with file:
            while True:
                with store_errors(key):
                    chunk = file.read(chunk_size)
                if not chunk:
                    return
                yield chunk

    def _put_stream(self, key: str, chunks: Iterable[bytes], max_bytes: int | None) -> StoredFile:
        name = key.rsplit("/", 1)[-1]
        digest, size = hashlib.sha256(), 0
        source_failure: Exception | None = None

        def hashed() -> Iterator[bytes]:
            nonlocal size, source_failure
            try:
                for chunk in chunks:
                    size += len(chunk)
                    refuse_beyond(max_bytes, size, name)
                    digest.update(chunk)
                    if chunk:
                        yield chunk
            except Exception as error:
                source_failure = error
                raise

        try:
            with store_errors(key):
                if self.root is not None:
                    write_whole(self.root / key, hashed())
                else:
                    obstore.put(
                        self.store,
                        key,
                        hashed(),
                        use_multipart=True,
                        chunk_size=PART_BYTES,
                        max_concurrency=PARTS_IN_FLIGHT,
                    )
        except PlatformError:
            if source_failure is not None:  # the source failed, not the store: the caller knows that error
                raise source_failure from None
            raise
        self._sync(key)
        return StoredFile(path=name, size=size, sha256=digest.hexdigest())

    def _create_once(self, key: str, data: bytes) -> None:
        """Write a small object unless it exists; the winner of a race is kept."""
        with store_errors(key):
            try:
                obstore.put(self.store, key, data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return
        self._sync(key)

    def _sync(self, key: str) -> None:
        if self.root is not None:
            sync_up(self.root / key, self.root)


def refuse_beyond(max_bytes: int | None, size: int, name: str) -> None:
    """Raises TooLarge when `size` is over the limit."""
    if max_bytes is not None and size > max_bytes:
        raise TooLarge(
            f"{name} is larger than {max_bytes:,} bytes",
            remedy="Split it into several files, or raise MAX_UPLOAD_BYTES.",
        )
