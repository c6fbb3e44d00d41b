"""Kept connections to model servers: a request takes one that is idle, or opens one, and leaves it for the next."""

import asyncio
import ssl
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final, NamedTuple

from yarl import URL

from llmops_resources.http1 import Connection, NothingCame

MOST: Final = 512  # connections in use at once; who comes later waits
#: Below the five seconds after which uvicorn closes an idle connection, so that we never write into a closed one.
_KEPT: Final = 4.0  # seconds


class Unreachable(ConnectionError):
    """Nobody listens there, or the name leads nowhere."""


@dataclass(frozen=True)
class Place:
    """Where an address leads: whom to connect to (`server`: host, port, TLS), and what to ask for there."""

    server: tuple[str, int, bool]
    named: str
    target: str


@lru_cache(maxsize=1024)
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
        self._idle: dict[tuple[str, int, bool], deque[Connection]] = {}
        self._slots = asyncio.Semaphore(MOST)
        self._sweeper: asyncio.TimerHandle | None = None

    async def ask(
        self, method: str, address: str, headers: Mapping[str, str], body: bytes, *, silence: float, total: float
    ) -> "Taken":
        """Send a request; the head of the answer has come. Give what is returned back.

        Raises Unreachable, BrokenConnection, TimeoutError, and ValueError for what cannot be sent.
        """
        place, until = place_of(address), self._loop.time() + total
        request = _request(method, place, headers, body)
        if self._slots.locked():
            async with asyncio.timeout_at(until):
                await self._slots.acquire()
        else:
            await self._slots.acquire()
        try:
            connection = await self._asked(place, request, silence, until)
        except BaseException:
            self._slots.release()
            raise
        return Taken(place, connection)

    def give_back(self, taken: "Taken") -> None:
        """Keep the connection if its answer was read to the end; otherwise the server is told to stop."""
        self._slots.release()
        connection = taken.connection
        connection.asked = False
        if not connection.can_be_kept():
            connection.abort()
            return
        connection.expires = self._loop.time() + _KEPT
        self._idle.setdefault(taken.place.server, deque()).append(connection)
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

    async def _asked(self, place: Place, request: bytes, silence: float, until: float) -> Connection:
        connection = self._kept(place) or await self._opened(place)
        while True:
            try:
                await connection.ask(request, silence, until)
            except NothingCame:
                if connection.used == 1:
                    raise
                connection = await self._opened(place)  # the server had closed it already: nothing was answered
            except BaseException:
                connection.abort()
                raise
            else:
                return connection

    def _kept(self, place: Place) -> Connection | None:
        idle, now = self._idle.get(place.server), self._loop.time()
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
                    lambda: Connection(self._loop), host, port, ssl=_trust() if tls else None
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


class Taken(NamedTuple):
    """A connection with an answer on it."""

    place: Place
    connection: Connection


@cache
def _trust() -> ssl.SSLContext:
    """What the machine trusts; reading it takes milliseconds."""
    return ssl.create_default_context()


def _request(method: str, place: Place, headers: Mapping[str, str], body: bytes) -> bytes:
    return b"%bContent-Length: %d\r\n\r\n%b" % (_head(method, place, tuple(headers.items())), len(body), body)


@lru_cache(maxsize=256)
def _head(method: str, place: Place, headers: tuple[tuple[str, str], ...]) -> bytes:
    lines = [f"{name}: {value}" for name, value in headers]
    if any(mark in line for line in lines for mark in "\r\n\0"):
        raise ValueError("a header holds a line break")
    return "\r\n".join((f"{method} {place.target} HTTP/1.1", f"Host: {place.named}", *lines, "")).encode()
