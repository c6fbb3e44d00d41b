"""One request and its answer over ASGI: the body within its bounds, the answer once, and the client's going away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import Receive, Scope, Send

from llmops_resources.errors import InvalidInput, TooLarge, UnsupportedFormat
from serving_api.identity import header_map

MAX_BODY_BYTES = 4 * 1024**2
#: Seconds a client has to send its body, and to take the next piece of an answer.
BODY_PATIENCE = 30.0
SEND_PATIENCE = 60.0


class ClientGone(Exception):
    """The client closed the connection, or has not read for SEND_PATIENCE seconds."""


class Exchange:
    """What a handler works with. `status` is what was answered, None before that; `route` the known route it is for."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.is_encoded = b"%" in (scope.get("raw_path") or b"")
        self.headers = header_map(scope["headers"])
        self.request_id = request_id
        self.status: int | None = None
        self.route: str | None = None
        self.extra: list[tuple[bytes, bytes]] = []
        self._receive = receive
        self._send = send

    def answered_by(self, route: str) -> None:
        """Name the route that answers in a header; to be called before the answer."""
        self.route = route
        self.extra.append((b"x-llmops-route", route.encode()))

    async def json_body(self) -> bytes:
        """The whole body.

        Raises UnsupportedFormat unless it is declared as JSON, TooLarge past MAX_BODY_BYTES, InvalidInput when it
        does not arrive in BODY_PATIENCE seconds, ClientGone.
        """
        media = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media != "application/json":
            raise UnsupportedFormat(
                f"the body is declared as {media[:60] or 'nothing'!r}", remedy="Send Content-Type: application/json."
            )
        declared = self.headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > MAX_BODY_BYTES:
            raise _too_large()
        try:
            async with asyncio.timeout(BODY_PATIENCE):
                return await self._read()
        except TimeoutError:
            raise InvalidInput(
                f"the body did not arrive within {BODY_PATIENCE:.0f} s", remedy="Send the request again."
            ) from None

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
                return b"".join(parts)

    async def answer(self, status: int, body: bytes, headers: list[tuple[bytes, bytes]] | None = None) -> None:
        """A whole JSON answer."""
        length = (b"content-length", b"%d" % len(body))
        await self._start(status, b"application/json", [length, *(headers or [])])
        await self._send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def stream(self, piece: bytes, *, last: bool = False) -> None:
        """The next piece of an event stream; the first one sends the head. Raises ClientGone."""
        try:
            async with asyncio.timeout(SEND_PATIENCE):
                if self.status is None:
                    await self._start(200, b"text/event-stream; charset=utf-8", [(b"x-accel-buffering", b"no")])
                await self._send({"type": "http.response.body", "body": piece, "more_body": not last})
        except (TimeoutError, OSError):
            raise ClientGone from None

    @asynccontextmanager
    async def while_client_listens(self) -> AsyncIterator[None]:
        """Run the block, but cut it off when the client disconnects, which then raises ClientGone.

        To be used after the body was read: what the client still says is only that it leaves.
        """
        worker = asyncio.current_task()
        assert worker is not None  # noqa: S101  a coroutine of an ASGI server runs in a task
        gone = False

        async def watch() -> None:
            nonlocal gone
            while (await self._receive())["type"] != "http.disconnect":
                pass
            gone = True
            worker.cancel()

        watcher = asyncio.create_task(watch())
        try:
            yield
        except asyncio.CancelledError:
            if gone and worker.uncancel() == 0:
                raise ClientGone from None
            raise
        finally:
            watcher.cancel()

    async def _start(self, status: int, media: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.status = status
        own = [(b"content-type", media), (b"x-request-id", self.request_id.encode()), (b"cache-control", b"no-store")]
        await self._send({"type": "http.response.start", "status": status, "headers": [*own, *self.extra, *headers]})


def _too_large() -> TooLarge:
    return TooLarge(f"the body is larger than {MAX_BODY_BYTES} bytes", remedy="Send fewer or shorter messages.")
