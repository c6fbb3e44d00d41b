"""One request and its answer over ASGI: the body within its bounds, the answer once, and the client's going away."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from starlette.types import Receive, Scope, Send

from llmops_resources.errors import InvalidInput, TooLarge, UnsupportedFormat
from serving_api.identity import header_map

MAX_BODY_BYTES = 4 * 1024**2
#: Seconds a client has to send its body, and to take the next piece of an answer.
BODY_PATIENCE = 30.0
SEND_PATIENCE = 60.0
#: Seconds after which it is watched whether a client that waits is still there: a short call is over before.
WATCHED_AFTER: Final = 0.1
_JSON: Final = b"application/json"
_NO_STORE: Final = (b"cache-control", b"no-store")


class ClientGone(Exception):
    """The client closed the connection, or has not read for SEND_PATIENCE seconds."""


class Exchange:
    """What a handler works with. `status` is what was answered, None before that; `route` the known route it is for.

    `sent` are the request's headers by lower-case name; of a repeated one the first counts.
    """

    __slots__ = (
        "_loop", "_receive", "_scope", "_send", "extra", "method", "path", "request_id", "route", "sent", "status",
    )  # fmt: skip

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, request_id: str, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.sent: dict[bytes, bytes] = dict(reversed(scope["headers"]))
        self.request_id = request_id
        self.status: int | None = None
        self.route: str | None = None
        self.extra: list[tuple[bytes, bytes]] = []
        self._loop = loop
        self._scope = scope
        self._receive = receive
        self._send = send

    @property
    def is_encoded(self) -> bool:
        """Whether the path was sent with percent-encoding."""
        return b"%" in (self._scope.get("raw_path") or b"")

    @property
    def headers(self) -> dict[str, str]:
        """`sent`, decoded."""
        return header_map(self._scope["headers"])

    def answered_by(self, route: str) -> None:
        """Name the route that answers in a header; to be called before the answer."""
        self.route = route
        self.extra.append((b"x-llmops-route", route.encode()))

    async def json_body(self) -> bytes:
        """The whole body.

        Raises UnsupportedFormat unless it is declared as JSON, TooLarge past MAX_BODY_BYTES, InvalidInput when it
        does not arrive in BODY_PATIENCE seconds, ClientGone.
        """
        declared = self.sent.get(b"content-type", b"")
        media = declared if declared == _JSON else declared.partition(b";")[0].strip().lower()
        if media != _JSON:
            shown = media[:60].decode("latin-1") or "nothing"
            raise UnsupportedFormat(f"the body is declared as {shown!r}", remedy="Send Content-Type: application/json.")
        length = self.sent.get(b"content-length", b"")
        if length.isdigit() and int(length[:20]) > MAX_BODY_BYTES:
            raise _too_large()
        with Cutoff(BODY_PATIENCE, self._loop, _too_slow):
            return await self._read()

    async def _read(self) -> bytes:
        parts, size = [], 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part: bytes = message.get("body", b"")
            parts.append(part)
            size += len(part)
            if size > MAX_BODY_BYTES:
                raise _too_large()
            if not message.get("more_body", False):
                return part if len(parts) == 1 else b"".join(parts)

    async def answer(self, status: int, body: bytes, headers: list[tuple[bytes, bytes]] | None = None) -> None:
        """A whole JSON answer."""
        length = (b"content-length", b"%d" % len(body))
        await self._start(status, _JSON, [length, *headers] if headers else [length])
        await self._send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def stream(self, piece: bytes, *, last: bool = False) -> None:
        """The next piece of an event stream; the first one sends the head. Raises ClientGone."""
        try:
            with Cutoff(SEND_PATIENCE, self._loop, ClientGone):
                if self.status is None:
                    await self._start(200, b"text/event-stream; charset=utf-8", [(b"x-accel-buffering", b"no")])
                await self._send({"type": "http.response.body", "body": piece, "more_body": not last})
        except OSError:
            raise ClientGone from None

    def watch(self) -> "Watch":
        """A block that is cut off when the client goes away, which then raises ClientGone.

        To be used after the body was read: what the client still says is only that it leaves.
        """
        return Watch(self._receive, self._loop)

    async def _start(self, status: int, media: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.status = status
        own = [(b"content-type", media), (b"x-request-id", self.request_id.encode()), _NO_STORE, *self.extra, *headers]
        await self._send({"type": "http.response.start", "status": status, "headers": own})


class Cutoff:
    """A block that is cancelled after so many seconds, and then raises `error`.

    It is `asyncio.timeout` at a third of the work. The loop is given because to ask which one runs is a call to the
    system in Python 3.11.
    """

    __slots__ = ("_error", "_gone", "_loop", "_timer", "_worker")

    def __init__(self, seconds: float, loop: asyncio.AbstractEventLoop, error: Callable[[], Exception]) -> None:
        self._loop, self._error = loop, error
        worker = asyncio.current_task(loop)
        assert worker is not None  # noqa: S101  a coroutine of an ASGI server runs in a task
        self._worker = worker
        self._timer = loop.call_later(seconds, self._due)
        self._gone = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stop()
        if kind is asyncio.CancelledError and self._gone and self._worker.uncancel() == 0:
            raise self._error() from None

    def _stop(self) -> None:
        self._timer.cancel()

    def _due(self) -> None:
        self._gone = True
        self._worker.cancel()


class Watch(Cutoff):
    """A block that is cut off when the client is found gone, for which it looks from WATCHED_AFTER on."""

    __slots__ = ("_receive", "_task")

    def __init__(self, receive: Receive, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(WATCHED_AFTER, loop, ClientGone)
        self._receive = receive
        self._task: asyncio.Task[None] | None = None

    def _stop(self) -> None:
        super()._stop()
        if self._task is not None:
            self._task.cancel()

    def _due(self) -> None:
        self._task = self._loop.create_task(self._look())

    async def _look(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        super()._due()


def _too_slow() -> InvalidInput:
    return InvalidInput(f"the body did not arrive within {BODY_PATIENCE:.0f} s", remedy="Send the request again.")


def _too_large() -> TooLarge:
    return TooLarge(f"the body is larger than {MAX_BODY_BYTES} bytes", remedy="Send fewer or shorter messages.")
