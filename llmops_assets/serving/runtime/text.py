"""From tokens to text while they come: whole characters only, and nothing of a stop string or after it."""

from collections.abc import Callable, Sequence

UNDECODED = "\ufffd"
LONGEST_CHARACTER = 8  # tokens that may be waited for until bytes form a character; UTF-8 needs 4 at most


class TextStream:
    """The visible text of one answer. `push` takes a token and gives the text that is now certain."""

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str]) -> None:
        self._decode = decode
        self._stops = tuple(stop for stop in stops if stop)
        self._before: list[int] = []  # the tokens of the last piece: decoding depends on the neighbor (spaces)
        self._pending: list[int] = []
        self._held = ""  # the beginning of what may become a stop string
        self.stopped = False

    def push(self, token: int) -> str:
        """The text that the token makes certain; often empty. Sets `stopped` when a stop string is complete."""
        self._pending.append(token)
        piece = self._piece()
        if piece.endswith(UNDECODED) and len(self._pending) < LONGEST_CHARACTER:
            return ""
        self._before, self._pending = self._pending, []
        return self._visible(piece)

    def flush(self) -> str:
        """What was still held back when the answer ended by itself."""
        if self.stopped:
            return ""
        rest = self._visible(self._piece()) if self._pending else ""
        self._pending = []
        if not self.stopped:
            rest, self._held = rest + self._held, ""
        return rest

    def _piece(self) -> str:
        return self._decode([*self._before, *self._pending])[len(self._decode(self._before)) :]

    def _visible(self, piece: str) -> str:
        text = self._held + piece
        found = [at for at in (text.find(stop) for stop in self._stops) if at >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` that `stop` begins with."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0)
