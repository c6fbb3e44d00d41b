"""What the other side may answer: redirects, floods, bombs and silence, none of which does harm."""

import asyncio
import gzip
import time
from collections.abc import Callable, Iterator

import pytest
from aiohttp import web

from llmops_resources import outbound
from llmops_resources.errors import PlatformError, Unavailable, UpstreamFailed, UpstreamTimeout
from llmops_resources.outbound import Reply
from tests.gateway.conftest import running_aiohttp

MIB = 1024**2


class Hostile:
    """A server whose path says how it misbehaves."""

    def __init__(self) -> None:
        self.port = 0
        self.sent = 0
        self.paths: list[str] = []
        self.headers: dict[str, str] = {}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path)
        self.headers = dict(request.headers)
        behave: dict[str, Callable[[web.Request], object]] = {
            "/flood": self._flood, "/endless": self._endless, "/slow": self._slow, "/cut": self._cut,
        }  # fmt: skip
        if (act := behave.get(request.path)) is not None:
            return await act(request)  # type: ignore[misc]
        if request.path == "/bomb":
            return web.Response(body=gzip.compress(b"0" * 64 * MIB), headers={"Content-Encoding": "gzip"})
        if request.path == "/cookie":
            return web.Response(headers={"Set-Cookie": "a=b"})
        if request.path.startswith("/moved"):
            return web.Response(status=int(request.query["status"]), headers={"Location": request.query["to"]})
        return web.Response(status=418, text="no")

    async def _flood(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(10 * 1024**3)})
        await response.prepare(request)
        while self.sent < 10 * 1024**3:
            await response.write(b"0" * MIB)
            self.sent += MIB
        return response

    async def _endless(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b".")
            await asyncio.sleep(0.01)

    async def _slow(self, _request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    async def _cut(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    server = Hostile()

    def application() -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", server.answer)
        return app

    with running_aiohttp(application) as server.port:
        yield server


def ask(server: Hostile, path: str, seconds: float = 30) -> Reply:
    host = f"127.0.0.1:{server.port}"
    return outbound.get(f"http://{host}{path}", allowed_hosts=(host,), seconds=seconds)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("to", ["file:///etc/passwd", "http://169.254.169.254/", "/elsewhere"])
def test_no_redirect_is_followed_wherever_it_leads(hostile: Hostile, status: int, to: str) -> None:
    with pytest.raises(UpstreamFailed, match="redirect"):
        ask(hostile, f"/moved?status={status}&to={to}")
    assert hostile.paths == ["/moved"]


def test_ten_gigabytes_are_cut_off_after_the_first(hostile: Hostile) -> None:
    with pytest.raises(UpstreamFailed, match="larger than"):
        ask(hostile, "/flood")
    assert hostile.sent < 64 * MIB


@pytest.mark.parametrize("path", ["/endless", "/slow"])
def test_an_answer_that_never_ends_ends_at_the_time_bound(hostile: Hostile, path: str) -> None:
    started = time.monotonic()
    with pytest.raises(UpstreamTimeout):
        ask(hostile, path, seconds=0.5)
    assert time.monotonic() - started < 10  # of 0.5


def test_a_compressed_answer_is_refused_unread(hostile: Hostile) -> None:
    with pytest.raises(UpstreamFailed, match="compressed"):
        ask(hostile, "/bomb")
    assert hostile.headers["Accept-Encoding"] == "identity"


def test_a_broken_connection_is_the_other_sides_fault(hostile: Hostile) -> None:
    with pytest.raises(UpstreamFailed, match="broke off"):
        ask(hostile, "/cut")


def test_a_port_nobody_listens_on_cannot_be_reached() -> None:
    with pytest.raises(Unavailable):
        outbound.get("http://127.0.0.1:9/", allowed_hosts=("127.0.0.1",), seconds=2)


def test_an_error_status_is_an_answer_and_nothing_is_remembered(hostile: Hostile) -> None:
    ask(hostile, "/cookie")
    reply = ask(hostile, "/")
    assert (reply.status, reply.body) == (418, b"no")
    assert "Cookie" not in hostile.headers


def test_an_error_says_nothing_of_what_was_sent_or_answered(hostile: Hostile) -> None:
    host = f"127.0.0.1:{hostile.port}"
    for path in ("/flood", "/cut", "/bomb", "/moved?status=302&to=http://leak.example/sk-secret"):
        with pytest.raises(PlatformError) as failed:
            outbound.post_json(
                f"http://{host}{path}", {"text": "sk-secret"}, allowed_hosts=(host,),
                headers={"Authorization": "Bearer sk-secret"},
            )  # fmt: skip
        assert "sk-secret" not in repr(failed.value) + failed.value.remedy
        assert failed.value.__cause__ is None
