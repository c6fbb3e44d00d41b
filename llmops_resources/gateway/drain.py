"""Moving spooled usage to the database: a segment is deleted only after its records are committed."""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from sqlalchemy.exc import DataError, IntegrityError

from llmops_resources.errors import InvalidInput, Unavailable
from llmops_resources.gateway import usage
from llmops_resources.gateway.spool import SUFFIX, Spool, idle_segments, parse

Deliver = Callable[[Sequence[bytes]], object]

#: Of a transaction; what the busiest process writes between two passes goes in one.
BATCH = 2000
#: An open segment is closed at this size even while the database is away, so that no file grows without bound.
SEGMENT_BYTES = 8 * 1024**2
#: Seconds between two warnings about a spool that cannot be drained.
WARN_EVERY = 60.0

logger = logging.getLogger(__name__)


def drain(folder: Path, deliver: Deliver) -> int:
    """Hand every idle segment's records over, as JSON, and delete it; returns how many records were handed over.

    `deliver` must commit, and must not mind a record it has seen before. It raises InvalidInput, or the database's
    DataError or IntegrityError, when there is one among them that it can never take; what else it raises goes to the
    caller, and the segment stays. A segment with such a record, or with damaged lines, is set aside and kept.
    """
    delivered = 0
    for path, file in idle_segments(folder):
        segment = parse(_read(file))
        left: list[bytes] = []
        for start in range(0, len(segment.records), BATCH):
            left += _refused(segment.records[start : start + BATCH], deliver)
        delivered += len(segment.records) - len(left)
        refused = sum(map(_is_record, left))
        damaged = segment.damaged + len(left) - refused
        if refused:
            logger.error("the database refuses %d record(s) in %s; it is kept as .refused", refused, path.name)
            path.rename(path.with_suffix(".refused"))
        elif damaged:
            logger.error("%d damaged line(s) in %s; it is kept as .damaged", damaged, path.name)
            path.rename(path.with_suffix(".damaged"))
        else:
            path.unlink(missing_ok=True)
    return delivered


class Drainer:
    """A thread that drains a spool every `interval` seconds. While the database is away the spool grows."""

    def __init__(self, spool: Spool, deliver: Deliver, *, interval: float = 0.5) -> None:
        self._spool = spool
        self._deliver = deliver
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="usage-drainer", daemon=True)
        self._warned_at = -WARN_EVERY
        self._healthy = True

    def start(self) -> None:
        """Begin; segments that an earlier process left behind go first."""
        self._thread.start()

    def stop(self) -> None:
        """Drain what is there once more, if the database lets us, and end."""
        self._stop.set()
        self._thread.join()
        self._spool.rotate()
        self._pass()

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            # With the database away, closing a segment per pass would only litter the folder.
            if self._spool.written and (self._healthy or self._spool.written >= SEGMENT_BYTES):
                self._spool.rotate()
            self._pass()

    def _pass(self) -> None:
        try:
            drain(self._spool.folder, self._deliver)
        except Unavailable as error:
            self._troubled(error.message)
        except Exception as error:  # noqa: BLE001  the thread must outlive whatever the database says
            self._troubled(repr(error))
        else:
            self._healthy = True

    def _troubled(self, reason: str) -> None:
        self._healthy = False
        if time.monotonic() - self._warned_at >= WARN_EVERY:
            self._warned_at = time.monotonic()
            waiting = sum(path.stat().st_size for path in self._spool.folder.glob(f"*{SUFFIX}"))
            logger.warning("usage stays in the spool (%d bytes wait): %s", waiting, reason)


def _refused(records: Sequence[bytes], deliver: Deliver) -> list[bytes]:
    """Hand records over; returns those that can never be, which are found by halves so that the others are."""
    try:
        deliver(records)
    except (InvalidInput, DataError, IntegrityError) as error:
        if len(records) == 1:
            logger.warning("a usage record is refused: %s", error)
            return list(records)
        half = len(records) // 2
        return _refused(records[:half], deliver) + _refused(records[half:], deliver)
    return []


def _is_record(line: bytes) -> bool:
    try:
        usage.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return True


def _read(file: int) -> bytes:
    with os.fdopen(os.dup(file), "rb") as stream:
        return stream.read()
