"""A real model server that speaks OpenAI, and the real gateway in front of it, each under its own event loop."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import uvicorn
from aiohttp import web
from starlette.types import ASGIApp

from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.inference import Patience
from llmops_resources.platform import Platform
from llmops_resources.serving import endpoints
from llmops_resources.serving.endpoints import Endpoint, EndpointStatus, Environment, Observation
from serving_api.chat.app import ChatGateway
from serving_api.dagster_proxy import DagsterProxy
from serving_api.local_guard import LocalGuard
from tests import factories

ROUTE = "support"


@dataclass
class ModelServer:
    """Answers "hello world"; `mood` makes it misbehave; `seen` holds the bodies it got."""

    url: str = ""
    mood: str = "well"
    says: str = ""
    seen: list[dict[str, Any]] = field(default_factory=list)
    freed: threading.Event = field(default_factory=threading.Event)
    asked: threading.Event = field(default_factory=threading.Event)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.seen.append(body)
        self.asked.set()
        if self.mood == "busy forever":
            try:
                await asyncio.sleep(60)
            finally:
                self.freed.set()
        if self.mood.startswith("not ready"):
            self.mood = "well" if self.mood == "not ready once" else self.mood
            return web.Response(status=503)
        if body.get("stream"):
            return await self._stream(request, body)
        return self._whole(body, completion="prompt" in body)

    def _whole(self, body: dict[str, Any], *, completion: bool) -> web.StreamResponse:
        if self.mood == "garbage":
            return web.Response(body=b"<html>no</html>")
        if self.mood == "refuses":
            problem = {"message": "context_length_exceeded: 9 > 8", "key": "sk-secret"}
            return web.json_response({"error": problem}, status=400)
        if self.mood == "wants another key":
            return web.Response(status=401)
        if self.mood == "broken":
            return web.Response(status=500, text="secret stack trace")
        if self.mood == "redirects":
            return web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"})
        said = self.says or "hello world"
        text = {"text": said} if completion else {"message": {"role": "assistant", "content": said}}
        answer = {
            "id": "cmpl-1", "object": "chat.completion", "created": 1, "model": body["model"],
            "choices": [{"index": 0, "finish_reason": "stop", **text}],
        }  # fmt: skip
        counted = (0, 0) if self.mood == "counts nothing" else (7, 2)
        if self.mood != "silent about usage":
            answer["usage"] = {
                "prompt_tokens": counted[0], "completion_tokens": counted[1], "total_tokens": sum(counted),
            }  # fmt: skip
        return web.json_response(answer)

    async def _stream(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        if self.mood == "broken":
            return web.Response(status=500)
        await response.prepare(request)

        async def send(**fields: Any) -> None:
            chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": body["model"], **fields}
            await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")

        def piece(text: str) -> dict[str, Any]:
            content = {"text": text} if "prompt" in body else {"delta": {"content": text}}
            return {"index": 0, "finish_reason": None, **content}

        await response.write(b": a comment\n\n")
        for word in list(self.says) or ("hello", " world"):  # every character a chunk of its own
            await send(choices=[piece(word)])
        if self.mood != "well":
            return await self._misbehave(request, response, lambda: send(choices=[piece("!")]))
        end = {"text": ""} if "prompt" in body else {"delta": {}}
        await send(choices=[{"index": 0, "finish_reason": "stop", **end}])
        if (body.get("stream_options") or {}).get("include_usage"):
            await send(choices=[], usage={"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9})
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _misbehave(
        self, request: web.Request, response: web.StreamResponse, more: Callable[[], Awaitable[None]]
    ) -> web.StreamResponse:
        if self.mood == "dies":
            assert request.transport is not None
            request.transport.abort()
        if self.mood == "babbles":
            await response.write(b"data: {not json\n\n")
        try:
            while self.mood == "talks forever":
                await more()
                await asyncio.sleep(0.01)
        finally:
            self.freed.set()
        return response


@pytest.fixture
def model_server() -> Iterator[ModelServer]:
    server = ModelServer()

    async def health(_request: web.Request) -> web.Response:
        return web.Response(text="ok")

    def application() -> web.Application:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", server.answer)
        app.router.add_post("/v1/completions", server.answer)
        app.router.add_get("/health", health)
        return app

    with running_aiohttp(application) as port:
        server.url = f"http://127.0.0.1:{port}"
        yield server


@contextmanager
def running_aiohttp(application: Callable[[], web.Application], port: int = 0) -> Iterator[int]:
    """An aiohttp application in a thread, at a port or at any that is free; yields its port."""
    loop, ready, ports = asyncio.new_event_loop(), threading.Event(), []
    over = asyncio.Event()

    async def serve() -> None:
        runner = web.AppRunner(application(), handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        ports.append(runner.addresses[0][1])
        ready.set()
        await over.wait()
        await runner.cleanup()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(serve())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(30)


@contextmanager
def running_asgi(app: ASGIApp) -> Iterator[str]:
    """An ASGI app under uvicorn as in production; yields its address."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, loop="uvloop", http="httptools", lifespan="on", log_config=None, access_log=False,
        timeout_graceful_shutdown=2,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


class Outside:
    """The gateway and the proxy as the API composes them, without FastAPI behind."""

    def __init__(self, platform: Platform) -> None:
        self.gateway = ChatGateway(platform, patience=Patience(connect=0.5, silence=1.0, answer=5.0))
        self.dagster = DagsterProxy(platform)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif self.gateway.owns(scope["path"]):
            await self.gateway(scope, receive, send)
        else:
            await self.dagster(scope, receive, send)

    async def _lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        await self.gateway.start()
        await self.dagster.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.dagster.stop()
        await self.gateway.stop()
        await send({"type": "lifespan.shutdown.complete"})


@pytest.fixture
def endpoint(platform: Platform, model_server: ModelServer) -> Endpoint:
    """A healthy endpoint of an approved model, served by the model server."""
    return deployed(platform, model_server.url)


@pytest.fixture
def gateway(platform: Platform, endpoint: Endpoint) -> Iterator[str]:
    """The address of a running gateway."""
    with running_asgi(LocalGuard(Outside(platform), platform.settings)) as address:
        yield address


@pytest.fixture
def client(gateway: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway, timeout=10, verify=not gateway.startswith("http://")) as client:
        yield client


def deployed(
    platform: Platform, base_url: str, *, route: str = ROUTE, environment: Environment = Environment.DEV
) -> Endpoint:
    """An approved model deployed to a route and observed as healthy."""
    model = factories.approved(
        platform, Kind.MODEL, f"m-{route}", version=environment, files={"model.safetensors": b"weights"}
    )
    with platform.transaction(factories.ADMIN) as tx:
        endpoint = endpoints.deploy(
            tx, model_id=model.id, environment=environment, backend="local", route=route, rollback_plan="undo"
        )
    observe(platform, endpoint, base_url=base_url)
    return endpoint


def observe(
    platform: Platform, endpoint: Endpoint, status: EndpointStatus = EndpointStatus.HEALTHY, **facts: Any
) -> None:
    """Write down that the backend saw this."""
    with platform.transaction(factories.ADMIN) as tx:
        seen = Observation(
            endpoint_id=endpoint.id, revision=endpoint.revision, status=status, **{"ready": 1, "total": 1, **facts}
        )
        endpoints.observe(tx, seen)


def eventually(check: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until the check holds."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
