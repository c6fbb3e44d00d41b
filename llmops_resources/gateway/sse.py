"""Server-sent events (WHATWG HTML, section 9.2), as far as completion streams use them: the data of each event."""

from llmops_resources.errors import UpstreamFailed

DONE = b"[DONE]"
#: No chunk of a completion comes near this; a server that sends an endless line is cut off.
MAX_EVENT_BYTES = 1024**2


class EventReader:
    """Cuts a byte stream into events, wherever the network cut it."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, received: bytes) -> list[bytes]:
        """The data of every event that is complete now. Raises UpstreamFailed when one grows beyond the bound."""
        text = self._rest + received
        # A CR at the very end may be the first half of CRLF, so it waits for what follows.
        lines = text.replace(b"\r\n", b"\n").split(b"\n")
        self._rest = lines.pop()
        events = []
        for line in lines:
            if line:
                self._field(line)
            elif self._data:
                events.append(b"\n".join(self._data))
                self._data, self._size = [], 0
        if self._size + len(self._rest) > MAX_EVENT_BYTES:
            raise UpstreamFailed(
                "the model server streams without end in one event", remedy="Look at the endpoint's log."
            )
        return events

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            value = value.removeprefix(b" ")
            self._data.append(value)
            self._size += len(value)


def event(data: bytes) -> bytes:
    """One event as bytes; `data` must be a single line."""
    return b"data: " + data + b"\n\n"
