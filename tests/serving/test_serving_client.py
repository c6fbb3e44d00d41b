"""The Python client of examples/: what it asks again and what it never does, what it makes of refusals and streams."""

import json
import typing
from collections.abc import Iterator

import httpx
import pytest

from examples.serving_client import (
    BrokeOff,
    Changes,
    Endpoint,
    NotInTime,
    Piece,
    Redeployment,
    Refused,
    Sampling,
    ServingClient,
    Unreachable,
    Wishes,
)
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.platform import Platform
from serving_api import openapi
from serving_api.chat import description
from tests.api.conftest import api  # noqa: F401  - fixture
from tests.factories import approved
from tests.prompts.prompts import approved_prompt, content
from tests.serving.scripted_api import MODEL, ScriptedApi, for_both_clients, scripted_api
from tests.serving.with_a_cluster import platform  # noqa: F401  - fixture


@pytest.fixture
def script() -> Iterator[ScriptedApi]:
    with scripted_api() as scripted:
        for_both_clients(scripted)
        yield scripted


@pytest.fixture
def client(script: ScriptedApi) -> Iterator[ServingClient]:
    with ServingClient(script.url, token="sk-llmops-x", user="kim", roles="viewer") as client:
        yield client


def test_lists_are_read_over_all_their_pages(client: ServingClient, script: ScriptedApi) -> None:
    assert [each["id"] for each in client.list(status="healthy")] == ["e1", "e2"]
    assert [each.path for each in script.asked] == [
        "/serving/endpoints?status=healthy", "/serving/endpoints?status=healthy&cursor=two",
    ]  # fmt: skip
    assert script.asked[0].headers["authorization"] == "Bearer sk-llmops-x"
    assert (script.asked[0].headers["x-user-id"], script.asked[0].headers["x-user-roles"]) == ("kim", "viewer")


def test_a_deployment_is_asked_for_again_under_the_same_key_and_names_the_model_by_its_id(
    client: ServingClient, script: ScriptedApi
) -> None:
    client.deploy("tiny@1", route="r", wishes={"useGpu": False, "rollbackPlan": "undo"})
    first, second = script.asked[-2:]
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert first.body == second.body == {
        "modelId": MODEL["id"], "environment": "dev", "route": "r", "useGpu": False, "rollbackPlan": "undo",
    }  # fmt: skip
    client.deploy("tiny", route="r")
    assert script.asked[-1].headers["idempotency-key"] != first.headers["idempotency-key"]


def test_a_model_that_is_not_approved_is_refused_before_anything_is_deployed(
    client: ServingClient, script: ScriptedApi
) -> None:
    with pytest.raises(Refused, match="no approved model tiny@2") as refused:
        client.deploy("tiny@2", route="r")
    assert refused.value.kind == "not_found"
    assert script.count("POST /serving/endpoints") == 0


def test_a_rollback_is_never_repeated(client: ServingClient, script: ScriptedApi) -> None:
    with pytest.raises(Refused) as refused:
        client.rollback("e1")
    assert (refused.value.status, refused.value.kind, refused.value.remedy) == (503, "unavailable", "Mend it.")
    assert script.count("POST /serving/endpoints/e1/rollback") == 1


def test_a_change_that_names_no_revision_is_asked_for_again_and_any_other_is_not(
    client: ServingClient, script: ScriptedApi
) -> None:
    client.change("e1", {"maxReplicas": 3, "useGpu": None})
    assert [each.body for each in script.asked] == [{"maxReplicas": 3, "useGpu": None}] * 2
    with pytest.raises(Refused):
        client.change("e2", {"maxReplicas": 3, "revision": 4})
    assert script.count("PATCH /serving/endpoints/e2") == 1


def test_an_endpoint_is_changed_rolled_out_otherwise_and_taken_back_to_a_revision(
    platform: Platform, api: httpx.Client  # noqa: F811
) -> None:
    approved(platform, Kind.MODEL, "tiny")
    prompt = str(approved_prompt(platform, "polite", content("Be polite:")).id)
    with ServingClient(str(api.base_url).removesuffix("/llm-ops/v1/")) as client:
        made = client.deploy("tiny", route="chat", wishes={"rollbackPlan": "undo", "memoryRequest": "4Gi"})
        changed = client.change(made["id"], {"maxReplicas": 3, "memoryRequest": None, "promptPolicyId": prompt})
        assert (changed["revision"], changed["maxReplicas"], changed["promptPolicyId"]) == (2, 3, prompt)
        with pytest.raises(Refused, match="is at revision 2 by now") as late:
            client.change(made["id"], {"maxReplicas": 4, "revision": 1})
        assert late.value.status == 409
        assert client.change(made["id"], {"status": "stopped"})["maxReplicas"] == 0
        again = client.redeploy(made["id"], {"useGpu": True, "memoryRequest": "8Gi", "memoryLimit": "9Gi"})
        assert (again["revision"], again["maxReplicas"], again["promptPolicyId"]) == (4, 3, prompt)
        kept = api.get(f"/serving/endpoints/{made['id']}").json()["data"]
        assert (kept["useGpu"], kept["memoryRequest"], kept["memoryLimit"]) == (True, "8Gi", "9Gi")
        back = client.rollback(made["id"], to=1)
        assert (back["revision"], back["maxReplicas"], back["promptPolicyId"]) == (5, 1, None)
        assert next(client.history(made["id"]))["restores"] == 1
        assert client.rollback(made["id"])["maxReplicas"] == 0  # there is nothing before the first


def test_waiting_survives_a_moment_of_absence_and_ends_when_the_route_leads_there(
    client: ServingClient, script: ScriptedApi
) -> None:
    assert client.wait("e1")["id"] == "e1"
    assert script.count("GET /serve/r/health") == 2


def test_waiting_for_what_failed_or_takes_too_long_is_told_with_the_reason(client: ServingClient) -> None:
    with pytest.raises(NotInTime, match="r is failed: no memory"):
        client.wait("ill")
    with pytest.raises(NotInTime, match="after 0 s r is healthy"):
        client.wait("e1", until="stopped", timeout=0)


def test_a_refusal_carries_every_wrong_field_and_the_request_id(client: ServingClient) -> None:
    with pytest.raises(Refused, match="1 field is wrong") as refused:
        client.chat("wrong", "hi", {"temperature": 9})
    assert [problem["path"] for problem in refused.value.errors] == ["temperature"]
    assert refused.value.request_id == "a1"


def test_who_is_told_to_come_back_in_an_hour_is_refused_at_once(client: ServingClient, script: ScriptedApi) -> None:
    with pytest.raises(Refused) as refused:
        client.chat("spent", "hi")
    assert refused.value.retry_after == 3600
    assert script.count("POST /serve/spent/chat") == 1


def test_a_chat_refused_for_now_is_asked_again_and_says_who_answered(
    client: ServingClient, script: ScriptedApi
) -> None:
    answer = client.chat("r", "hi", {"max_tokens": 3})
    assert (answer.text, answer.finish_reason, answer.usage["total_tokens"]) == ("hi", "stop", 2)
    assert answer.route == "stand-in"
    assert script.asked[-1].body == {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}


def test_what_is_not_of_the_platform_is_named_as_such(client: ServingClient) -> None:
    with pytest.raises(Refused, match="not of this platform"):
        client.chat("elsewhere", "hi")


def test_a_stream_is_read_wherever_it_is_cut_and_only_lines_end_lines(client: ServingClient) -> None:
    *pieces, last = client.stream("odd", "hi")
    assert pieces == [Piece("a\u2028b"), Piece("안녕")]
    assert last.usage is not None
    assert last.usage["total_tokens"] == 2


@pytest.mark.parametrize(
    ("route", "told", "kind"),
    [("dies", "the model died", "upstream_failed"), ("ends", "before its end", None), ("drops", "broke off", None)],
)
def test_a_stream_that_does_not_end_as_it_should_raises_after_its_pieces(
    client: ServingClient, route: str, told: str, kind: str | None
) -> None:
    pieces = client.stream(route, "hi")
    assert next(pieces) == Piece("half")
    with pytest.raises(BrokeOff, match=told) as broke:
        next(pieces)
    assert broke.value.kind == kind


def test_a_stream_that_is_refused_is_refused_as_any_other(client: ServingClient) -> None:
    with pytest.raises(Refused, match="1 field is wrong"):
        next(client.stream("wrong", "hi"))


def test_nobody_there_is_unreachable() -> None:
    with ServingClient("http://127.0.0.1:9", retries=1) as client, pytest.raises(Unreachable, match="does not answer"):
        client.rollback("e1")


def test_names_cannot_lead_to_another_path(client: ServingClient, script: ScriptedApi) -> None:
    with pytest.raises(Refused):
        client.get("../../governance/policies?x=1")
    assert script.asked[-1].path == "/serving/endpoints/..%2F..%2Fgovernance%2Fpolicies%3Fx%3D1"


def test_the_clients_types_name_nothing_that_the_api_does_not_know() -> None:
    schemas = json.loads(openapi.FILE.read_bytes())["components"]["schemas"]
    assert set(Endpoint.__annotations__) <= set(schemas["Endpoint"]["properties"])
    assert set(Wishes.__annotations__) | {"modelId", "environment", "route"} <= set(schemas["Deploy"]["properties"])
    chat = set(description._REQUEST["properties"]) - {"messages", "stream"}
    assert set(Sampling.__annotations__) == chat
    assert set(Changes.__annotations__) == set(schemas["EndpointChange"]["properties"])
    assert set(Redeployment.__annotations__) <= set(Changes.__annotations__)
    statuses = typing.get_args(typing.get_type_hints(Endpoint)["status"])
    assert set(statuses) == set(schemas["EndpointStatus"]["enum"])
