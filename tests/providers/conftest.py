"""A provider that speaks OpenAI's and Ollama's protocol, over real HTTP; `mood` makes it misbehave."""

import asyncio
import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from llmops_resources.platform import Platform, open_platform
from llmops_resources.settings import Settings
from tests.gateway.conftest import running_aiohttp

_BOMB = gzip.compress(b"0" * 2**24)
KEY = "sk-very-secret-0123456789abcdWXYZ"


@dataclass
class FakeProvider:
    """Knows the models `gpt-tiny` and `llama:latest`; `seen` holds path, headers and body of each call."""

    port: int = 0
    mood: str = "well"
    key: str | None = KEY
    seen: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    freed: threading.Event = field(default_factory=threading.Event)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    async def models(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.path, dict(request.headers), None))
        if (misbehaved := await self._misbehave(request)) is not None:
            return misbehaved
        data = [{"id": name, "object": "model"} for name in ("gpt-tiny", "llama:latest")]
        return web.json_response({"object": "list", "data": data})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.seen.append((request.path, dict(request.headers), body))
        if (misbehaved := await self._misbehave(request)) is not None:
            return misbehaved
        if body.get("stream"):
            return await self._stream(request)
        answer = {
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-tiny-2026-01-01",
            "system_fingerprint": "fp", "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
            "choices": [
                {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": self._words()}}
            ],
        }  # fmt: skip
        return web.json_response(answer)

    def _words(self) -> str:
        return f"your key is {KEY}" if self.mood == "repeats the key" else "hello from outside"

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)

        async def send(**fields: Any) -> None:
            chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-tiny-2026", **fields}
            await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")

        await send(choices=[{"index": 0, "delta": {"content": self._words()}, "finish_reason": None}])
        if self.mood == "invalid events":
            await response.write(b"data: {not json " + KEY.encode() + b"\n\n")
        if self.mood == "an error midway":
            await response.write(b'data: {"error": {"message": "account ' + KEY.encode() + b'"}}\n\n')
        try:
            while self.mood == "never ends":
                await send(choices=[{"index": 0, "delta": {"content": "x" * 65536}, "finish_reason": None}])
                await asyncio.sleep(0)
        finally:
            self.freed.set()
        await send(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
        await send(choices=[], usage={"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8})
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _misbehave(self, request: web.Request) -> web.StreamResponse | None:
        given = request.headers.get("Authorization", "none")
        if self.key is not None and given != f"Bearer {self.key}":
            return _problem(401, f"Incorrect API key provided: {given}", "invalid_api_key")
        if self.mood.startswith("status "):
            status = int(self.mood.removeprefix("status "))
            return _problem(status, f"organisation org-1 with {KEY}", "context_length_exceeded")
        if self.mood == "flood":
            return await self._flood(request)
        answers: dict[str, web.StreamResponse] = {
            "redirects": web.Response(status=302, headers={"Location": "file:///etc/passwd"}),
            "bomb": web.Response(body=_BOMB, headers={"Content-Encoding": "gzip"}),
            "garbage": web.Response(text=f"<html>{KEY}</html>"),
        }
        return answers.get(self.mood)

    async def _flood(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(10 * 1024**3)})
        await response.prepare(request)
        for _ in range(10 * 1024):
            await response.write(b"0" * 2**20)
        return response


def _problem(status: int, message: str, code: str) -> web.Response:
    return web.json_response({"error": {"message": message, "code": code}}, status=status, headers={"Retry-After": "7"})


@contextmanager
def running_provider(port: int = 0) -> Iterator[FakeProvider]:
    """A fake provider on loopback."""
    fake = FakeProvider()

    def application() -> web.Application:
        app = web.Application()
        app.router.add_get("/v1/models", fake.models)
        app.router.add_post("/v1/chat/completions", fake.chat)
        return app

    with running_aiohttp(application, port) as fake.port:
        yield fake


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with running_provider() as fake:
        yield fake


@pytest.fixture
def settings(settings: Settings, provider: FakeProvider) -> Settings:
    """A platform whose operator allows the fake provider, and nothing else inside."""
    return settings.model_copy(update={"outbound_allowed_hosts": (provider.host,)})


@pytest.fixture
def platform(settings: Settings) -> Iterator[Platform]:
    with open_platform(settings, application="test") as doors:
        yield doors
