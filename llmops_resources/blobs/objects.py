"""Single objects: written whole or not at all, read as a stream, never inside a published folder."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Final

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import ObjectStore

from llmops_resources.blobs.compose import Composer
from llmops_resources.blobs.disk import link_or_copy, prune_empty, sync_up, write_whole
from llmops_resources.blobs.failures import store_errors
from llmops_resources.blobs.values import StoredFile, StoredObject, check_key
from llmops_resources.errors import Conflict, InvalidInput, NotFound, PlatformError, TooLarge

MANIFEST: Final = "manifest.json"
STAGING: Final = "staging"
PART_BYTES: Final = 8 * 1024**2
PARTS_IN_FLIGHT: Final = 5
Parts = Sequence[tuple[str, int, int]]  # key, offset in that object, bytes


@dataclass(frozen=True)
class Objects:
    """Objects under one root; `root` is the local folder, or None for S3, which has a `composer` then.

    All methods raise Unavailable when the store cannot be reached or is full, InvalidInput for a bad key.
    """

    store: ObjectStore
    base: str
    root: Path | None = None
    composer: Composer | None = None

    def uri(self, prefix: str) -> str:
        """Where the folder lies, for programs outside the platform: `s3://…/` or `file://…/`."""
        return f"{self.base}/{check_key(prefix.strip('/'))}/"

    def write(self, key: str, chunks: Iterable[bytes], *, max_bytes: int | None = None) -> StoredFile:
        """Store the chunks as one object, hashing them on the way; on any failure nothing becomes visible.

        It survives a power cut, but for one in the staging folder, which `publish` or `settle` makes safe.
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

    def read_part(self, key: str, start: int, length: int, chunk_size: int = 1024**2) -> Iterator[bytes]:
        """The bytes from `start` on, `length` of them or as many as there are, in chunks. Raises NotFound."""
        check_key(key)
        if self.root is not None:
            yield from self._read_file(self.root / key, key, chunk_size, start, length)
            return
        if start == 0 and length == self.head(key):
            yield from self.read(key, chunk_size)
            return
        for at in range(start, start + length, PART_BYTES):
            yield self.read_range(key, at, min(PART_BYTES, start + length - at))

    def can_join(self, parts: Parts) -> bool:
        """Whether `join` can put these parts together."""
        if self.root is not None:
            key = parts[0][0]
            follow = all(part[:2] == (key, at) for part, at in zip(parts, _starts(parts), strict=False))
            return follow and self.exists(key) and self.head(key) == sum(part[2] for part in parts)
        whole = all(at == 0 for _key, at, _size in parts)
        return self.composer is not None and whole and self.composer.takes([size for *_place, size in parts])

    def join(self, key: str, parts: Parts) -> bool:
        """Make the object `key` out of parts of others, without reading them: linked, or copied by the store itself.

        False when the store cannot do that after all. Raises what `write` does; NotFound when a part is gone.
        """
        check_key(key)
        if self.root is not None:
            target = self.root / key
            with store_errors(parts[0][0]):
                target.parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(self.root / parts[0][0], target)
            return True
        return self.composer is not None and self.composer.compose(key, [source for source, *_place in parts])

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

    def _read_file(
        self, path: Path, key: str, chunk_size: int, start: int = 0, length: int | None = None
    ) -> Iterator[bytes]:
        """The store's own client reads local files 8 KiB at a time, which takes several times as long."""
        if not path.is_file():
            raise NotFound(f"there is no object {key}", remedy="Check the name; it may have been deleted.")
        with store_errors(key):
            file = path.open("rb", buffering=0)
            file.seek(start)
        with file:
            while length is None or length > 0:
                with store_errors(key):
                    chunk = file.read(chunk_size if length is None else min(chunk_size, length))
                if not chunk:
                    return
                length = None if length is None else length - len(chunk)
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
        if not key.startswith(f"{STAGING}/"):  # what is staged is made safe from a power cut where it is published
            self.settle(key)
        return StoredFile(path=name, size=size, sha256=digest.hexdigest())

    def _create_once(self, key: str, data: bytes) -> None:
        """Write a small object unless it exists; the winner of a race is kept."""
        with store_errors(key):
            try:
                obstore.put(self.store, key, data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return
        self.settle(key)

    def settle(self, key: str) -> None:
        """Make an object survive a power cut. Raises Unavailable."""
        if self.root is not None:
            sync_up(self.root / key, self.root)


def _starts(parts: Parts) -> Iterator[int]:
    return accumulate((size for _key, _at, size in parts), initial=0)


def refuse_beyond(max_bytes: int | None, size: int, name: str) -> None:
    """Raises TooLarge when `size` is over the limit."""
    if max_bytes is not None and size > max_bytes:
        raise TooLarge(
            f"{name} is larger than {max_bytes:,} bytes",
            remedy="Split it into several files, or raise MAX_UPLOAD_BYTES.",
        )
