"""A circuit breaker per model server (Nygard, "Release It!", 2007): after failures in a row nobody asks it for a while.

Closed, it lets everything through and counts failures in a row. Open, it lets nothing through until its pause is over.
Half open, it lets one call through, which decides: well, and it closes; failed, and it is open for twice as long.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

FAILURES: Final = 5
FIRST_PAUSE: Final = 5.0
LONGEST_PAUSE: Final = 60.0


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass
class Breaker:
    """Ask `admits` before a call, and tell exactly one of `succeeded`, `failed` and `released` after it.

    `now` is seconds on a clock that never goes back.
    """

    state: State = State.CLOSED
    failures: int = 0
    pause: float = FIRST_PAUSE
    until: float = 0.0
    probing: bool = False

    def wait(self, now: float) -> float:
        """Seconds until a call may be let through."""
        return max(0.0, self.until - now) if self.state is State.OPEN else 0.0

    def admits(self, now: float) -> bool:
        """Whether a call may go out now; the one that is let through half open is on trial."""
        if self.state is State.OPEN and now >= self.until:
            self.state, self.probing = State.HALF_OPEN, False
        if self.state is State.HALF_OPEN and not self.probing:
            self.probing = True
            return True
        return self.state is State.CLOSED

    def succeeded(self) -> None:
        """The server did what it should. A call from before the breaker opened closes nothing."""
        if self.state is not State.OPEN:
            self.state, self.failures, self.pause, self.probing = State.CLOSED, 0, FIRST_PAUSE, False

    def failed(self, now: float) -> None:
        """The server did not answer, or not as it should."""
        if self.state is State.OPEN:
            return
        self.failures += 1
        if self.state is State.HALF_OPEN:
            self._open(now, min(2 * self.pause, LONGEST_PAUSE))
        elif self.failures >= FAILURES:
            self._open(now, self.pause)

    def released(self) -> None:
        """The call says nothing about the server: the client left, or was refused."""
        self.probing = False

    def _open(self, now: float, pause: float) -> None:
        self.state, self.pause, self.until, self.probing = State.OPEN, pause, now + pause, False
