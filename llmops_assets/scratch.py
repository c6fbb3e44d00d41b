"""Scratch folders of runs: one a row, cleared when its next attempt starts and when its work ends."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from llmops_resources.catalog.versions import Version
from llmops_resources.platform import Platform


@contextmanager
def folder(platform: Platform, row_id: UUID) -> Iterator[Path]:
    """An empty folder for the work on a row; the caller holds its lease, so nobody else uses it."""
    path = _root(platform) / str(row_id)
    shutil.rmtree(path, ignore_errors=True)  # what a killed attempt left
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


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


def _root(platform: Platform) -> Path:
    return platform.settings.home / "cache" / "work"
