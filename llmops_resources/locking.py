"""Locks on files and folders: one process holds one at a time, and the kernel lets go of it when that process dies."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path


class NoLocksError(OSError):
    """The disk knows no locks."""


def take(path: Path, make: Callable[[Path], int]) -> int | None:
    """What lies at `path`, as a handle that is closed to let go of it; None when somebody else holds it.

    `make` opens it, and makes it if need be. What others removed or replaced between opening and locking is not it
    any more, and made again. Raises NoLocksError, and the OSError of `make`.
    """
    while True:
        try:
            handle = make(path)
        except FileNotFoundError:  # its folder was removed while it was opened
            continue
        try:
            if not _lock(handle):
                os.close(handle)
                return None
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        except FileNotFoundError:  # removed before the lock was ours
            pass
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise NoLocksError(*error.args) from error
    return True
