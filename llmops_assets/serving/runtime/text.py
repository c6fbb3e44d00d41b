"""From tokens to text while they come: whole characters only, and nothing of a stop string or after it."""

from collections.abc import Callable, Sequence

UNDECODED = "\ufffd"
LONGEST_CHARACTER = 8  # tokens that may be waited for until bytes form a character; UTF-8 needs 4 at most


class TextStream:
    """The visible text of one answer. `push` takes a token and gives the text that is now certain."""

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str]) -> None:
        self._decode = decode
        self._stop = StopMatcher(stops)
        self._before: list[int] = []  # the tokens of the last piece: decoding depends on the neighbor (spaces)
        self._known = 0  # characters of those
        self._pending: list[int] = []

    @property
    def stopped(self) -> bool:
        """Whether a stop string was complete."""
        return self._stop.stopped

    def push(self, token: int) -> str:
        """The text that the token makes certain; often empty. Sets `stopped` when a stop string is complete."""
        self._pending.append(token)
        piece = self._piece()
        if piece.endswith(UNDECODED) and len(self._pending) < LONGEST_CHARACTER:
            return ""
        self._before, self._pending = self._pending, []
        self._known = len(self._decode(self._before))
        return self._stop.push(piece)

    def flush(self) -> str:
        """What was still held back when the answer ended by itself; bytes that are no whole character are left out."""
        rest = self._stop.push(self._piece().rstrip(UNDECODED)) if self._pending else ""
        self._pending = []
        return rest + self._stop.flush()

    def _piece(self) -> str:
        return self._decode([*self._before, *self._pending])[self._known :]


class StopMatcher:
    """Text up to the stop string that is complete first, however the text is cut into pieces.

    Of two that are complete at the same character the longer one counts.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""  # the beginning of what may become a stop string
        self.stopped = False

    def push(self, piece: str) -> str:
        """What is certain to be before any stop string; nothing once `stopped`."""
        if self.stopped:
            return ""
        if not self._stops:
            return piece
        text = self._held + piece
        found = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)[1]]
        keep = max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """What was held back, when no more text comes."""
        rest, self._held = self._held, ""
        return rest


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` that `stop` begins with."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0)
