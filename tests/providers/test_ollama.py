"""An upstream that says what Ollama says where it differs from OpenAI: behind the gateway nobody sees it.

Its shapes: a fingerprint `fp_ollama`, the assistant's role in every chunk, `reasoning` beside the content, a list of
models that is null when there are none, errors without a code, and 404 for a model that was not pulled.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import openai
import pytest
from aiohttp import web

from tests import factories
from tests.api.conftest import api as api  # noqa: PLC0414  a fixture
from tests.gateway.conftest import eventually, running_aiohttp
from tests.providers.test_over_http import agent as agent  # noqa: PLC0414  a fixture
from tests.providers.test_over_http import approved, becomes, deployed, registered

HELLO: Any = [{"role": "user", "content": "hi"}]
WORDS = ("Hel", "lo ", "안녕")
USAGE = {"prompt_tokens": 26, "completion_tokens": 4, "total_tokens": 30}


@dataclass
class Ollama:
    """Has pulled `models`; `seen` holds the bodies of the chats."""

    port: int = 0
    models: list[str] = field(default_factory=lambda: ["llama3.2:latest"])
    seen: list[dict[str, Any]] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def list(self, _request: web.Request) -> web.StreamResponse:
        found = [{"id": name, "object": "model", "created": 1, "owned_by": "library"} for name in self.models]
        return web.json_response({"object": "list", "data": found or None})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.seen.append(body)
        name = body["model"]
        if f"{name}:latest" not in self.models:
            told = f'model "{name}" not found, try pulling it first'
            error = {"message": told, "type": "not_found_error", "param": None, "code": None}
            return web.json_response({"error": error}, status=404)
        head = {"id": "chatcmpl-637", "created": 1764000000, "model": name, "system_fingerprint": "fp_ollama"}
        if not body.get("stream"):
            message = {"role": "assistant", "content": "".join(WORDS), "reasoning": "They greet."}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return web.json_response({**head, "object": "chat.completion", "choices": [choice], "usage": USAGE})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)

        async def send(**fields: Any) -> None:
            chunk = {**head, "object": "chat.completion.chunk", **fields}
            await response.write(b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n")

        def says(content: str, reason: str | None = None, **more: str) -> dict[str, Any]:
            delta = {"role": "assistant", "content": content, **more}
            return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

        await send(**says("", reasoning="They greet."))
        for word in WORDS:
            await send(**says(word))
        await send(**says("", "stop"))
        if (body.get("stream_options") or {}).get("include_usage"):
            await send(choices=[], usage=USAGE)
        await response.write(b"data: [DONE]\n\n")
        return response


@pytest.fixture
def provider() -> Iterator[Ollama]:
    """The provider that the operator of this module's platforms allows."""
    ollama = Ollama()

    def application() -> web.Application:
        app = web.Application()
        app.router.add_get("/v1/models", ollama.list)
        app.router.add_post("/v1/chat/completions", ollama.chat)
        return app

    with running_aiohttp(application) as ollama.port:
        yield ollama


@pytest.fixture
def served(api: httpx.Client, provider: Ollama, agent: None) -> dict[str, Any]:
    """An endpoint of `llama3.2` at the route `llama`."""
    _ = agent
    return _served(api, f"http://{provider.host}")


def _served(api: httpx.Client, address: str) -> dict[str, Any]:
    config = {"provider": "ollama", "endpoint": address, "modelName": "llama3.2"}
    entry = {"name": "llama", "version": "1", "type": "external", "ownerTeam": "research", "metadata": factories.CARD}
    model = registered(api, {**entry, "provider": config})
    approved(api, model)
    endpoint = becomes(api, deployed(api, model, "llama"), "healthy")
    eventually(lambda: api.get("/serve/llama/health").status_code == 200)
    return endpoint


def test_an_ollama_answers_on_the_platforms_route_whole_and_streamed(
    api: httpx.Client, provider: Ollama, served: dict[str, Any]
) -> None:
    assert served["statusDetail"] == ""
    whole = api.post("/serve/llama/chat", json={"messages": HELLO, "max_tokens": 9, "temperature": 0.5}).json()["data"]
    assert whole["choices"][0]["message"]["content"] == "Hello 안녕"
    assert (whole["model"], whole["usage"]) == ("llama", USAGE)
    asked = provider.seen[-1]
    assert (asked["model"], asked["max_tokens"], asked["temperature"]) == ("llama3.2", 9, 0.5)

    streamed = api.post("/serve/llama/chat", json={"messages": HELLO, "stream": True}).text
    events = [json.loads(line[6:]) for line in streamed.splitlines() if line.startswith("data: {")]
    assert "".join(event["choices"][0]["delta"]["content"] for event in events if event["choices"]) == "Hello 안녕"
    assert {event["model"] for event in events} == {"llama"}
    assert events[-1]["usage"] == USAGE
    assert streamed.endswith("data: [DONE]\n\n")


def test_the_official_client_does_not_notice_that_an_ollama_answers(
    api: httpx.Client, served: dict[str, Any]
) -> None:
    root = str(api.base_url).removesuffix("/llm-ops/v1/")
    with openai.OpenAI(base_url=f"{root}/openai/v1", api_key="ollama", max_retries=0) as client:
        whole = client.chat.completions.create(model="llama", messages=HELLO)
        chunks = list(client.chat.completions.create(model="llama", messages=HELLO, stream=True))
        names = [model.id for model in client.models.list()]

    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == ("Hello 안녕", "stop")
    assert whole.model_dump()["choices"][0]["message"]["reasoning"] == "They greet."
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello 안녕"
    assert all(chunk.usage is None for chunk in chunks)
    assert names == ["llama"]


def test_a_model_that_was_not_pulled_is_told_by_the_endpoint_and_by_the_chat(
    api: httpx.Client, provider: Ollama, agent: None
) -> None:
    _ = agent
    provider.models.clear()
    endpoint = _served(api, f"http://{provider.host}/api")  # people also give the address of Ollama's own API
    assert endpoint["statusDetail"] == "the provider answers, but does not list this model"
    for stream in (False, True):
        refused = api.post("/serve/llama/chat", json={"messages": HELLO, "stream": stream})
        assert refused.status_code == 502
        assert "does not know the model" in refused.json()["message"]
        assert "pulling" not in refused.text
