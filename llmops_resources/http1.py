"""HTTP/1.1 to model servers (RFC 9112), in as few steps as it takes: kept connections, one request at a time on each.

The parser is httptools' (llhttp). A general client does a dozen times this work for each call, which a gateway feels:
see `benchmarks/gateway.py`. Not for strangers: no redirects, no proxies, no cookies, no decompression, no address
check; what leaves the machine goes through `outbound.py`.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final

import httptools

LARGEST_HEAD: Final = 65_536  # bytes
_EARLY: Final = 0.005  # seconds by which a timer may come before its time
_READ_AHEAD: Final = 262_144  # bytes that wait for the reader before the server has to
Server = tuple[str, int, bool]  # host, port, TLS


class BrokenConnection(ConnectionError):
    """The server closed in the middle, or what it sent is not HTTP."""


class NothingCame(BrokenConnection):
    """The connection was closed before the first byte of an answer."""


class Connection(asyncio.Protocol):
    """One connection, which carries one request after another; `ask`, read the `chunks`, and ask again."""

    def __init__(self, loop: asyncio.AbstractEventLoop, server: Server) -> None:
        self._loop = loop
        self.server = server
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._failure: Exception | None = None
        self._parser: Any = httptools.HttpResponseParser(self)
        self.asked = self.finished = False
        self.used = 0  # how many requests it has carried
        self.expires = 0.0

    # -- for whoever asks -------------------------------------------------------------------------------------------

    async def ask(self, request: bytes, silence: float, until: float) -> None:
        """Send a request and wait for the head of its answer.

        Raises BrokenConnection, and TimeoutError after `silence` seconds without a byte or when the loop's clock is at
        `until`; so does `chunks`.
        """
        self.status = self._waiting = self._head = 0
        self.headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []
        self._paused = False
        self._opened = self._interim = self._keeps = False
        self._silence, self._until = silence, until
        self.asked, self.finished = True, False
        self.used += 1
        if self._transport is None or self._transport.is_closing():
            raise NothingCame("the server has closed the connection")
        self._transport.write(request)
        while not self._opened:
            if self._failure:
                raise self._failure
            await self._more()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes."""
        while True:
            if self._parts:
                chunk = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
                self._parts.clear()
                self._waiting = 0
                if self._paused and self._transport:
                    self._paused = False
                    self._transport.resume_reading()
                yield chunk
            elif self.finished:
                return
            elif self._failure:
                raise self._failure
            else:
                await self._more()

    def whole(self) -> bytes | None:
        """The body, if all of it is here; None when it has yet to be waited for."""
        if not self.finished or self._paused:
            return None
        parts, self._parts = self._parts, []
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def can_be_kept(self) -> bool:
        """Whether the answer was read to its end and the server lets another request follow."""
        return self.finished and self._keeps and not self._parts and not self.is_closed()

    def is_closed(self) -> bool:
        """Whether it has ended, or is about to."""
        return self._transport is None or self._transport.is_closing()

    def abort(self) -> None:
        """End it at once, so that the server stops its work."""
        if self._transport:
            self._transport.abort()

    def _more(self) -> "asyncio.Future[None]":
        """What is done when something has come, and fails with TimeoutError when nothing does."""
        due = self._loop.time() + self._silence
        self._due = due = min(self._until, due)
        if self._timer is None or due < self._timer.when():
            self._set_timer()
        self._waiter = self._loop.create_future()
        return self._waiter

    def _set_timer(self) -> None:
        """One timer for wait after wait, which looks whether it came too early: few ever run out."""
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._due, self._late)

    def _late(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() < self._due - _EARLY:
            self._set_timer()
        else:
            self._waiter.set_exception(TimeoutError("the server was silent for too long"))

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():  # whoever waited may have been cancelled
            waiter.set_result(None)

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        self.abort()
        self._wake()

    # -- for the event loop -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "abort")  # noqa: S101  uvloop's own
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Something came."""
        if not self.asked or self.finished:
            return self.abort()  # nobody has asked: whatever this answers, it is not the next request
        self._head += 0 if self._opened else len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            return self._fail(BrokenConnection(f"the answer is not HTTP: {error!r:.200}"))
        if not self._opened and self._head > LARGEST_HEAD:
            return self._fail(BrokenConnection(f"the head of the answer is larger than {LARGEST_HEAD} bytes"))
        if self._waiting > _READ_AHEAD and not self._paused and self._transport and not self.finished:
            self._paused = True
            self._transport.pause_reading()
        return self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended; an answer without a length ends with it."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self.asked and not self.finished:
            framed = b"content-length" in self.headers or b"transfer-encoding" in self.headers
            if self._opened and not framed and exc is None and self._failure is None:
                self.finished = True
            else:
                kind = BrokenConnection if self._head else NothingCame
                self._failure = self._failure or kind("the server closed the connection")
        self._wake()

    # -- for the parser ---------------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header of the answer, or of the trailer, which nobody reads."""
        if not self._opened:
            self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """The head is there; 1xx is not the answer yet (RFC 9110, section 15.2)."""
        status = self._parser.get_status_code()
        self._interim = status < 200
        if self._interim:
            self.headers.clear()
        elif not self.finished:
            self.status, self._opened = status, True

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if not self.finished:
            self._parts.append(body)
            self._waiting += len(body)

    def on_message_begin(self) -> None:
        """An answer begins; a second one was not asked for."""
        if self.finished:
            self._keeps = False

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if not self._interim and not self.finished:
            self.finished = True
            self._keeps = self._parser.should_keep_alive()
