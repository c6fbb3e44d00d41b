"""`POST /llm-ops/v1/serve/{route}/chat`: answers, refusals and what is booked for them."""

import json
import socket

import httpx

from llmops_resources.catalog import approvals
from llmops_resources.catalog.lifecycle import Status
from llmops_resources.gateway import usage
from llmops_resources.gateway.usage import Outcome, Usage
from llmops_resources.governance import audit
from llmops_resources.platform import Platform
from llmops_resources.serving import endpoints
from llmops_resources.serving.endpoints import Endpoint, EndpointStatus
from tests import factories
from tests.gateway.conftest import ModelServer, eventually, observe

CHAT = "/llm-ops/v1/serve/support/chat"
HELLO = {"messages": [{"role": "user", "content": "hi"}]}


def booked(platform: Platform, count: int = 1) -> list[Usage]:
    """The usage records, once there are that many."""

    def read() -> list[Usage]:
        with platform.transaction(factories.ADMIN) as tx:
            return usage.search(tx).items

    eventually(lambda: len(read()) >= count)
    return read()


def test_a_chat_is_answered_in_the_envelope_and_booked(
    client: httpx.Client, platform: Platform, endpoint: Endpoint, model_server: ModelServer
) -> None:
    answer = client.post(CHAT, json={**HELLO, "temperature": 0.5, "max_tokens": 10, "stop": ["x"], "seed": 1})

    assert answer.status_code == 200
    body = answer.json()
    assert (body["status"], body["message"]) == ("success", "")
    data = body["data"]
    assert data["choices"] == [
        {"message": {"content": "hello world", "role": "assistant"}, "index": 0, "finish_reason": "stop"}
    ]
    assert data["usage"] == {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    assert (data["model"], data["id"], data["created"]) == ("support", "cmpl-1", 1)
    assert model_server.seen == [
        {**HELLO, "model": "support", "temperature": 0.5, "max_tokens": 10, "stop": ["x"], "seed": 1, "stream": False}
    ]
    (record,) = booked(platform)
    assert record.request_id == answer.headers["x-request-id"]
    assert (record.prompt_tokens, record.completion_tokens, record.estimated) == (7, 2, False)
    assert (record.endpoint_id, record.model_id, record.model_digest) == (
        endpoint.id, endpoint.model_id, endpoint.model_digest,
    )  # fmt: skip
    assert (record.actor_id, record.status, record.streamed) == ("local-admin", Outcome.SUCCEEDED, False)


def test_every_wrong_field_is_listed_with_its_remedy(client: httpx.Client, model_server: ModelServer) -> None:
    wrong = {
        "messages": [{"role": "robot", "content": "hi"}, {"role": "user"}, "hi"],
        "temperature": 2.1,
        "max_tokens": 4001,
        "top_p": 0,
        "stop": [],
        "seed": "1",
        "stream": 1,
        "modle": "x",
    }
    answer = client.post(CHAT, json=wrong)

    assert answer.status_code == 422
    assert answer.json()["status"] == "fail"
    problems = answer.json()["data"]["errors"]
    assert {problem["path"] for problem in problems} == {
        "messages[0].role", "messages[1].content", "messages[2]", "temperature", "max_tokens", "top_p", "stop", "seed",
        "stream", "modle",
    }  # fmt: skip
    assert all(problem["problem"] and problem["remedy"] for problem in problems)
    assert model_server.seen == []


def test_only_the_exact_path_of_a_route_is_that_route(gateway: str, model_server: ModelServer) -> None:
    host, port = gateway.removeprefix("http://").split(":")
    for path in (
        "/llm-ops/v1/serve/nothing/chat", "/llm-ops/v1/serve/Support/chat", "/llm-ops/v1/serve/support/chat/",
        "/llm-ops/v1/serve//chat", "/llm-ops/v1/serve/support/", "/llm-ops/v1/serve/a/../support/chat",
        "/llm-ops/v1/serve/support%2fchat", "/llm-ops/v1/serve/suppor%74/chat", "/llm-ops/v1/serve/%00/chat",
        "/llm-ops/v1/serve/support;a=b/chat", "/llm-ops/v1/serve/support/chat%0a", "/openai/v1//models",
    ):  # fmt: skip
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            body = json.dumps(HELLO).encode()
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            assert connection.makefile("rb").read().split()[1] == b"404", path
    assert model_server.seen == []


def test_an_unknown_route_says_where_the_routes_are(client: httpx.Client) -> None:
    answer = client.post("/llm-ops/v1/serve/nothing/chat", json=HELLO)

    assert answer.status_code == 404
    assert "/openai/v1/models" in answer.json()["message"]


def test_another_method_is_refused_with_the_right_one(client: httpx.Client) -> None:
    answer = client.get(CHAT)

    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


def test_another_content_type_is_refused(client: httpx.Client) -> None:
    answer = client.post(CHAT, content=json.dumps(HELLO), headers={"content-type": "text/plain"})

    assert answer.status_code == 415


def test_a_body_over_the_cap_is_refused_declared_or_not(client: httpx.Client) -> None:
    big, json_type = b" " * (4 * 1024**2 + 1), {"content-type": "application/json"}
    chunked = (big[i : i + 65536] for i in range(0, len(big), 65536))

    assert client.post(CHAT, content=big, headers=json_type).status_code == 413
    assert client.post(CHAT, content=chunked, headers=json_type).status_code == 413


def test_a_route_that_is_not_healthy_answers_503_with_the_remedy(
    client: httpx.Client, platform: Platform, endpoint: Endpoint
) -> None:
    for status in (s for s in EndpointStatus if s is not EndpointStatus.HEALTHY):
        observe(platform, endpoint, status, ready=0)

        eventually(lambda status=status: f" is {status}" in client.post(CHAT, json=HELLO).json()["message"])  # type: ignore[misc]
        answer = client.post(CHAT, json=HELLO)
        assert answer.status_code == 503
        assert answer.json()["data"]["remedy"]
        assert answer.headers["retry-after"]


def test_withdrawing_the_approval_closes_the_route_within_two_seconds(
    client: httpx.Client, platform: Platform, endpoint: Endpoint
) -> None:
    with platform.transaction(factories.ADMIN) as tx:
        approvals.change_status(tx, endpoint.model_id, Status.DEPRECATED)

    eventually(lambda: client.post(CHAT, json=HELLO).status_code == 409, seconds=2.0)
    assert "no longer approved" in client.post(CHAT, json=HELLO).json()["message"]


def test_deleting_the_endpoint_closes_the_route(client: httpx.Client, platform: Platform, endpoint: Endpoint) -> None:
    with platform.transaction(factories.ADMIN) as tx:
        endpoints.delete(tx, endpoint.id)

    eventually(lambda: client.post(CHAT, json=HELLO).status_code == 404, seconds=2.0)


def test_a_model_server_that_misbehaves_is_told_apart(
    client: httpx.Client, platform: Platform, model_server: ModelServer
) -> None:
    cases = {
        "garbage": (502, "not a chat completion"), "broken": (502, "HTTP 500"), "redirects": (502, "HTTP 302"),
        "refuses": (400, "context_length_exceeded: 9 > 8"), "busy forever": (504, "in time"),
    }  # fmt: skip
    for mood, (status, told) in cases.items():
        model_server.mood = mood
        answer = client.post(CHAT, json=HELLO)

        assert answer.status_code == status, mood
        assert told in answer.json()["message"]
        assert "secret" not in answer.text
    records = booked(platform, len(cases))
    assert {(r.status, r.prompt_tokens, r.completion_tokens) for r in records} == {(Outcome.FAILED, 0, 0)}


def test_a_model_server_that_is_gone_is_a_503(client: httpx.Client, platform: Platform, endpoint: Endpoint) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        observe(platform, endpoint, base_url=f"http://127.0.0.1:{unused.getsockname()[1]}")

        eventually(lambda: client.post(CHAT, json=HELLO).status_code == 503)
    assert "cannot be reached" in client.post(CHAT, json=HELLO).json()["message"]


def test_a_missing_usage_is_estimated_and_marked_so(
    client: httpx.Client, platform: Platform, model_server: ModelServer
) -> None:
    model_server.mood = "silent about usage"
    assert client.post(CHAT, json=HELLO).status_code == 200

    (record,) = booked(platform)
    assert record.estimated
    assert record.completion_tokens == 3  # eleven characters
    assert record.prompt_tokens > 0


def test_whoever_may_not_chat_is_refused_and_the_denial_is_audited(
    client: httpx.Client, platform: Platform, model_server: ModelServer
) -> None:
    answer = client.post(CHAT, json=HELLO, headers={"x-user-id": "eve", "x-user-roles": "viewer"})

    assert answer.status_code == 403
    assert model_server.seen == []
    with platform.transaction(factories.ADMIN) as tx:
        (entry,) = audit.search(tx, actor_id="eve")
    assert (entry.result, entry.action, entry.resource_id) == ("denied", "serving:chat", "support")


def test_no_usage_is_answered_without_being_written_down(client: httpx.Client, platform: Platform) -> None:
    spool = platform.settings.home / "spool"
    eventually(lambda: not spool.exists() or not list(spool.iterdir()))
    if spool.exists():
        spool.rmdir()
    spool.write_text("no folder")

    answer = client.post(CHAT, json=HELLO)

    assert answer.status_code == 503
    assert "could not be written down" in answer.json()["message"]


def test_the_health_of_a_route_is_asked_of_its_model_server(
    client: httpx.Client, platform: Platform, endpoint: Endpoint
) -> None:
    well = client.get("/llm-ops/v1/serve/support/health")
    observe(platform, endpoint, base_url="http://127.0.0.1:9")

    assert well.status_code == 200
    assert well.json()["data"]["status"] == "healthy"
    assert well.json()["data"]["endpointId"] == str(endpoint.id)
    eventually(lambda: client.get("/llm-ops/v1/serve/support/health").status_code == 503)
    assert client.get("/llm-ops/v1/serve/other/health").status_code == 404


def test_a_sane_request_id_is_kept_and_any_other_is_replaced(client: httpx.Client) -> None:
    kept = client.get("/openai/v1/models", headers={"x-request-id": "trace-1234"})
    replaced = client.get("/openai/v1/models", headers={"x-request-id": 'a" injected'})

    assert kept.headers["x-request-id"] == "trace-1234"
    assert replaced.headers["x-request-id"].replace("-", "").isalnum()
