"""Retries where they are safe, the breaker, the fallback and a route's own timeout, in front of real servers."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from aiohttp import web

from llmops_resources.errors import Forbidden, ValidationFailed
from llmops_resources.gateway import policies
from llmops_resources.gateway.breaker import FAILURES
from llmops_resources.governance import audit
from llmops_resources.platform import Platform
from llmops_resources.serving.endpoints import Endpoint, EndpointStatus
from tests.factories import ADMIN
from tests.gateway.conftest import ModelServer, deployed, eventually, observe, running_aiohttp
from tests.gateway.test_api_keys import CHAT, HELLO, issued, works
from tests.gateway.test_chat import booked

OTHER = "/llm-ops/v1/serve/other/chat"


def policy(platform: Platform, route: str = "support", **changes: Any) -> None:
    with platform.transaction(ADMIN) as tx:
        policies.change(tx, route, changes)


@pytest.fixture
def stand_in() -> Iterator[ModelServer]:
    """A second model server."""
    server = ModelServer()

    def application() -> web.Application:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", server.answer)
        return app

    with running_aiohttp(application) as port:
        server.url = f"http://127.0.0.1:{port}"
        yield server


@pytest.fixture
def with_fallback(
    client: httpx.Client, platform: Platform, model_server: ModelServer, stand_in: ModelServer
) -> httpx.Client:
    """A client of `support`, for which `other` stands in."""
    deployed(platform, stand_in.url, route="other")
    policy(platform, fallback_route="/llm-ops/v1/serve/other", max_prompt_bytes=1000)
    long = {"messages": [{"role": "user", "content": "x" * 1000}]}
    eventually(lambda: client.post(CHAT, json=long).status_code == 413)  # so the policy is in force
    eventually(lambda: client.post(OTHER, json=HELLO).status_code == 200)
    model_server.seen.clear()
    stand_in.seen.clear()
    return client


def test_a_server_that_is_not_ready_is_asked_once_more_and_the_call_is_booked_once(
    client: httpx.Client, platform: Platform, model_server: ModelServer
) -> None:
    model_server.mood = "not ready once"

    assert client.post(CHAT, json=HELLO).status_code == 200
    assert len(model_server.seen) == 2
    assert [record.status for record in booked(platform)] == ["succeeded"]


@pytest.mark.parametrize("mood", ["broken", "garbage", "refuses"])
def test_what_a_server_may_have_worked_on_is_not_asked_again(
    client: httpx.Client, model_server: ModelServer, mood: str
) -> None:
    model_server.mood = mood

    assert client.post(CHAT, json=HELLO).status_code in {400, 502}
    assert len(model_server.seen) == 1


def test_a_stream_that_died_after_its_first_byte_is_neither_asked_again_nor_handed_on(
    with_fallback: httpx.Client, model_server: ModelServer, stand_in: ModelServer
) -> None:
    model_server.mood = "dies"
    with with_fallback.stream("POST", CHAT, json={**HELLO, "stream": True}) as answer:
        lines = [line for line in answer.iter_lines() if line.startswith("data:")]

    assert json.loads(lines[-1].removeprefix("data:"))["status"] == "fail"
    assert (len(model_server.seen), stand_in.seen) == (1, [])


def test_a_server_that_keeps_failing_is_left_alone_and_asked_again_after_a_pause(
    client: httpx.Client, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_server.mood = "broken"
    for _ in range(FAILURES):
        assert client.post(CHAT, json=HELLO).status_code == 502
    answer = client.post(CHAT, json=HELLO)

    assert (answer.status_code, len(model_server.seen)) == (503, FAILURES)
    assert "several times in a row" in answer.json()["message"]
    assert answer.headers["retry-after"]
    model_server.mood, now = "well", time.monotonic()
    monkeypatch.setattr("serving_api.chat.attempts.time.monotonic", lambda: now + 60)
    assert client.post(CHAT, json=HELLO).status_code == 200


def test_a_refused_key_of_ours_opens_no_breaker_so_that_another_one_works_at_once(
    client: httpx.Client, model_server: ModelServer
) -> None:
    model_server.mood = "wants another key"

    assert {client.post(CHAT, json=HELLO).status_code for _ in range(2 * FAILURES)} == {502}
    assert len(model_server.seen) == 2 * FAILURES
    model_server.mood = "well"
    assert client.post(CHAT, json=HELLO).status_code == 200


def test_complaints_about_requests_open_no_breaker(client: httpx.Client, model_server: ModelServer) -> None:
    model_server.mood = "refuses"

    assert {client.post(CHAT, json=HELLO).status_code for _ in range(2 * FAILURES)} == {400}


@pytest.mark.parametrize("mood", ["broken", "not ready", "busy forever"])
def test_the_fallback_answers_under_its_own_name_and_pays(
    with_fallback: httpx.Client, platform: Platform, model_server: ModelServer, stand_in: ModelServer, mood: str
) -> None:
    model_server.mood = mood
    answer = with_fallback.post(CHAT, json=HELLO)

    assert (answer.status_code, answer.headers["x-llmops-route"]) == (200, "other")
    assert answer.json()["data"]["model"] == "other"
    assert stand_in.seen[-1]["model"] == "other"
    eventually(lambda: sum(record.route == "other" for record in booked(platform)) == 2)  # the fixture's, and this one
    assert booked(platform)[0].route == "other"


def test_a_route_that_is_down_streams_from_its_fallback(
    with_fallback: httpx.Client, platform: Platform, endpoint: Endpoint
) -> None:
    observe(platform, endpoint, EndpointStatus.FAILED, ready=0)

    def answered() -> str:
        with with_fallback.stream("POST", CHAT, json={**HELLO, "stream": True}) as answer:
            list(answer.iter_lines())
            return answer.headers.get("x-llmops-route", "")

    eventually(lambda: answered() == "other")


def test_without_a_failure_the_route_itself_answers(with_fallback: httpx.Client, stand_in: ModelServer) -> None:
    assert with_fallback.post(CHAT, json=HELLO).headers["x-llmops-route"] == "support"
    assert stand_in.seen == []


def test_a_key_that_may_not_use_the_fallback_gets_the_routes_own_failure(
    with_fallback: httpx.Client, platform: Platform, model_server: ModelServer, stand_in: ModelServer
) -> None:
    _key, headers = issued(platform, routes=("support",))
    works(with_fallback, headers)
    model_server.mood = "broken"

    assert with_fallback.post(CHAT, json=HELLO, headers=headers).status_code == 502
    assert stand_in.seen == []


def test_what_the_fallback_cannot_do_either_is_told_as_the_routes_own_failure(
    with_fallback: httpx.Client, model_server: ModelServer, stand_in: ModelServer
) -> None:
    model_server.mood, stand_in.mood = "not ready", "broken"
    answer = with_fallback.post(CHAT, json=HELLO)

    assert (answer.status_code, answer.json()["data"]["kind"]) == (503, "unavailable")


def test_a_routes_own_timeout_frees_the_model_server(
    client: httpx.Client, platform: Platform, model_server: ModelServer
) -> None:
    policy(platform, timeout_seconds=0.3)
    model_server.mood = "busy forever"

    eventually(lambda: "0.3 s" in client.post(CHAT, json=HELLO).json()["message"])
    assert client.post(CHAT, json=HELLO).status_code == 504
    assert model_server.freed.wait(5)
    model_server.mood = "talks forever"
    with client.stream("POST", CHAT, json={**HELLO, "stream": True}) as answer:
        lines = [line for line in answer.iter_lines() if line.startswith("data:")]
    assert json.loads(lines[-1].removeprefix("data:"))["data"]["kind"] == "upstream_timeout"


def test_a_routes_bounds_are_kept_and_given_to_those_who_name_none(
    client: httpx.Client, platform: Platform, model_server: ModelServer
) -> None:
    policy(platform, max_tokens=50, max_prompt_bytes=200)
    eventually(lambda: client.post(CHAT, json={**HELLO, "max_tokens": 51}).status_code == 422)

    assert client.post(CHAT, json=HELLO).status_code == 200
    assert model_server.seen[-1]["max_tokens"] == 50
    assert client.post("/openai/v1/chat/completions", json={**HELLO, "model": "support"}).status_code == 200
    assert model_server.seen[-1]["max_tokens"] == 50
    big = {"messages": [{"role": "user", "content": "x" * 200}]}
    assert client.post(CHAT, json=big).status_code == 413


@pytest.mark.parametrize("wanted", ["support", "nowhere", "No Route"])
def test_a_fallback_must_be_another_route_that_is_there(platform: Platform, endpoint: Endpoint, wanted: str) -> None:
    with pytest.raises(ValidationFailed):
        policy(platform, fallback_route=wanted)


def test_a_policy_keeps_what_is_not_named_and_its_changes_are_audited(platform: Platform, endpoint: Endpoint) -> None:
    policy(platform, max_tokens=50)
    policy(platform, timeout_seconds=9)
    policy(platform, max_tokens=None)
    with platform.transaction(ADMIN) as tx:
        now = policies.of(tx, "/support")
        entries = audit.search(tx, action="policy.change")
    assert (now.max_tokens, now.timeout_seconds) == (None, 9)
    assert entries[0].metadata["before"]["maxTokens"] == 50
    viewer = ADMIN.__class__("vera", frozenset({"viewer"}))
    with platform.transaction(viewer) as tx, pytest.raises(Forbidden):
        policies.change(tx, "support", {"max_tokens": 1})
