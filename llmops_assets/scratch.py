"""Scratch folders of runs: one a row, cleared when its next attempt starts and when its work ends.

What a failed attempt keeps for the next one is swept with all that nobody goes on with.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from uuid import UUID

from llmops_resources.blobs import Blobs, Draft, Manifest
from llmops_resources.catalog.versions import Version
from llmops_resources.errors import Unavailable
from llmops_resources.locking import take
from llmops_resources.platform import Platform

#: Seconds for a predecessor that lost its lease, because the database died, to notice and to end its program.
LEAVING: Final = 120.0


@contextmanager
def folder(platform: Platform, row_id: UUID, *, keep: str | None = None) -> Iterator[Path]:
    """A folder for the work on a row, and nobody else's while the block runs.

    It is empty but for the file named `keep`, where an attempt that failed or was killed on this machine has left one.

    The row's lease is not enough: the database drops it when it dies itself, and then the attempt that held it lives
    on for a while beside its successor. Raises Unavailable when it does so for longer than LEAVING.
    """
    path = _root(platform) / str(row_id)
    with _alone_in(path):
        _clear(path, keep)  # of what a killed attempt left
        try:
            yield path
        except BaseException:
            with suppress(OSError):  # what cannot be cleared now hides no reason, and waits for the sweep
                _clear(path, keep)
                path.rmdir()  # stays where there is something to go on from
            raise
        shutil.rmtree(path, ignore_errors=True)


def _clear(path: Path, keep: str | None) -> None:
    for left in (each for each in path.iterdir() if each.name != keep):
        shutil.rmtree(left, ignore_errors=True) if left.is_dir() and not left.is_symlink() else left.unlink()


@contextmanager
def _alone_in(path: Path) -> Iterator[None]:
    """Make a folder and lock it; the kernel lets go of the lock when we die."""
    deadline = time.monotonic() + LEAVING
    while (handle := take(path, _opened)) is None:
        if time.monotonic() > deadline:
            raise Unavailable(f"an earlier attempt still works in {path}", remedy="End its process, then retry.")
        time.sleep(0.1)
    try:
        yield
    finally:
        os.close(handle)


def _opened(path: Path) -> int:
    path.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDONLY)


def folders(platform: Platform) -> list[Path]:
    """The work folders that lie on this machine, each named by its row."""
    root = _root(platform)
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def fetch(platform: Platform, version: Version, destination: Path) -> Path:
    """Download a version's files, each hash verified against its digest. Raises Conflict when bytes changed."""
    platform.blobs.download(prefix_of(version), version.manifest, destination)
    return destination


def prefix_of(version: Version) -> str:
    """Where a version's files lie in object storage."""
    return f"{version.kind}s/{version.id}/{version.version}"


def reader(platform: Platform, folder: str) -> Callable[[str, int, int], bytes]:
    """What gives parts of the files in a folder of the object store: by path, offset and length."""
    return lambda path, start, length: platform.blobs.read_range(f"{folder}/{path}", start, length)


def chunks(path: Path, size: int = 1 << 20) -> Iterator[bytes]:
    """The bytes of a file in pieces of at most `size`."""
    with path.open("rb") as stream:
        while piece := stream.read(size):
            yield piece


def publish(blobs: Blobs, prefix: str, files: Mapping[str, Path]) -> Manifest:
    """Publish files of this machine, by their names there, as the folder `prefix`; raises what `Blobs.publish` does."""
    with Draft(blobs, prefix) as draft:
        return draft.publish([draft.add(name, chunks(path), asked=_nothing) for name, path in files.items()])


def _nothing(_beginning: bytes) -> int:
    """How much of a file is read again before it is published."""
    return 0


def _root(platform: Platform) -> Path:
    return platform.settings.home / "cache" / "work"
