"""The spool: usage records in local files, so that a killed process loses none that it acknowledged.

A record is one line, `<crc32 as 8 hex digits> <JSON>\\n`, appended with a single write(2). The page cache outlives the
process, so `kill -9` loses nothing; a power cut may cost the last moments, since nothing is fsynced per call.
The writer holds flock(2) on its open segment. A segment that can be locked is therefore closed or orphaned, whichever
process wrote it, and is safe to move to the database and delete.
"""

import asyncio
import fcntl
import logging
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from llmops_resources.errors import Unavailable
from llmops_resources.gateway import usage
from llmops_resources.gateway.usage import UsageRecord

logger = logging.getLogger(__name__)

SUFFIX = ".usage"
_FRAME = len(b"00000000 ")


@dataclass(frozen=True)
class Segment:
    """What a segment's bytes hold: its records, each as its JSON. `damaged` counts lines that do not check out."""

    records: list[bytes]
    damaged: int


def frame(record: UsageRecord) -> bytes:
    """One record as its line."""
    body = usage.encode(record)
    return b"%08x %b\n" % (zlib.crc32(body), body)


def parse(data: bytes) -> Segment:
    """The records of a segment. A tail without its newline was never acknowledged and is left out."""
    *lines, _torn = data.split(b"\n")
    records = [body for line in lines if line.startswith(b"%08x " % zlib.crc32(body := line[_FRAME:]))]
    return Segment(records, len(lines) - len(records))


class Spool:
    """The append side: one open segment per process, rotated by the thread that drains.

    Thread-safe. Open it after forking: two processes must not share a segment.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._file = -1
        self._written = 0
        self._segments = 0

    def append(self, record: UsageRecord) -> None:
        """Write a record; when this returns, it survives the death of the process.

        Raises Unavailable when the disk does not take it.
        """
        self.write(frame(record))

    def write(self, lines: bytes) -> None:
        """Write framed records. Raises as `append`; then some of the records, but never a part of one, may be there."""
        with self._lock:
            try:
                if self._file < 0:
                    self._file = self._open()
                written = os.write(self._file, lines)
            except OSError as error:
                self._close()
                raise _unwritable(error) from error
            self._written += written
            if written != len(lines):
                self._close()  # the torn line stays the last one of its segment
                raise _unwritable(OSError("the disk took only a part of it"))

    @property
    def written(self) -> int:
        """Bytes in the open segment."""
        return self._written

    def rotate(self) -> None:
        """Close the open segment, so that it can be drained; the next record opens another."""
        with self._lock:
            self._close()

    def _open(self) -> int:
        self.folder.mkdir(parents=True, exist_ok=True)
        while True:
            self._segments += 1
            name = f"{os.getpid()}-{os.urandom(4).hex()}-{self._segments:06d}{SUFFIX}"
            file = os.open(self.folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file).st_nlink:
                return file
            os.close(file)  # a drain found it empty before it was locked, and removed it

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file, self._written = -1, 0


class GroupCommit:
    """Records of calls that end at the same time, written at once; of one event loop.

    A call to the system for each would take as long as the rest of what a gateway does for a call (DeWitt et al.,
    "Implementation techniques for main memory database systems", 1984).
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._waiting: list[tuple[Callable[[], UsageRecord], asyncio.Future[None]]] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def append(self, record: Callable[[], UsageRecord]) -> "asyncio.Future[None]":
        """As `Spool.append`, once it is awaited.

        The record is made when it is written, which it is even when who asked is cancelled.
        """
        loop = self._loop
        if loop is None:  # to ask for it is a call to the system
            loop = self._loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append((record, done))
        if len(self._waiting) == 1:
            loop.call_soon(self._write)
        return done

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        failure: Unavailable | None = None
        try:
            self._spool.write(b"".join([frame(record()) for record, _ in waiting]))
        except Unavailable as error:
            failure = error
        for _, done in waiting:
            if done.done():  # cancelled
                if failure is not None:
                    logger.error("a call that was cut off could not be booked: %s", failure.message)
            elif failure is None:
                done.set_result(None)
            else:
                done.set_exception(Unavailable(failure.message, remedy=failure.remedy))


def idle_segments(folder: Path) -> Iterator[tuple[Path, int]]:
    """Every segment nobody writes to, oldest first, with a descriptor that holds its lock while it is handled."""
    found = sorted(folder.glob(f"*{SUFFIX}"), key=_modified)
    for path in found:
        try:
            file = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue  # another process drained it
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            continue
        try:
            if os.fstat(file).st_nlink:
                yield path, file
        finally:
            os.close(file)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _unwritable(error: OSError) -> Unavailable:
    return Unavailable(
        f"the usage of this call could not be written down: {error.strerror or error}",
        remedy="Free space on the disk that holds LLMOPS_HOME; calls are answered again as soon as it can be written.",
    )
