"""What only a local folder needs: fsync, and tidying up after killed processes."""

import os
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from llmops_resources.blobs.failures import disk_errors

_SETTLED_BYTES: Final = 8 * 1024**2


def sync_up(path: Path, root: Path) -> None:
    """Make a file, and the folder entries leading to it from `root`, survive a power cut. Raises Unavailable."""
    with disk_errors(path):
        for entry in [path, *path.parents]:
            handle = os.open(entry, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
            if entry == root:
                break


def write_whole(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file that appears under its name when it is whole; until then it is `name#<digits>`, as obstore's are.

    Raises OSError, and whatever `pieces` raises; then nothing is left.
    """
    unfinished = path.with_name(f"{path.name}#{secrets.randbelow(10**18)}")
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    try:
        with unfinished.open("xb", buffering=0) as out:
            write_pieces(out.fileno(), pieces)
        unfinished.rename(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_pieces(handle: int, pieces: Iterable[bytes], at: int = 0) -> int:
    """Write the pieces one after another from the offset `at` on, and return where they end.

    Raises OSError, and whatever `pieces` raises.

    Every few MiB the kernel is told to begin writing them back, so that the fsync at the end has little to wait for:
    POSIX_FADV_DONTNEED does that to dirty pages on Linux, and leaves them in memory while they are under way.
    """
    settled = at
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            written = os.pwrite(handle, rest, at)
            rest, at = rest[written:], at + written
        if at - settled >= _SETTLED_BYTES and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(handle, settled, at - settled, os.POSIX_FADV_DONTNEED)
            settled = at
    return at


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` a second name of the file `source`, or a copy where the file system has no second names.

    Nothing may write to the file afterwards. Raises OSError.
    """
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except FileNotFoundError:
        raise
    except OSError:
        with source.open("rb") as content:
            write_whole(target, iter(partial(content.read, _SETTLED_BYTES), b""))


def prune_empty(folder: Path, root: Path) -> None:
    """Remove folders that became empty, from the bottom up; the root stays."""
    below = sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True) if folder.is_dir() else []
    for path in [*below, folder, *folder.parents]:
        if path == root or root not in path.parents:
            break
        try:
            path.rmdir()
        except OSError:  # not empty, or gone already
            continue


def sweep_partial_files(folder: Path, before: datetime) -> int:
    """Remove what a killed process left: obstore writes `name#1` first and renames it when it is whole."""
    removed = 0
    for path in folder.rglob("*#*") if folder.is_dir() else ():
        old = datetime.fromtimestamp(path.stat().st_mtime, UTC) < before
        if old and path.name.rpartition("#")[2].isdigit():
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def remove_tree(folder: Path) -> None:
    """Remove a folder of our own making, links in it not followed."""
    for path in sorted(folder.rglob("*"), reverse=True) if folder.exists() else ():
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
    if folder.exists():
        folder.rmdir()
