"""One request and its answer over ASGI: the body within its bounds, the answer once, and the client's going away."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Final

from starlette.types import Message, Receive, Scope, Send

from llmops_resources.errors import InvalidInput, TooLarge, UnsupportedFormat
from serving_api.chat.deadlines import Cutoff, Deadlines
from serving_api.chat.metrics import Taken
from serving_api.identity import header_map
from serving_api.requests import NOSNIFF, RequestIds

MAX_BODY_BYTES = 4 * 1024**2
#: Seconds a client has to send its body, and to take the next piece of an answer.
BODY_PATIENCE = 30.0
SEND_PATIENCE = 60.0
#: Seconds after which it is watched whether a client that waits is still there: a short call is over before.
WATCHED_AFTER: Final = 0.1
_JSON: Final = b"application/json"
_EVENTS: Final = b"text/event-stream; charset=utf-8"
_NO_STORE: Final = (b"cache-control", b"no-store")


class ClientGone(Exception):
    """The client closed the connection, or has not read for SEND_PATIENCE seconds."""


class Exchange:
    """What a handler works with. `status` is what was answered, None before that; `route` the known route it is for.

    `taken` is what a call to a model server took, once it is booked.
    `sent` are the request's headers by lower-case name; of a repeated one the first counts.
    """

    __slots__ = (
        "_deadlines", "_receive", "_scope", "_send", "_task",
        "extra", "method", "path", "request_id", "route", "sent", "status", "taken",
    )  # fmt: skip

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, request_ids: RequestIds, deadlines: Deadlines
    ) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.sent: dict[bytes, bytes] = dict(reversed(scope["headers"]))
        self.request_id = request_ids.of(self.sent.get(b"x-request-id", b""))
        self.status: int | None = None
        self.route: str | None = None
        self.taken: Taken | None = None
        self.extra: list[tuple[bytes, bytes]] = []
        task = asyncio.current_task(deadlines.loop)
        assert task is not None  # noqa: S101  a coroutine of an ASGI server runs in a task
        self._task, self._deadlines = task, deadlines
        self._scope, self._receive, self._send = scope, receive, send

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
        with self.within(BODY_PATIENCE, _too_slow):
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
        await self._send(self._head(status, _JSON, [length, *headers] if headers else [length]))
        await self._send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def stream(self, piece: bytes, *, last: bool = False) -> None:
        """The next piece of an event stream; the first one sends the head. Raises ClientGone."""
        try:
            with self.within(SEND_PATIENCE, ClientGone):
                if self.status is None:
                    await self._send(self._head(200, _EVENTS, [(b"x-accel-buffering", b"no")]))
                await self._send({"type": "http.response.body", "body": piece, "more_body": not last})
        except OSError:
            raise ClientGone from None

    def within(self, seconds: float, error: Callable[[], Exception]) -> Cutoff:
        """A block that is cut off after so many seconds, and then raises `error`."""
        return Cutoff(self._deadlines, self._task, seconds, error)

    def watch(self) -> "Watch":
        """A block that is cut off when the client goes away, which then raises ClientGone.

        To be used after the body was read: what the client still says is only that it leaves.
        """
        return Watch(self._deadlines, self._task, self._receive)

    def _head(self, status: int, media: bytes, headers: list[tuple[bytes, bytes]]) -> Message:
        self.status = status
        own = [
            (b"content-type", media), (b"x-request-id", self.request_id.encode()), _NO_STORE, NOSNIFF, *self.extra,
            *headers,
        ]  # fmt: skip
        return {"type": "http.response.start", "status": status, "headers": own}


class Watch(Cutoff):
    """A block that is cut off when the client is found gone, for which it looks from WATCHED_AFTER on."""

    __slots__ = ("_receive", "_task")

    def __init__(self, deadlines: Deadlines, worker: asyncio.Task[object], receive: Receive) -> None:
        super().__init__(deadlines, worker, WATCHED_AFTER, ClientGone)
        self._receive = receive
        self._task: asyncio.Task[None] | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
        super().__exit__(kind, error, trace)

    def fall_due(self) -> None:
        self._task = self._deadlines.loop.create_task(self._look())

    async def _look(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        super().fall_due()


def _too_slow() -> InvalidInput:
    return InvalidInput(f"the body did not arrive within {BODY_PATIENCE:.0f} s", remedy="Send the request again.")


def _too_large() -> TooLarge:
    return TooLarge(f"the body is larger than {MAX_BODY_BYTES} bytes", remedy="Send fewer or shorter messages.")
