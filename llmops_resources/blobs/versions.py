"""Version folders: staged, published once with their manifest last, downloaded only when every hash is right."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, Protocol
from uuid import uuid4

import obstore
from pydantic import ValidationError

from llmops_resources.blobs.ahead import read_ahead
from llmops_resources.blobs.disk import remove_tree, sweep_partial_files
from llmops_resources.blobs.failures import disk_errors, store_errors
from llmops_resources.blobs.objects import MANIFEST, PART_BYTES, STAGING, Objects
from llmops_resources.blobs.values import Manifest, StoredFile, StoredObject, check_key
from llmops_resources.errors import Conflict, InvalidInput, NotFound, PlatformError

CLAIM: Final = ".claim"
RESERVED: Final = frozenset({MANIFEST, CLAIM})
SERVER_COPY_LIMIT: Final = 5 * 1024**3  # one CopyObject request of S3 copies at most 5 GiB


class Held(Protocol):
    """The bytes of a file that nobody sees until they are told to appear at the place they are for."""

    @property
    def size(self) -> int:
        """How many there are."""

    def appear(self) -> None:
        """Be the object at that place, whole and at once; again, if need be. Raises Unavailable."""


class Blobs(Objects):
    """The object store of the platform, as `open_blobs` opens it."""

    def stage(self, prefix: str) -> str:
        """A fresh private folder to write the files of `prefix` into before `publish(prefix, files, staged=…)`."""
        check_key(prefix)
        return f"{STAGING}/{uuid4()}"

    def publish(
        self,
        prefix: str,
        files: Sequence[StoredFile],
        *,
        staged: str | None = None,
        held: Mapping[str, Held] | None = None,
    ) -> Manifest:
        """Make the folder exist with exactly these files: put them into place, then write the manifest.

        Files in `held`, by path, appear at their place by themselves. With `staged`, the others come from that folder;
        without, they already lie in `prefix`. The same files again are a
        no-op, and finish a publish that was interrupted. Raises Conflict for other files than the published ones or
        a size that differs from the one declared, NotFound when a file is missing, InvalidInput for a reserved name.
        """
        manifest = Manifest.of(files)
        for file in manifest.files:
            check_key(f"{prefix}/{file.path}")
            if file.path in RESERVED:
                raise InvalidInput(f"the name {file.path} is reserved", remedy="Rename the file.")
        published = self.manifest(prefix)
        if published is None:
            held = held or {}
            moves = [self._move(prefix, file, staged, held.get(file.path)) for file in manifest.files]
            self._claim(prefix, manifest)
            for move in moves:
                move()
            self._remove_strangers(prefix, manifest)
            self._create_once(f"{prefix}/{MANIFEST}", manifest.model_dump_json(by_alias=True).encode())
            published = self.manifest(prefix)
        if published != manifest:
            raise Conflict(
                f"{prefix} is already published with other bytes",
                remedy="A version never changes: create a new version for the new files.",
            )
        if staged is not None:
            self.delete(staged)
        return manifest

    def manifest(self, prefix: str) -> Manifest | None:
        """The manifest of a published folder, or None. Raises Conflict when it was damaged."""
        try:
            data = b"".join(self.read(f"{prefix}/{MANIFEST}"))
        except NotFound:
            return None
        try:
            manifest = Manifest.model_validate_json(data)
            intact = manifest == Manifest.of(manifest.files)
        except (ValidationError, PlatformError):
            intact = False
        if not intact:
            raise Conflict(f"the manifest of {prefix} is damaged", remedy="Restore it from a backup.")
        return manifest

    def download(self, prefix: str, manifest: Manifest, destination: Path) -> None:
        """Copy the files into the new folder `destination`, verifying size and SHA-256 of each on the way.

        Raises Conflict when bytes differ from the manifest or `destination` exists, NotFound when a file is missing;
        then nothing is left at `destination`.
        """
        if destination.exists():
            raise Conflict(f"{destination} already exists", remedy="Download into a new folder.")
        partial = destination.with_name(f".{destination.name}.{uuid4().hex}.partial")
        try:
            with disk_errors(partial):
                for file in manifest.files:
                    self._download_one(prefix, file, partial)
                partial.rename(destination)
        finally:
            remove_tree(partial)

    def sweep(self, prefix: str, older_than: timedelta) -> int:
        """Remove files of never-published version folders under `prefix` that nobody touched for `older_than`.

        The folder of an object is `{first}/{second}/{third}`, or `staging/{upload}`. Returns how many were removed,
        counting what killed processes left half written.
        """
        before = datetime.now(UTC) - older_than
        folders: dict[str, list[StoredObject]] = {}
        for entry in self.list(prefix):
            depth = 2 if entry.key.startswith(f"{STAGING}/") else 3
            folders.setdefault("/".join(entry.key.split("/")[:depth]), []).append(entry)
        removed = 0
        for folder, entries in folders.items():
            published = any(entry.key == f"{folder}/{MANIFEST}" for entry in entries)
            if not published and all(entry.modified < before for entry in entries):
                removed += self.delete(folder)
        if self.root is not None:
            removed += sweep_partial_files(self.root / prefix.strip("/"), before)
        if self.composer is not None:
            removed += self.composer.abort_old(prefix, before)
        return removed

    def _move(self, prefix: str, file: StoredFile, staged: str | None, held: Held | None) -> Callable[[], None]:
        """What puts the file into place. Raises Conflict for another size than declared, NotFound."""
        if held is None:
            return partial(self._place, self._source(prefix, file, staged), f"{prefix}/{file.path}")
        _check_size(file.path, held.size, file)
        return held.appear

    def _source(self, prefix: str, file: StoredFile, staged: str | None) -> str:
        """Where the file's bytes are now. In place already, when an interrupted publish had moved them."""
        key = target = f"{prefix}/{file.path}"
        if staged is not None and (self.exists(f"{staged}/{file.path}") or not self.exists(target)):
            key = f"{staged}/{file.path}"
        _check_size(key, self.head(key), file)
        return key

    def _claim(self, prefix: str, manifest: Manifest) -> None:
        """Only one content at a time may be put into the folder. A claim left by a crash falls to `sweep`."""
        key = f"{prefix}/{CLAIM}"
        self._create_once(key, manifest.digest.encode())
        if b"".join(self.read(key)).decode() != manifest.digest:
            raise Conflict(
                f"other files are being published as {prefix}",
                remedy="Upload those same files again to finish it, or create a new version.",
            )

    def _place(self, source: str, target: str) -> None:
        if source == target:
            return
        if self.root is not None:
            with store_errors(source):
                obstore.rename(self.store, source, target)
            self.settle(target)
        elif self.head(source) <= SERVER_COPY_LIMIT:
            with store_errors(source):
                obstore.copy(self.store, source, target)
        else:
            self._put_stream(target, read_ahead(self.read(source, PART_BYTES)), None)

    def _remove_strangers(self, prefix: str, manifest: Manifest) -> None:
        """A runtime loads the whole folder, so nothing may lie in it that the manifest does not vouch for."""
        expected = {f"{prefix}/{file.path}" for file in manifest.files} | {f"{prefix}/{name}" for name in RESERVED}
        for entry in list(self.list(prefix)):
            if entry.key not in expected:
                self.remove(entry.key)

    def _download_one(self, prefix: str, file: StoredFile, folder: Path) -> None:
        target = folder / check_key(file.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        with target.open("wb") as out:
            for chunk in self.read(f"{prefix}/{file.path}"):
                digest.update(chunk)
                size += len(chunk)
                out.write(chunk)
        if size != file.size or digest.hexdigest() != file.sha256:
            raise Conflict(
                f"{prefix}/{file.path} changed after it was published: its bytes no longer match the manifest",
                remedy="Do not use this version; restore its files, or publish and approve a new version.",
            )


def _check_size(name: str, size: int, file: StoredFile) -> None:
    if size != file.size:
        raise Conflict(f"{name} has {size:,} bytes instead of {file.size:,}", remedy="Upload it again.")
