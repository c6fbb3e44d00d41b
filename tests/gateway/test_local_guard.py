"""Local mode: the Host header, requests of strange web pages, and identities that may not be claimed."""

import asyncio
from typing import Any

import pytest

from llmops_resources.errors import InvalidInput, NotAuthenticated
from llmops_resources.governance import keys
from llmops_resources.settings import Settings
from serving_api.identity import actor_of
from serving_api.local_guard import LocalGuard

SETTINGS = Settings(secret_key="a signing key of enough characters", _env_file=None)
Headers = list[tuple[bytes, bytes]]


def status_for(headers: Headers, *, method: str = "GET", kind: str = "http") -> int:
    """The status a request with these headers gets; 200 when it reaches the app, 1008 for a refused WebSocket."""
    sent: list[dict[str, Any]] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": kind, "method": method, "path": "/", "headers": headers}
    asyncio.run(LocalGuard(app, SETTINGS)(scope, receive, send))
    return int(sent[0].get("status") or sent[0]["code"])


@pytest.mark.parametrize("host", [b"localhost", b"LOCALHOST:8000", b"127.0.0.1:8000", b"[::1]:8000", b"[::1]"])
def test_our_own_names_are_answered(host: bytes) -> None:
    assert status_for([(b"host", host)]) == 200


@pytest.mark.parametrize(
    "host",
    [b"evil.example", b"localhost.evil.example", b"127.0.0.1.nip.io", b"0.0.0.0:8000", b"localhost.", b"10.0.0.1"],
)
def test_another_name_is_misdirected(host: bytes) -> None:
    assert status_for([(b"host", host)]) == 421


@pytest.mark.parametrize(
    "host",
    [b"", b"/", b"?", b"#", b"localhost/", b"localhost#@evil", b"user@localhost", b"localhost:99999", b"localhost:x",
     b"localhost\r\nx: y", b" localhost", b"localhost,evil", b"\xff"],
)  # fmt: skip
def test_a_malformed_host_is_refused(host: bytes) -> None:
    assert status_for([(b"host", host)]) == 400


def test_a_missing_or_doubled_host_is_refused() -> None:
    assert status_for([]) == 400
    assert status_for([(b"host", b"localhost"), (b"Host", b"evil.example")]) == 400


@pytest.mark.parametrize(
    "origin", [b"http://evil.example", b"null", b"http://localhost:5173", b"localhost:8000", b"\xff"]
)
def test_a_page_of_another_origin_may_not_change_anything(origin: bytes) -> None:
    headers = [(b"host", b"localhost:8000"), (b"origin", origin)]

    assert status_for(headers, method="POST") == 403
    assert status_for(headers, method="DELETE") == 403
    assert status_for(headers, kind="websocket") == 1008
    assert status_for(headers) == 200


def test_our_own_page_may_change_things() -> None:
    for host, origin in ((b"localhost:8000", b"http://localhost:8000"), (b"localhost", b"http://localhost:80")):
        assert status_for([(b"host", host), (b"origin", origin)], method="POST") == 200
        assert status_for([(b"host", host), (b"origin", origin)], kind="websocket") == 200


def test_a_strange_page_may_link_to_us_but_not_embed_us() -> None:
    cross = [(b"host", b"localhost"), (b"sec-fetch-site", b"cross-site")]

    assert status_for([*cross, (b"sec-fetch-mode", b"navigate")]) == 200
    assert status_for([*cross, (b"sec-fetch-mode", b"no-cors")]) == 403
    assert status_for([*cross, (b"sec-fetch-mode", b"navigate")], method="POST") == 403


def test_nobody_is_the_local_admin() -> None:
    actor = actor_of(SETTINGS, {})

    assert (actor.id, actor.roles) == ("local-admin", frozenset({"admin"}))


def test_the_headers_say_who_calls() -> None:
    actor = actor_of(
        SETTINGS, {"x-user-id": "kim@team", "x-user-roles": "viewer, reviewer,", "authorization": "Bearer x"}
    )

    assert (actor.id, actor.roles) == ("kim@team", frozenset({"viewer", "reviewer"}))
    assert actor_of(SETTINGS, {"x-user-id": "kim"}).roles == frozenset()


@pytest.mark.parametrize("user", ["system:gateway", "job:1", "", " ", "a b", "a\nb", "x" * 129, "ü"])
def test_an_id_that_is_not_a_persons_cannot_be_claimed(user: str) -> None:
    with pytest.raises(InvalidInput, match="X-User-Id"):
        actor_of(SETTINGS, {"x-user-id": user, "x-user-roles": "viewer"})


def test_an_unknown_role_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="root") as refused:
        actor_of(SETTINGS, {"x-user-roles": "viewer,root"})

    assert "viewer" in refused.value.remedy


def test_a_job_token_is_the_job_and_nothing_else_is() -> None:
    from datetime import timedelta
    from uuid import uuid4

    job = uuid4()
    token = keys.issue_job_token(SETTINGS.signing_key(), job, lifetime=timedelta(hours=1))
    actor = actor_of(SETTINGS, {"authorization": f"Bearer {token}", "x-user-roles": "admin"})

    assert (actor.job_id, actor.roles) == (str(job), frozenset())
    with pytest.raises(NotAuthenticated):
        actor_of(SETTINGS, {"authorization": f"bearer {token[:-4]}AAAA"})
