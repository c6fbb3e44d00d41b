"""What differs between the environments of a route keeps it from being promoted until somebody writes down why."""

from typing import Any

import httpx
import pytest

from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.versions import Version
from llmops_resources.governance import audit
from llmops_resources.platform import Platform
from tests.api.conftest import api  # noqa: F401  - fixture
from tests.factories import ADMIN, approve, approved
from tests.prompts.prompts import approved_prompt, content
from tests.providers.test_secrets import external
from tests.serving.with_a_cluster import platform  # noqa: F401  - fixture

OLD, NEW = "vllm/vllm-openai:v0.11.0", "vllm/vllm-openai:v0.12.0"
TGI = "ghcr.io/huggingface/text-generation-inference:3.3.6"
PROMPT = "the id of an approved prompt"
WHY = "the staging cluster is being moved this week"


@pytest.fixture
def model(platform: Platform) -> Version:  # noqa: F811
    return approved(platform, Kind.MODEL, "tiny")


def deploy(api: httpx.Client, model: Version, environment: str, **asked: Any) -> httpx.Response:  # noqa: F811
    body = {"modelId": str(model.id), "environment": environment, "route": "chat", "rollbackPlan": "take it back",
            "servingRuntimeImage": OLD, **asked}  # fmt: skip
    return api.post("/serving/endpoints", json=body)


def blockers(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 409, answer.text
    return [problem["path"].removeprefix("parityReasons.") for problem in answer.json()["data"]["errors"]]


def test_the_same_settings_go_through_every_environment(api: httpx.Client, model: Version) -> None:  # noqa: F811
    for environment, replicas in (("dev", 1), ("stg", 2), ("prod", 8)):
        assert deploy(api, model, environment, maxReplicas=replicas).status_code == 200


CASES: list[tuple[dict[str, Any], list[str]]] = [
    ({"servingRuntimeImage": NEW}, ["servingRuntimeImage"]),
    ({"servingRuntimeImage": TGI}, ["runtime", "servingRuntimeImage"]),
    ({"backend": "kserve"}, ["backend"]), ({"useGpu": True}, ["useGpu"]), ({"cpuRequest": "2"}, ["cpuRequest"]),
    ({"promptPolicyId": PROMPT}, ["promptPolicyId"]), ({"imagePullPolicy": "Always"}, ["imagePullPolicy"]),
    ({"autoscalePolicy": {"cpuUtilization": 50}}, ["autoscalePolicy"]),
    ({"backend": "local", "servingRuntimeImage": None}, ["backend", "runtime"]),
]  # fmt: skip


def test_each_difference_blocks_the_promotion_until_its_reason_is_written_down(
    platform: Platform, api: httpx.Client, model: Version  # noqa: F811
) -> None:
    prompt = approved_prompt(platform, "answers", content("Be brief:")).id
    for number, (otherwise, fields) in enumerate(CASES):
        route = f"chat-{number}"
        asked = {"route": route, **{name: str(prompt) if it == PROMPT else it for name, it in otherwise.items()}}
        assert deploy(api, model, "dev", route=route).status_code == 200
        assert blockers(deploy(api, model, "stg", **asked)) == fields
        assert api.get("/serving/endpoints", params={"environment": "stg", "route": route}).json()["data"] == []
        some = deploy(api, model, "stg", **asked, parityReasons={fields[0]: WHY})
        assert some.status_code == 200 if len(fields) == 1 else blockers(some) == fields[1:]
        made = deploy(api, model, "stg", **asked, parityReasons=dict.fromkeys(fields, WHY))  # nothing was kept of it
        assert made.status_code == 200, made.text
        (told,) = api.get(f"/serving/endpoints/{made.json()['data']['id']}/parity").json()["data"]
        assert (told["environment"], told["against"], told["blocked"]) == ("stg", "dev", False)
        assert [(it["field"], it["reason"], it["writtenBy"]) for it in told["drifts"]] == [
            (field, WHY, "local-admin") for field in fields]  # fmt: skip
        assert deploy(api, model, "stg", **asked).status_code == 200  # it stands
    with platform.transaction(ADMIN) as tx:
        written = audit.search(tx, action="parity.document")
    assert {entry.metadata["reason"] for entry in written} == {WHY}


def test_a_reason_holds_for_exactly_the_two_values_it_was_written_about(
    api: httpx.Client, model: Version  # noqa: F811
) -> None:
    deploy(api, model, "dev")
    why = {"servingRuntimeImage": WHY}
    assert deploy(api, model, "stg", servingRuntimeImage=NEW, parityReasons=why).status_code == 200
    other = "vllm/vllm-openai:v0.13.0"
    assert blockers(deploy(api, model, "stg", servingRuntimeImage=other)) == ["servingRuntimeImage"]
    deploy(api, model, "dev", servingRuntimeImage=other)
    assert blockers(deploy(api, model, "stg", servingRuntimeImage=NEW)) == ["servingRuntimeImage"]


def test_production_is_compared_with_staging_or_else_with_development(api: httpx.Client, model: Version) -> None:  # noqa: F811
    deploy(api, model, "dev")
    assert blockers(deploy(api, model, "prod", useGpu=True)) == ["useGpu"]
    assert deploy(api, model, "stg", useGpu=True, parityReasons={"useGpu": WHY}).status_code == 200
    assert deploy(api, model, "prod", useGpu=True).status_code == 200
    assert blockers(deploy(api, model, "prod")) == ["useGpu"]


def test_a_change_or_redeployment_is_asked_about_what_it_touches_and_a_rollback_about_nothing(
    api: httpx.Client, model: Version  # noqa: F811
) -> None:
    deploy(api, model, "dev")
    made = deploy(api, model, "stg").json()["data"]
    address = f"/serving/endpoints/{made['id']}"
    assert blockers(api.patch(address, json={"memoryRequest": "8Gi"})) == ["memoryRequest"]
    assert blockers(api.post(f"{address}/redeploy?useGpu=true")) == ["useGpu"]
    changed = {"memoryRequest": "8Gi", "parityReasons": {"memoryRequest": WHY}}
    assert api.patch(address, json=changed).status_code == 200
    deploy(api, model, "dev", servingRuntimeImage=NEW)  # development goes on
    assert api.patch(address, json={"maxReplicas": 3}).status_code == 200
    assert api.post(f"{address}/redeploy").status_code == 200
    assert api.post(f"{address}/rollback").status_code == 200
    (told,) = api.get(f"{address}/parity").json()["data"]
    assert [(it["field"], bool(it["reason"])) for it in told["drifts"]] == [
        ("servingRuntimeImage", False), ("memoryRequest", True)]  # fmt: skip
    assert told["blocked"]


def test_what_would_block_is_told_before_anything_is_deployed(api: httpx.Client, model: Version) -> None:  # noqa: F811
    deploy(api, model, "dev")
    body = {"modelId": str(model.id), "environment": "stg", "route": "chat", "servingRuntimeImage": NEW}
    told = api.post("/serving/endpoints/parity", json=body).json()["data"]
    assert (told["against"], told["blocked"]) == ("dev", True)
    assert [(it["field"], it["there"], it["here"]) for it in told["drifts"]] == [("servingRuntimeImage", OLD, NEW)]
    assert api.post("/serving/endpoints/parity", json={**body, "route": "other"}).json()["data"]["against"] is None
    assert len(api.get("/serving/endpoints").json()["data"]) == 1


def test_a_standing_difference_is_documented_by_itself_and_only_if_it_is_one(
    api: httpx.Client, model: Version  # noqa: F811
) -> None:
    dev = deploy(api, model, "dev").json()["data"]
    stg = deploy(api, model, "stg").json()["data"]
    deploy(api, model, "dev", useGpu=True)
    address = f"/serving/endpoints/{stg['id']}/parity"
    for reasons in ({"useGpu": "short"}, {"backend": WHY}, {}):
        assert api.post(address, json={"reasons": reasons}).status_code == 422
    (told,) = api.post(address, json={"reasons": {"useGpu": WHY, }}).json()["data"]
    assert not told["blocked"]
    assert api.post(f"/serving/endpoints/{dev['id']}/parity", json={"reasons": {"useGpu": WHY}}).status_code == 409
    reader = {"X-User-Id": "eve", "X-User-Roles": "viewer"}
    assert api.post(address, json={"reasons": {"useGpu": WHY}}, headers=reader).status_code == 403


def test_an_external_model_has_no_image_to_compare_but_a_backend(
    platform: Platform, api: httpx.Client, model: Version  # noqa: F811
) -> None:
    deploy(api, model, "dev")
    outside = approve(platform, external(platform).id)
    assert blockers(deploy(api, outside, "stg")) == ["backend", "runtime"]
    made = deploy(api, outside, "stg", parityReasons={"backend": WHY, "runtime": WHY}).json()["data"]
    assert (made["backend"], made["runtimeImage"]) == ("external", None)
    answer = api.patch(f"/serving/endpoints/{made['id']}", json={"servingRuntimeImage": OLD})
    assert (answer.status_code, "runs at its provider" in answer.text) == (422, True)
