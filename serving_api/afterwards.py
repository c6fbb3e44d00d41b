"""What a request leaves to do once it is answered: log lines and counts, done together a tenth of a second later.

Doing many of the same at once takes a fraction of doing each between two requests, by which time the code for it has
left the processor's caches. To be used by the event loop; what waits when the process is killed is lost, so nothing
that must not be lost is left here.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

logger = logging.getLogger(__name__)

LATE: Final = 0.1  # seconds
_MOST_WAITING: Final = 1000


class Afterwards:
    """What waits, and when it is due."""

    def __init__(self) -> None:
        self._waiting: dict[Callable[[Sequence[Any]], None], list[Any]] = {}
        self._due = 0.0

    def leave(self, work: Callable[[Sequence[Any]], None], item: Any) -> None:
        """Have `work` called with this item and those that others leave meanwhile, in their order."""
        items, now = self._waiting.get(work), time.monotonic()
        if items is None:
            if not self._waiting:
                self._due = now + LATE
                asyncio.get_running_loop().call_later(LATE, self.do_now)
            items = self._waiting[work] = []
        items.append(item)
        if len(items) >= _MOST_WAITING or now > self._due + LATE:  # late: the loop that was to do it has ended
            self.do_now()

    def do_now(self) -> None:
        """Do what waits."""
        waiting, self._waiting = self._waiting, {}
        for work, items in waiting.items():
            try:
                work(items)
            except Exception:  # a log that cannot be written must not fail the request that comes next
                logger.exception("%d request(s) could not be accounted for", len(items))


_AFTERWARDS: Final = Afterwards()
leave: Final = _AFTERWARDS.leave
do_now: Final = _AFTERWARDS.do_now
