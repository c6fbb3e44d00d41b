"""Connections to model servers: kept, bounded, given back, and never believed beyond what HTTP says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_resources import pool as pool_module
from llmops_resources.http1 import LARGEST_HEAD, BrokenConnection, Connection
from llmops_resources.pool import Pool, Unreachable, place_of

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
Behaviour = Callable[["Server", int, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """A server on a socket that does what it is told with each connection; what it saw."""

    does: Behaviour
    address: str = ""
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self.does(self, self.connections, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the other side left, or the test is over
        finally:
            writer.close()

    async def request(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        self.requests.append(head + await reader.readexactly(length))

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, raw: bytes) -> None:
        await self.request(reader)
        writer.write(raw)
        await writer.drain()


@asynccontextmanager
async def serving(does: Behaviour) -> AsyncIterator[tuple[Server, Pool]]:
    server = Server(does)
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    server.address = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1/a chat?x=1"
    pool = Pool(connect=2.0)
    try:
        yield server, pool
    finally:
        pool.close()
        listener.close()


def answers(*raw: bytes) -> Behaviour:
    """Each request of a connection gets the next answer; then the connection stays open."""

    async def does(server: Server, _number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in raw:
            await server.answer(reader, writer, answer)
        await reader.read()
        server.gone.set()

    return does


async def ask(pool: Pool, server: Server, body: bytes = b"{}", silence: float = 20.0) -> Connection:
    return await pool.ask("POST", server.address, (("X-Key", "k"),), body, silence=silence, total=60.0)


async def whole(pool: Pool, server: Server, silence: float = 20.0) -> tuple[int, bytes]:
    connection = await ask(pool, server, silence=silence)
    try:
        return connection.status, b"".join([chunk async for chunk in connection.chunks()])
    finally:
        pool.give_back(connection)


def test_one_connection_carries_one_call_after_another() -> None:
    async def scenario() -> None:
        async with serving(answers(OK, OK, OK)) as (server, pool):
            assert [await whole(pool, server) for _ in range(3)] == [(200, b"{}")] * 3
            assert server.connections == 1
            first = server.requests[0]
            assert first.startswith(b"POST /v1/a%20chat?x=1 HTTP/1.1\r\nHost: 127.0.0.1:")
            assert b"\r\nX-Key: k\r\n" in first
            assert first.endswith(b"\r\n\r\n{}")

    asyncio.run(scenario())


def test_calls_at_once_have_a_connection_each() -> None:
    async def scenario() -> None:
        async with serving(answers(OK, OK)) as (server, pool):
            assert await asyncio.gather(*(whole(pool, server) for _ in range(8))) == [(200, b"{}")] * 8
            assert server.connections == 8

    asyncio.run(scenario())


def test_a_connection_that_was_closed_while_idle_is_replaced_and_the_call_is_made_once() -> None:
    async def does(server: Server, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.answer(reader, writer, OK)
        if number == 1:
            await reader.readexactly(1)  # the next request arrives, and is not looked at any more

    async def scenario() -> None:
        async with serving(does) as (server, pool):
            assert await whole(pool, server) == (200, b"{}")
            assert await whole(pool, server) == (200, b"{}")
            assert (server.connections, len(server.requests)) == (2, 2)

    asyncio.run(scenario())


def test_a_new_connection_that_is_closed_without_an_answer_is_not_asked_again() -> None:
    async def does(server: Server, _number: int, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await server.request(reader)

    async def scenario() -> None:
        async with serving(does) as (server, pool):
            with pytest.raises(BrokenConnection):
                await whole(pool, server)
            assert len(server.requests) == 1

    asyncio.run(scenario())


def test_a_call_with_little_patience_is_over_in_time_after_one_with_much() -> None:
    async def does(server: Server, _number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.request(reader)
        await asyncio.sleep(0.05)  # so that the first call waits, with its own patience
        writer.write(OK)
        await server.request(reader)
        await reader.read()

    async def scenario() -> None:
        async with serving(does) as (server, pool):
            assert await whole(pool, server, silence=600.0) == (200, b"{}")
            async with asyncio.timeout(30):
                with pytest.raises(TimeoutError, match="silent"):
                    await whole(pool, server, silence=0.1)
            assert server.connections == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(("raw", "body"), [
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\nEnd: t\r\n\r\n", b"abcd"),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, b"{}"),
    (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
])  # fmt: skip
def test_an_answer_ends_where_http_says_and_the_connection_is_kept(raw: bytes, body: bytes) -> None:
    async def scenario() -> None:
        async with serving(answers(raw, raw)) as (server, pool):
            assert (await whole(pool, server))[1] == body
            assert (await whole(pool, server))[1] == body
            assert server.connections == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("raw", [
    b"HTTP/1.1 200 OK\r\n\r\nabc",
    b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc" + OK,
])  # fmt: skip
def test_a_connection_whose_state_is_not_certain_is_not_used_again(raw: bytes) -> None:
    async def does(server: Server, _number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.answer(reader, writer, raw)
        if b"Content-Length" in raw:
            await reader.read()

    async def scenario() -> None:
        async with serving(does) as (server, pool):
            assert await whole(pool, server) == (200, b"abc")
            assert await whole(pool, server) == (200, b"abc")
            assert (server.connections, len(server.requests)) == (2, 2)

    asyncio.run(scenario())


def test_what_a_server_says_without_being_asked_answers_nothing() -> None:
    async def does(server: Server, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.answer(reader, writer, OK)
        if number == 1:
            await asyncio.sleep(0.05)
            writer.write(OK.replace(b"{}", b"NO"))
        await reader.read()

    async def scenario() -> None:
        async with serving(does) as (server, pool):
            assert await whole(pool, server) == (200, b"{}")
            await asyncio.sleep(0.2)
            assert await whole(pool, server) == (200, b"{}")
            assert server.connections == 2

    asyncio.run(scenario())


@pytest.mark.parametrize("raw", [
    b"SSH-2.0-OpenSSH_9\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"a" * 2 * LARGEST_HEAD,
    b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
])  # fmt: skip
def test_what_is_not_a_whole_answer_is_a_broken_connection(raw: bytes) -> None:
    async def does(server: Server, _number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.answer(reader, writer, raw)

    async def scenario() -> None:
        async with serving(does) as (server, pool):
            with pytest.raises(BrokenConnection):
                await whole(pool, server)
            assert len(server.requests) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("raw", [b"", OK[:20], OK[:-1]])
def test_a_server_that_falls_silent_is_late_and_is_let_go(raw: bytes) -> None:
    async def scenario() -> None:
        async with serving(answers(raw)) as (server, pool):
            with pytest.raises(TimeoutError):
                await whole(pool, server, silence=0.1)
            await asyncio.wait_for(server.gone.wait(), 10)

    asyncio.run(scenario())


def test_leaving_before_the_end_closes_the_connection() -> None:
    async def scenario() -> None:
        endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        async with serving(answers(endless)) as (server, pool):
            connection = await ask(pool, server)
            assert await anext(connection.chunks()) == b"abc"
            pool.give_back(connection)
            await asyncio.wait_for(server.gone.wait(), 10)

    asyncio.run(scenario())


def test_a_call_that_is_cancelled_while_it_waits_closes_its_connection_and_frees_its_place() -> None:
    async def scenario() -> None:
        async with serving(answers(b"")) as (server, pool):
            call = asyncio.create_task(ask(pool, server))
            while not server.requests:
                await asyncio.sleep(0.01)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            await asyncio.wait_for(server.gone.wait(), 10)

    asyncio.run(scenario())


def test_a_reader_that_is_slow_holds_the_server_back() -> None:
    sent = 0

    async def does(server: Server, _number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await server.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % 2**28)
        for _ in range(2**12):
            writer.write(b"x" * 2**16)
            await writer.drain()
            sent += 2**16

    async def scenario() -> None:
        async with serving(does) as (server, pool):
            connection = await ask(pool, server)
            await asyncio.sleep(0.3)
            assert sent < 2**26  # what sockets hold, and a quarter of a megabyte here
            size = 0
            async for chunk in connection.chunks():
                size += len(chunk)
            assert size == 2**28
            pool.give_back(connection)

    asyncio.run(scenario())


def test_an_address_where_nobody_listens_and_one_that_is_none() -> None:
    async def scenario() -> None:
        async with serving(answers(OK)) as (server, pool):
            assert await whole(pool, server) == (200, b"{}")
        pool = Pool(connect=2.0)
        with pytest.raises(Unreachable):
            await ask(pool, server)
        for wrong in ("ftp://x/", "nowhere", "http://"):
            with pytest.raises(ValueError, match="no http address"):
                await pool.ask("GET", wrong, (), b"", silence=1, total=1)
        with pytest.raises(ValueError, match="line break"):
            await pool.ask("GET", server.address, (("X", "a\r\nY: b"),), b"", silence=1, total=1)

    asyncio.run(scenario())


def test_an_address_is_spelled_for_the_wire() -> None:
    place = place_of("https://[::1]:8443/a b?c=ü")
    assert place.server == ("::1", 8443, True)
    assert (place.named, place.target) == ("[::1]:8443", "/a%20b?c=%C3%BC")
    assert place_of("http://model-a.llm-ops-dev.svc/v1").named == "model-a.llm-ops-dev.svc"


class Wire(asyncio.Transport):
    """Where bytes go that nobody reads."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert data

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        return

    def resume_reading(self) -> None:
        return


@settings(deadline=None, max_examples=60)
@given(
    body=st.binary(max_size=300), chunked=st.booleans(),
    cuts=st.lists(st.integers(min_value=0, max_value=420), max_size=12),
)  # fmt: skip
def test_wherever_the_network_cuts_an_answer_it_is_the_same(body: bytes, chunked: bool, cuts: list[int]) -> None:
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(body[i : i + 7]), body[i : i + 7]) for i in range(0, len(body), 7))
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
    raw = b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n" + (pieces + b"0\r\n\r\n" if chunked else body)

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        connection = Connection(loop, ("127.0.0.1", 1, False))
        connection.connection_made(Wire())
        asked = asyncio.create_task(connection.ask(b"x", 20.0, loop.time() + 20))
        await asyncio.sleep(0)
        edges = sorted({0, *(cut for cut in cuts if cut < len(raw)), len(raw)})
        for start, end in pairwise(edges):
            connection.data_received(raw[start:end])
            await asyncio.sleep(0)
        await asked
        assert b"".join([chunk async for chunk in connection.chunks()]) == body
        assert connection.status == 200
        assert connection.can_be_kept()

    asyncio.run(scenario())


def test_at_most_so_many_calls_are_under_way_and_those_who_wait_come_in_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool_module, "MOST", 2)
    busiest = 0

    async def does(server: Server, _number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal busiest
        while True:
            await server.request(reader)
            busiest = max(busiest, len(server.requests) - answered)
            await asyncio.sleep(0.01)
            writer.write(OK)

    answered, order = 0, list[int]()

    async def call(pool: Pool, server: Server, number: int) -> None:
        nonlocal answered
        assert await whole(pool, server) == (200, b"{}")
        answered += 1
        order.append(number)

    async def scenario() -> None:
        async with serving(does) as (server, pool):
            await asyncio.gather(*(call(pool, server, number) for number in range(8)))
            assert server.connections == 2

    asyncio.run(scenario())

    assert busiest == 2
    assert [number // 2 for number in order] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_whoever_gives_up_waiting_leaves_their_turn_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "MOST", 1)

    async def scenario() -> None:
        async with serving(answers(OK, OK, OK)) as (server, pool):
            first = await ask(pool, server)
            with pytest.raises(TimeoutError):
                await pool.ask("POST", server.address, (), b"{}", silence=20.0, total=0.05)
            given_up, waits = (asyncio.create_task(whole(pool, server)) for _ in range(2))
            await asyncio.sleep(0)
            pool.give_back(first)  # the turn is given to the first of the two, who is cancelled before it takes it
            given_up.cancel()
            assert await asyncio.wait_for(waits, 5) == (200, b"{}")
            assert await whole(pool, server) == (200, b"{}")

    asyncio.run(scenario())
