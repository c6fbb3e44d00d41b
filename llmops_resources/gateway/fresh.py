"""What a process keeps in memory of the database: read once, then replaced within a second of a change."""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

import psycopg

from llmops_resources.errors import Unavailable

logger = logging.getLogger(__name__)

#: Seconds: between two looks at the database without a notification; and when an old snapshot counts as stale.
POLL_EVERY = 1.0
STALE_AFTER = 30.0

Seen = TypeVar("Seen")


class Fresh(Generic[Seen]):
    """The current snapshot of something, and the task that replaces it.

    `read` loads a snapshot in a transaction of its own (it runs in a thread); `conninfo` is where to LISTEN to the
    channel. With the database away the last snapshot stays in use, and counts as stale after STALE_AFTER seconds.
    """

    def __init__(self, what: str, read: Callable[[], Seen], conninfo: str, channel: str) -> None:
        self._what = what
        self._read = read
        self._conninfo = conninfo
        self._channel = channel
        self._snapshot: Seen | None = None
        self._refreshed_at = -math.inf
        self._failing = False
        self._wake = asyncio.Event()

    @property
    def snapshot(self) -> Seen:
        """What to answer by. Raises Unavailable before it was read for the first time."""
        if self._snapshot is None:
            raise Unavailable(
                f"the {self._what} have not been read yet", remedy="Check that the database is up: GET /ready."
            )
        return self._snapshot

    @property
    def stale(self) -> bool:
        """Whether the snapshot has not been confirmed for STALE_AFTER seconds."""
        return time.monotonic() - self._refreshed_at > STALE_AFTER

    @contextlib.asynccontextmanager
    async def kept_fresh(self) -> AsyncIterator[None]:
        """Read once, then keep it fresh while the block runs."""
        await self.refresh()
        tasks = [asyncio.create_task(self._poll()), asyncio.create_task(self._listen())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def refresh(self) -> None:
        """Read now; when that fails, keep what there is."""
        asked_at = time.monotonic()
        try:
            seen = await asyncio.to_thread(self._read)
        except Exception as error:  # noqa: BLE001  whatever the database says, the old snapshot stays
            if not self._failing:
                logger.warning("the %s could not be read, the last ones stay in use: %r", self._what, error)
            self._failing = True
        else:
            self._refreshed_at, self._failing = asked_at, False
            if seen != self._snapshot:  # what was found out by means of an equal one stays found out
                self._snapshot = seen

    async def _poll(self) -> None:
        while True:
            # not `wait_for`, which in Python 3.11 may keep being cancelled to itself: then nothing would end this
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_EVERY):
                    await self._wake.wait()
            self._wake.clear()
            await self.refresh()

    async def _listen(self) -> None:
        while True:
            with contextlib.suppress(psycopg.Error, OSError):
                async with await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True) as connection:
                    await connection.execute(f"LISTEN {self._channel}")
                    self._wake.set()  # what changed while nobody listened
                    async for _ in connection.notifies():
                        self._wake.set()
            await asyncio.sleep(POLL_EVERY)
