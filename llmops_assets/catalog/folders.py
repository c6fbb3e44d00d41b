"""Reading a folder of the server that a user named, without being led out of the allowed root."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from llmops_resources.catalog.airlock.names import MAX_FILES
from llmops_resources.errors import Conflict, InvalidInput, NotFound, TooLarge

_CHUNK: Final = 1024**2


def files_of(folder: Path) -> list[str]:
    """The names of the files in the folder, and of those one level below. Raises NotFound, TooLarge."""
    try:
        found: list[str] = []
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                found += [f"{entry.name}/{below.name}" for below in os.scandir(entry.path) if not below.is_dir()]
            else:
                found.append(entry.name)
            if len(found) > MAX_FILES:
                raise TooLarge(f"{folder.name} has over {MAX_FILES:,} files", remedy="Name the model's own folder.")
    except OSError as error:
        raise NotFound(f"{folder.name} cannot be read: {error.strerror}", remedy="Check the folder.") from error
    return sorted(found)


def chunks(root: Path, path: Path) -> Iterator[bytes]:
    """The bytes of a file. Raises InvalidInput unless what was opened is a regular file below `root`.

    The question is put to the open file and not to its name, which somebody could make a link in between.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise NotFound(f"{path.name} cannot be read: {error.strerror}", remedy="Check the folder.") from error
    with os.fdopen(descriptor, "rb") as stream:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode) or not _real(descriptor, path).is_relative_to(root.resolve()):
            raise InvalidInput(
                f"{path.name} is not a file below MODEL_IMPORT_ROOT", remedy="Replace links by the files themselves."
            )
        while piece := stream.read(_CHUNK):
            yield piece
        after = os.fstat(descriptor)
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise Conflict(f"{path.name} changed while it was read", remedy="Import it when nobody writes to it.")


def _real(descriptor: int, path: Path) -> Path:
    opened = Path(f"/proc/self/fd/{descriptor}")
    return (opened if opened.exists() else path).resolve()
