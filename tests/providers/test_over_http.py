"""US1 #11 through HTTP: an external model is registered without files, approved, deployed and chatted with."""

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from llmops_assets.serving import local_agent
from llmops_resources.platform import Platform
from tests import factories
from tests.api.conftest import api as api  # noqa: PLC0414  a fixture
from tests.gateway.conftest import eventually
from tests.providers.conftest import KEY, FakeProvider

HELLO = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}


@pytest.fixture
def agent(platform: Platform) -> Iterator[None]:
    """The agent that looks after endpoints, in a thread."""
    stop = threading.Event()
    thread = threading.Thread(target=local_agent.run, args=(platform.settings, stop))
    thread.start()
    yield
    stop.set()
    thread.join()


def described(fake: FakeProvider, name: str = "gpt", **changes: Any) -> dict[str, Any]:
    config = {"provider": "openai", "endpoint": fake.url, "modelName": "gpt-tiny", "apiKey": KEY, **changes}
    return {
        "name": name, "version": "1", "type": "external", "ownerTeam": "research", "metadata": factories.CARD,
        "provider": config,
    }  # fmt: skip


def registered(api: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    answer = api.post("/catalog/models", json=body)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def approved(api: httpx.Client, model: dict[str, Any]) -> None:
    path = f"/catalog/models/{model['id']}"
    assert api.patch(f"{path}/status", json={"status": "under_review"}).status_code == 200
    decision = {"decision": "approve", "digest": model["digest"], "notes": "looked at"}
    answer = api.post(f"{path}/versions/{model['version']}/approve", json=decision)
    assert answer.status_code == 200, answer.text


def deployed(api: httpx.Client, model: dict[str, Any], route: str = "gpt") -> dict[str, Any]:
    answer = api.post("/serving/endpoints", json={"modelId": model["id"], "environment": "dev", "route": route})
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def becomes(api: httpx.Client, endpoint: dict[str, Any], status: str) -> dict[str, Any]:
    seen: dict[str, Any] = {}

    def look() -> bool:
        seen.update(api.get(f"/serving/endpoints/{endpoint['id']}").json()["data"])
        return bool(seen["status"] == status)

    eventually(look, 10)
    return seen


@pytest.fixture
def serving(api: httpx.Client, provider: FakeProvider, agent: None) -> dict[str, Any]:
    """A deployed external model, answering."""
    _ = agent
    model = registered(api, described(provider))
    approved(api, model)
    endpoint = becomes(api, deployed(api, model), "healthy")
    eventually(lambda: api.get("/serve/gpt/health").status_code == 200)
    return {"model": model, "endpoint": endpoint}


def test_an_external_model_is_registered_approved_deployed_and_answers(
    api: httpx.Client, provider: FakeProvider, serving: dict[str, Any]
) -> None:
    model, endpoint = serving["model"], serving["endpoint"]
    assert model["metadata"]["provider"] == {
        "provider": "openai", "endpoint": f"{provider.url}/v1", "modelName": "gpt-tiny", "organisation": None,
    }  # fmt: skip
    assert (model["files"], model["status"], model["digest"][:7]) == ([], "draft", "sha256:")
    assert (endpoint["backend"], endpoint["modelDigest"]) == ("external", model["digest"])

    answer = api.post("/serve/gpt/chat", json=HELLO)
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert (data["model"], data["choices"][0]["message"]["content"]) == ("gpt", "hello from outside")
    assert data["usage"] == {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}

    path, headers, body = provider.seen[-1]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert body == {
        "model": "gpt-tiny", "messages": HELLO["messages"], "max_completion_tokens": 9, "stream": False,
    }  # fmt: skip
    (record,) = _booked(api, 1)
    assert (record["promptTokens"], record["completionTokens"], record["estimated"]) == (5, 3, False)
    assert record["modelDigest"] == model["digest"]


def test_a_stream_and_the_openai_surface_carry_our_route_as_the_model(
    api: httpx.Client, serving: dict[str, Any]
) -> None:
    _ = serving
    streamed = api.post("/serve/gpt/chat", json={**HELLO, "stream": True})
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert "hello from outside" in streamed.text
    assert streamed.text.count('"model":"gpt"') == 3
    assert "gpt-tiny" not in streamed.text
    assert streamed.text.endswith("data: [DONE]\n\n")

    root = str(api.base_url).removesuffix("/llm-ops/v1/")
    whole = httpx.post(f"{root}/openai/v1/chat/completions", json={**HELLO, "model": "gpt"}).json()
    assert (whole["model"], whole["usage"]["total_tokens"]) == ("gpt", 8)
    assert sorted(record["streamed"] for record in _booked(api, 2)) == [False, True]


def _booked(api: httpx.Client, count: int) -> list[dict[str, Any]]:
    def read() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = api.get("/observability/usage").json()["data"]
        return found

    eventually(lambda: len(read()) >= count)
    return read()


def test_a_provider_that_misbehaves_is_a_502_without_its_words(
    api: httpx.Client, provider: FakeProvider, serving: dict[str, Any]
) -> None:
    _ = serving
    for mood in ("status 401", "status 403", "status 404", "status 500", "redirects", "bomb", "garbage"):
        provider.mood = mood
        for stream in (False, True):
            answer = api.post("/serve/gpt/chat", json={**HELLO, "stream": stream})
            assert (answer.status_code, answer.json()["status"]) == (502, "fail"), mood
            _is_silent_about_insides(answer.text)
        provider.mood = "well"  # failures in a row would have it left alone for a while
        assert api.post("/serve/gpt/chat", json=HELLO).status_code == 200
    for mood in ("flood", "repeats the key"):
        provider.mood = mood
        answer = api.post("/serve/gpt/chat", json=HELLO)
        assert answer.status_code == 502, mood
        _is_silent_about_insides(answer.text)


def test_a_providers_refusal_keeps_its_meaning_in_our_words(
    api: httpx.Client, provider: FakeProvider, serving: dict[str, Any]
) -> None:
    _ = serving
    for status in (400, 429, 503):
        provider.mood = f"status {status}"
        answer = api.post("/serve/gpt/chat", json=HELLO)
        assert answer.status_code == status
        _is_silent_about_insides(answer.text)
        if status == 400:
            assert "longer than the model can read" in answer.json()["message"]
        if status == 429:
            assert answer.headers["Retry-After"] == "7"


def test_a_stream_that_goes_wrong_ends_with_an_error_of_ours(
    api: httpx.Client, provider: FakeProvider, serving: dict[str, Any]
) -> None:
    _ = serving
    for mood in ("invalid events", "an error midway", "never ends", "repeats the key"):
        provider.mood = mood
        answer = api.post("/serve/gpt/chat", json={**HELLO, "stream": True})
        last = answer.text if answer.status_code == 502 else answer.text.rsplit("data: ", 1)[-1]
        assert '"status":"fail"' in last, mood
        assert len(answer.content) < 32 * 1024**2
        _is_silent_about_insides(answer.text)
    assert provider.freed.wait(30), "the provider still talks"


def _is_silent_about_insides(text: str) -> None:
    for inside in (KEY, KEY[:12], "org-1", "Incorrect", "etc/passwd", "127.0.0.1"):
        assert inside not in text


def test_ollama_needs_no_key_and_is_asked_by_openais_protocol(
    api: httpx.Client, provider: FakeProvider, agent: None
) -> None:
    _ = agent
    provider.key = None
    body = described(provider, "llama", provider="ollama", modelName="llama", endpoint=f"{provider.url}/api/")
    model = registered(api, {**body, "provider": {k: v for k, v in body["provider"].items() if k != "apiKey"}})
    assert model["metadata"]["provider"]["endpoint"] == provider.url
    approved(api, model)
    assert becomes(api, deployed(api, model, "llama"), "healthy")["statusDetail"] == ""
    eventually(lambda: api.post("/serve/llama/chat", json=HELLO).status_code == 200)
    path, headers, sent = provider.seen[-1]
    assert (path, sent["model"], sent["max_tokens"]) == ("/v1/chat/completions", "llama", 9)
    assert "Authorization" not in headers


def test_a_replaced_key_is_used_within_seconds_without_a_new_version_or_approval(
    api: httpx.Client, provider: FakeProvider, serving: dict[str, Any]
) -> None:
    provider.key = "sk-the-next-key-9876543210ZYXW"
    assert api.post("/serve/gpt/chat", json=HELLO).status_code == 502
    path = f"/catalog/models/{serving['model']['id']}"
    replaced = api.put(f"{path}/provider/key", json={"apiKey": provider.key})
    assert replaced.json()["data"]["apiKey"]["hint"] == "…ZYXW"
    eventually(lambda: api.post("/serve/gpt/chat", json=HELLO).status_code == 200)
    assert api.get(path).json()["data"]["digest"] == serving["model"]["digest"]
    entries = api.get("/audit/logs", params={"resourceId": serving["model"]["id"]}).json()["data"]
    actions = [entry["action"] for entry in entries]
    assert {"model.replace_key", "secret.store"} <= set(actions)


def test_an_endpoint_whose_provider_refuses_the_key_says_so_and_recovers_with_another(
    api: httpx.Client, provider: FakeProvider, agent: None
) -> None:
    _ = agent
    model = registered(api, described(provider, apiKey="sk-wrong-wrong-wrong"))
    approved(api, model)
    endpoint = deployed(api, model)
    assert "refuses the API key" in becomes(api, endpoint, "failed")["statusDetail"]
    assert api.post("/serve/gpt/chat", json=HELLO).status_code == 503
    api.put(f"/catalog/models/{model['id']}/provider/key", json={"apiKey": KEY})
    becomes(api, endpoint, "healthy")


def test_withdrawing_the_approval_stops_the_route(api: httpx.Client, serving: dict[str, Any]) -> None:
    api.patch(f"/catalog/models/{serving['model']['id']}/status", json={"status": "deprecated"})
    eventually(lambda: api.post("/serve/gpt/chat", json=HELLO).status_code == 409)
    assert "withdrawn" in becomes(api, serving["endpoint"], "failed")["statusDetail"]
