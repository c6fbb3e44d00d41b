"""What a request leaves to do once it is answered: log lines and counts, done together a tenth of a second later.

Doing many of the same at once takes a fraction of doing each between two requests, by which time the code for it has
left the processor's caches. To be used by the event loop; what waits when the process is killed is lost, so nothing
that must not be lost is left here.
"""

import asyncio
import atexit
from collections.abc import Callable, Sequence
from typing import Any, Final

LATE: Final = 0.1  # seconds
_MOST_WAITING: Final = 1000
_waiting: Final[dict[Callable[[Sequence[Any]], None], list[Any]]] = {}


def leave(work: Callable[[Sequence[Any]], None], item: Any) -> None:
    """Have `work` called with this item and those that others leave meanwhile, in their order."""
    items = _waiting.get(work)
    if items is None:
        if not _waiting:
            asyncio.get_running_loop().call_later(LATE, do_now)
        items = _waiting[work] = []
    items.append(item)
    if len(items) >= _MOST_WAITING:
        do_now()


def do_now() -> None:
    """Do what waits."""
    waiting = dict(_waiting)
    _waiting.clear()
    for work, items in waiting.items():
        work(items)


atexit.register(do_now)
