"""Who runs and who waits: pure, and independent of the model.

First come, first served, and nobody overtakes, so that nobody starves. A request is let in while a slot is free and
the columns that all running requests may come to need fit into the cache together; where nothing runs it is let in in
any case, so that a step never finds work waiting and nothing to do.
"""

from collections import deque
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar


class Work(Protocol):
    """What a schedule needs to know: tokens of the prompt, tokens it may have in the end, and whether it is off."""

    @property
    def length(self) -> int: ...

    @property
    def most(self) -> int: ...

    @property
    def gone(self) -> bool: ...


W = TypeVar("W", bound=Work)


class Schedule(Generic[W]):
    """`slots` requests run at most and `queue` wait.

    `cache` bounds rows times columns of the key-value cache, and `reading` the tokens of the prompts that are let in
    at once, which is how long the running requests may be held up.
    """

    def __init__(self, slots: int, queue: int, *, cache: int, reading: int) -> None:
        self.cache = cache
        self._slots, self._queue, self._reading = slots, queue, reading
        self._waiting: deque[W] = deque()
        self.running: list[W] = []

    @property
    def waiting(self) -> int:
        """Requests not yet in a slot."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._waiting and not self.running

    def offer(self, group: Sequence[W]) -> bool:
        """Queue these, or none of them when they do not all fit."""
        if len(self._waiting) + len(group) > self._queue:
            return False
        self._waiting.extend(group)
        return True

    def admit(self) -> list[W]:
        """Let in whose turn it is; those that nobody waits for any more are dropped first."""
        self._waiting = deque(work for work in self._waiting if not work.gone)
        joining: list[W] = []
        while self._waiting and self._fits(self._waiting[0], joining):
            joining.append(self._waiting.popleft())
            self.running.append(joining[-1])
        return joining

    def end(self, work: W) -> int:
        """Free the slot; the row it had, which the last row now has."""
        row = self.running.index(work)
        self.running[row] = self.running[-1]
        self.running.pop()
        return row

    def abandon(self) -> list[W]:
        """Everything there is, running or waiting, and the schedule left empty."""
        everything = [*self.running, *self._waiting]
        self.running.clear()
        self._waiting.clear()
        return everything

    def _fits(self, work: W, joining: Sequence[W]) -> bool:
        rows = len(self.running) + 1
        if rows == 1:
            return True
        columns = max(work.most, *(each.most for each in self.running))
        read = work.length + sum(each.length for each in joining)
        return rows <= self._slots and rows * columns <= self.cache and (read <= self._reading or not joining)
