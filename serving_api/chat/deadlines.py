"""Blocks of an event loop that may not last longer than so many seconds: one timer for all of them.

`asyncio.timeout` sets a timer of its own for each block, which at thousands of calls a second is a part of their cost;
hardly any ever runs out. These come up to TICK late, which nobody notices who has waited for that long.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

TICK: Final = 0.05  # seconds


class Deadlines:
    """Of one event loop, inside which it is to be used."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._due: dict[Cutoff, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, block: "Cutoff", seconds: float) -> None:
        """Have `block.fall_due` called in so many seconds, unless it ends before."""
        self._due[block] = self.loop.time() + seconds
        if self._timer is None:
            self._timer = self.loop.call_later(TICK, self._look)

    def end(self, block: "Cutoff") -> None:
        """It has ended, or is due no more."""
        self._due.pop(block, None)

    def _look(self) -> None:
        now = self.loop.time()
        for block in [block for block, due in self._due.items() if due <= now]:
            del self._due[block]
            block.fall_due()
        self._timer = self.loop.call_later(TICK, self._look) if self._due else None


class Cutoff:
    """A block of a task that is cancelled after so many seconds, and then raises `error`."""

    __slots__ = ("_deadlines", "_error", "_gone", "_seconds", "_worker")

    def __init__(
        self, deadlines: Deadlines, worker: asyncio.Task[object], seconds: float, error: Callable[[], Exception]
    ) -> None:
        self._deadlines, self._worker, self._seconds, self._error = deadlines, worker, seconds, error
        self._gone = False

    def __enter__(self) -> Self:
        self._deadlines.begin(self, self._seconds)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._deadlines.end(self)
        if self._gone and self._worker.uncancel() == 0 and kind is asyncio.CancelledError:
            raise self._error() from None

    def fall_due(self) -> None:
        """Its time has come."""
        self._gone = True
        self._worker.cancel()
