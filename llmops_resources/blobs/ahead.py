"""Reading in a thread of its own, a few pieces ahead.

The store's client cannot be asked to read while it is being asked to write by the same thread, which is what copying
from one object to another comes to; and ahead is faster.
"""

import queue
import threading
from collections.abc import Iterable, Iterator

_PIECES = 4


def read_ahead(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same pieces, made by another thread; what goes wrong there is raised here."""
    made: queue.Queue[bytes | BaseException | None] = queue.Queue(_PIECES)
    stopped = threading.Event()

    def put(item: bytes | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                made.put(item, timeout=0.2)
            except queue.Full:
                continue
            return

    def make() -> None:
        try:
            for piece in pieces:
                put(piece)
                if stopped.is_set():
                    return
        except BaseException as error:  # noqa: BLE001  raised again by the reader
            put(error)
            return
        put(None)

    threading.Thread(target=make, name="read-ahead", daemon=True).start()
    try:
        while (item := made.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
