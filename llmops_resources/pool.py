"""Kept connections to model servers: a request takes one that is idle, or opens one, and leaves it for the next."""

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

from yarl import URL

from llmops_resources.http1 import Connection, NothingCame, Server

MOST: Final = 512  # connections in use at once; who comes later waits
#: Below the five seconds after which uvicorn closes an idle connection, so that we never write into a closed one.
_KEPT: Final = 4.0  # seconds
Headers = tuple[tuple[str, str], ...]


class Unreachable(ConnectionError):
    """Nobody listens there, or the name leads nowhere."""


@dataclass(frozen=True)
class Place:
    """Where an address leads: whom to connect to, and what to ask for there."""

    server: Server
    named: str
    target: str


def place_of(address: str) -> Place:
    """Raises ValueError when it is no http address."""
    url = URL(address)
    if url.scheme not in {"http", "https"} or not url.raw_host or not url.port:
        raise ValueError(f"{address!r} is no http address")
    server = url.raw_host, url.port, url.scheme == "https"
    return Place(server, url.host_port_subcomponent or "", url.raw_path_qs)


class Pool:
    """Of one event loop. Times are in seconds; `connect` bounds the opening of a connection."""

    def __init__(self, connect: float) -> None:
        self._connect = connect
        self._loop = asyncio.get_running_loop()
        self._idle: dict[Server, deque[Connection]] = {}
        self._taken = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._sweeper: asyncio.TimerHandle | None = None

    async def ask(
        self, method: str, address: str, headers: Headers, body: bytes, *, silence: float, total: float
    ) -> Connection:
        """Send a request; the head of the answer has come. Give the connection back.

        Raises Unreachable, BrokenConnection, TimeoutError, and ValueError for what cannot be sent.
        """
        place, head = _prepared(method, address, headers)
        until = self._loop.time() + total
        if self._taken < MOST:
            self._taken += 1
        else:
            await self._turn(until)
        connection: Connection | None = None
        try:
            connection = self._kept(place.server) or await self._opened(place)
            while True:
                try:
                    await connection.ask(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body), silence, until)
                except NothingCame:
                    if connection.used == 1:
                        raise
                    connection = await self._opened(place)  # the server had closed it already: nothing was answered
                else:
                    return connection
        except BaseException:
            if connection:
                connection.abort()
            self._leave()
            raise

    def give_back(self, connection: Connection) -> None:
        """Keep the connection if its answer was read to the end; otherwise the server is told to stop."""
        self._leave()
        connection.asked = False
        if not connection.can_be_kept():
            connection.abort()
            return
        connection.expires = self._loop.time() + _KEPT
        idle = self._idle.get(connection.server)
        if idle is None:
            idle = self._idle[connection.server] = deque()
        idle.append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(_KEPT, self._sweep)

    def close(self) -> None:
        """End every connection that is idle."""
        if self._sweeper:
            self._sweeper.cancel()
        for idle in self._idle.values():
            for connection in idle:
                connection.abort()
        self._idle.clear()

    async def _turn(self, until: float) -> None:
        """Wait until one of the MOST is free, in the order of coming. Raises TimeoutError."""
        turn: asyncio.Future[None] = self._loop.create_future()
        self._queue.append(turn)
        try:
            async with asyncio.timeout_at(until):
                await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._leave()  # it was given to somebody who has just gone
            raise

    def _leave(self) -> None:
        """Let the next one have its turn."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                return turn.set_result(None)
        self._taken -= 1
        return None

    def _kept(self, server: Server) -> Connection | None:
        idle, now = self._idle.get(server), self._loop.time()
        while idle:
            connection = idle.pop()
            if not connection.is_closed() and connection.expires > now:
                return connection
            connection.abort()
        return None

    async def _opened(self, place: Place) -> Connection:
        host, port, tls = place.server
        try:
            async with asyncio.timeout(self._connect):
                _transport, connection = await self._loop.create_connection(
                    lambda: Connection(self._loop, place.server), host, port, ssl=_trust() if tls else None
                )
        except TimeoutError:
            raise
        except OSError as error:
            raise Unreachable(f"{place.named} cannot be reached: {error}") from error
        return connection

    def _sweep(self) -> None:
        """Close what has been idle for too long, and forget servers that nobody asks any more."""
        self._sweeper, now = None, self._loop.time()
        for server, idle in list(self._idle.items()):
            while idle and (idle[0].is_closed() or idle[0].expires <= now):
                idle.popleft().abort()
            if not idle:
                del self._idle[server]
        if self._idle:
            self._sweeper = self._loop.call_later(_KEPT, self._sweep)


@cache
def _trust() -> ssl.SSLContext:
    """What the machine trusts; reading it takes milliseconds."""
    return ssl.create_default_context()


@lru_cache(maxsize=1024)
def _prepared(method: str, address: str, headers: Headers) -> tuple[Place, bytes]:
    """Where a request goes, and its head but for the length. Raises ValueError as `place_of` and for a line break."""
    place, lines = place_of(address), [f"{name}: {value}" for name, value in headers]
    if any(mark in line for line in lines for mark in "\r\n\0"):
        raise ValueError("a header holds a line break")
    return place, "\r\n".join((f"{method} {place.target} HTTP/1.1", f"Host: {place.named}", *lines, "")).encode()
