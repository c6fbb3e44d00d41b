"""Which processes of one home hold parts of budgets, and which of those are certainly dead.

Each keeps a file named by its id locked (flock(2)) as long as it lives; the kernel lets go of the lock when it dies,
however it dies. A file that can be locked therefore belongs to a dead process, of whose part nothing will be spent any
more. What it had spent is in the ledger as soon as every spool segment that was there when it was found dead has been
moved: then its part shrinks to that, instead of after twenty minutes (`cost/leases.py`).

In doubt nothing is given back: a file that another machine wrote (their locks come over a network, which may forget
them), and spools with segments that were set aside, whose records the ledger does not have.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from uuid import UUID

from llmops_resources.gateway.spool import SUFFIX

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_SET_ASIDE: Final = frozenset({".refused", ".damaged"})


class Holders:
    """The holders of one home; `spool` is the folder into which all of them write their usage."""

    def __init__(self, folder: Path, spool: Path) -> None:
        self._folder, self._spool = folder, spool
        #: Of each holder that was found dead, the segments that may still have records of it.
        self._left: dict[UUID, frozenset[str]] = {}

    @contextmanager
    def living(self, holder: UUID) -> Iterator[None]:
        """Be known as alive while the block runs; what could not be given back at its end is settled like a death."""
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = self._folder / f".{holder}"
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            os.write(file, _boot())
            draft.rename(self._folder / str(holder))  # locked before anybody can find it
            yield
        finally:
            os.close(file)

    def settle(self, release: Callable[[UUID], object]) -> list[UUID]:
        """Release the parts of those that are certainly dead and wholly booked; to be called now and then.

        `release` must commit; what it raises goes to the caller, and is tried again the next time.
        """
        released = []
        for holder, path in _dead(self._folder):
            segments = {each.name for each in self._spool.glob(f"*{SUFFIX}")}
            left = self._left[holder] = frozenset(self._left.get(holder, segments) & segments)
            if left or any(each.suffix in _SET_ASIDE for each in self._spool.glob("*")):
                continue
            release(holder)
            path.unlink(missing_ok=True)
            del self._left[holder]
            released.append(holder)
        return released


def _dead(folder: Path) -> Iterator[tuple[UUID, Path]]:
    """Each dead holder of this machine, with its lock held while it is handled."""
    for path in sorted(folder.glob("[0-9a-f]*")):
        try:
            holder, file = UUID(path.name), os.open(path, os.O_RDONLY)
        except (ValueError, FileNotFoundError):
            continue  # none of ours, or settled by another process
        try:
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                boot = os.read(file, 100)
                if boot and boot == _boot() and os.fstat(file).st_nlink:
                    yield holder, path
        finally:
            os.close(file)


def _boot() -> bytes:
    """What names this machine since it was started; empty where nothing does."""
    try:
        return _BOOT.read_bytes()
    except OSError:
        return b""
