"""Processes as they appear on this machine, for benchmarks that time what a platform starts."""

import contextlib
import threading
from collections.abc import Callable, Iterable

import psutil

LOOK_EVERY = 0.02  # seconds


class Watch:
    """While the block runs, `note` is called with every process that is not among the `known` ids, in a thread.

    It returns whether that was enough: one that is between fork and exec says little, and is looked at again.
    """

    def __init__(self, note: Callable[[psutil.Process], bool], known: Iterable[int] = ()) -> None:
        self._note, self._known, self._stopping = note, set(known), threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stopping.wait(LOOK_EVERY):
            pids = set(psutil.pids())
            for pid in pids - self._known:
                with contextlib.suppress(psutil.Error):
                    if not self._note(psutil.Process(pid)):
                        pids.discard(pid)
            self._known = pids
