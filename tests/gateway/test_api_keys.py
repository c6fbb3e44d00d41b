"""API keys of the gateway: what they open, what they never open, and how soon they stop."""

import json
import logging

import httpx
import pytest

from llmops_resources.database import Actor
from llmops_resources.errors import Forbidden, NotFound
from llmops_resources.governance import api_keys, audit
from llmops_resources.governance.api_keys import ApiKey, KeyWish
from llmops_resources.platform import Platform
from serving_api.identity import actor_of
from tests import factories
from tests.gateway.conftest import ModelServer, deployed, eventually
from tests.gateway.test_chat import booked

CHAT = "/llm-ops/v1/serve/support/chat"
HELLO = {"messages": [{"role": "user", "content": "hi"}]}


def issued(platform: Platform, actor: Actor = factories.ADMIN, **wish: object) -> tuple[ApiKey, dict[str, str]]:
    """A key and the header that uses it."""
    with platform.transaction(actor) as tx:
        key, secret = api_keys.create(tx, KeyWish(**{"name": "app", "team": "shop", **wish}))  # type: ignore[arg-type]
    return key, {"authorization": f"Bearer {secret}"}


def revoke(platform: Platform, key: ApiKey) -> None:
    with platform.transaction(factories.ADMIN) as tx:
        api_keys.revoke(tx, key.id)


def works(client: httpx.Client, headers: dict[str, str], status: int = 200) -> None:
    eventually(lambda: client.post(CHAT, json=HELLO, headers=headers).status_code == status)


def test_a_key_chats_within_a_second_of_being_issued_and_is_named_in_the_usage(
    client: httpx.Client, platform: Platform
) -> None:
    key, headers = issued(platform)
    works(client, headers)

    assert booked(platform)[0].actor_id == f"key:{key.id}"


def test_a_revoked_key_is_refused_within_seconds_and_cannot_be_told_from_an_unknown_one(
    client: httpx.Client, platform: Platform
) -> None:
    key, headers = issued(platform)
    works(client, headers)
    revoke(platform, key)
    works(client, headers, 401)

    unknown = {"authorization": "Bearer llmops-" + "x" * 43}
    answers = [client.post(CHAT, json=HELLO, headers=each) for each in (headers, unknown)]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].json() == answers[1].json()


def test_a_key_that_expired_is_refused_even_before_the_rules_are_read_again(
    client: httpx.Client, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    _key, headers = issued(platform, expires_in_days=1)
    works(client, headers)
    monkeypatch.setattr("llmops_resources.gateway.rules.time.time", lambda: 4_000_000_000.0)

    assert client.post(CHAT, json=HELLO, headers=headers).status_code == 401


def test_a_route_that_is_not_a_keys_own_is_not_there_for_it(client: httpx.Client, platform: Platform) -> None:
    deployed(platform, "http://127.0.0.1:1", route="other")
    _key, headers = issued(platform, routes=("support",))
    works(client, headers)
    eventually(lambda: len(client.get("/openai/v1/models").json()["data"]) == 2)

    listed = client.get("/openai/v1/models", headers=headers).json()["data"]
    assert [model["id"] for model in listed] == ["support"]
    foreign = client.post("/llm-ops/v1/serve/other/chat", json=HELLO, headers=headers)
    assert foreign.status_code == 404
    assert foreign.json()["message"] == client.post(
        "/llm-ops/v1/serve/nowhere/chat", json=HELLO, headers=headers
    ).json()["message"].replace("nowhere", "other")
    by_name = client.post("/openai/v1/chat/completions", json={**HELLO, "model": "other"}, headers=headers)
    assert (by_name.status_code, by_name.json()["error"]["code"]) == (404, "model_not_found")
    assert client.get("/llm-ops/v1/serve/other/health", headers=headers).status_code == 404
    with platform.transaction(factories.ADMIN) as tx:
        denials = [entry for entry in audit.search(tx, action="serving:chat") if entry.result == "denied"]
    assert {entry.resource_id for entry in denials} == {"other"}


def test_an_open_stream_ends_when_its_key_is_revoked(
    client: httpx.Client, platform: Platform, model_server: ModelServer
) -> None:
    key, headers = issued(platform)
    works(client, headers)
    model_server.mood = "talks forever"
    with client.stream("POST", CHAT, json={**HELLO, "stream": True}, headers=headers) as answer:
        lines = answer.iter_lines()
        assert "hello" in next(line for line in lines if line.startswith("data:"))
        revoke(platform, key)
        rest = [line for line in lines if line.startswith("data:")]
    assert json.loads(rest[-1].removeprefix("data:"))["data"]["kind"] == "not_authenticated"
    assert model_server.freed.wait(5)


def test_a_key_opens_nothing_but_the_gateway(platform: Platform) -> None:
    _key, headers = issued(platform)

    with pytest.raises(Forbidden, match="chat routes only"):
        actor_of(platform.settings, {**headers, "x-user-roles": "admin"})
    with pytest.raises(Forbidden, match="chat routes only"):
        actor_of(platform.settings, {"authorization": headers["authorization"].replace("llmops-", "LLMOPS-")})


@pytest.mark.parametrize(
    "bearer", ["llmops-", "llmops-' OR 1=1 --", "LLMOPS-" + "a" * 43, "llmops-" + "a" * 44, "llmops-" + "é" * 43]
)
def test_what_looks_like_a_key_and_is_none_is_not_taken_for_a_person(client: httpx.Client, bearer: str) -> None:
    answer = client.post(CHAT, json=HELLO, headers={"authorization": f"Bearer {bearer}".encode()})

    assert answer.status_code == 401


def test_nobody_issues_a_key_with_a_key_or_without_the_permission(platform: Platform) -> None:
    key, _headers = issued(platform)
    for actor in (Actor(f"key:{key.id}", key_id=key.id), Actor("vera", frozenset({"viewer"}))):
        with pytest.raises(Forbidden):
            issued(platform, actor)


def test_somebody_elses_key_is_not_there_unless_one_manages_keys(platform: Platform) -> None:
    kim, lee = (Actor(name, frozenset({"service_developer"})) for name in ("kim", "lee"))
    key, _headers = issued(platform, kim)

    with platform.transaction(lee) as tx:
        assert api_keys.search(tx).items == []
        with pytest.raises(NotFound):
            api_keys.revoke(tx, key.id)
    with platform.transaction(Actor("sam", frozenset({"security_admin"}))) as tx:
        assert api_keys.search(tx).items == [key]
        assert api_keys.revoke(tx, key.id).revoked_by == "sam"


def test_a_secret_is_neither_stored_nor_logged(
    client: httpx.Client, platform: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    _key, headers = issued(platform)
    works(client, headers)
    secret = headers["authorization"].removeprefix("Bearer ")

    assert secret not in caplog.text
    with platform.engine.connect() as connection:
        rows = str(connection.exec_driver_sql("SELECT * FROM api_keys").all())
        rows += str(connection.exec_driver_sql("SELECT * FROM audit_entries").all())
    assert secret not in rows
