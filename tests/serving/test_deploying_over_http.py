"""What a deployment to a cluster may ask for, over HTTP: decided once, refused by field, kept with the endpoint."""

from typing import Any

import httpx
import pytest

from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.database import Actor
from llmops_resources.platform import Platform
from llmops_resources.serving import endpoints, events, manifests
from llmops_resources.serving.endpoints import EndpointStatus, Observation
from llmops_resources.serving.placing import placement
from llmops_resources.serving.reconcile import desired
from tests.api.conftest import api, llmops  # noqa: F401  - fixtures
from tests.api.shell import Shell
from tests.factories import CARD, approved
from tests.serving.in_a_store import settings, store  # noqa: F401  - fixtures


def _ask(api: httpx.Client, platform: Platform, **asked: Any) -> httpx.Response:  # noqa: F811
    model = approved(platform, Kind.MODEL, "tiny")
    return api.post("/serving/endpoints", json={"modelId": str(model.id), "environment": "dev", **asked})


def test_a_deployment_says_where_and_how_it_runs_and_the_endpoint_keeps_it(
    platform: Platform, api: httpx.Client  # noqa: F811
) -> None:
    answer = _ask(
        api, platform, backend="kserve", useGpu=True, servingRuntimeImage="vllm/vllm-openai:v0.11.0",
        imagePullPolicy="Always", memoryRequest="16Gi", maxReplicas=3, autoscalePolicy={"cpuUtilization": 50},
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    told = answer.json()["data"]
    assert (told["backend"], told["runtimeImage"]) == ("kserve", "vllm/vllm-openai:v0.11.0")
    with platform.transaction(Actor("system:test")) as tx:
        (wanted,) = desired(tx, "kserve")
    assert wanted.config == {
        "useGpu": True, "servingRuntimeImage": "vllm/vllm-openai:v0.11.0", "imagePullPolicy": "Always",
        "memoryRequest": "16Gi", "autoscalePolicy": {"cpuUtilization": 50}, "kserveMode": "raw"}  # fmt: skip


def test_gpus_are_counted_while_there_are_some_and_a_model_may_sleep_on_knative(
    platform: Platform, api: httpx.Client  # noqa: F811
) -> None:
    told = _ask(
        api, platform, backend="kserve", kserveMode="knative", minReplicas=0, maxReplicas=2, useGpu=True, gpuCount=2,
        servingRuntimeImage="vllm/vllm-openai:v0.11.0", autoscalePolicy={"concurrency": 4},
    ).json()["data"]  # fmt: skip
    assert (told["kserveMode"], told["gpuCount"], told["minReplicas"]) == ("knative", 2, 0)

    def built() -> dict[str, Any]:
        with platform.transaction(Actor("system:test")) as tx:
            (wanted,) = desired(tx, "kserve")
        (made,) = manifests.build(placement(wanted), platform.settings)
        return dict(made["spec"]["predictor"])

    before = built()
    assert (before["minReplicas"], before["scaleTarget"]) == (0, 4)
    assert before["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "2"
    changed = api.patch(f"/serving/endpoints/{told['id']}", json={"useGpu": False, "servingRuntimeImage": None})
    assert changed.status_code == 200, changed.text
    assert (changed.json()["data"]["gpuCount"], changed.json()["data"]["kserveMode"]) == (None, "knative")
    assert "nvidia.com/gpu" not in built()["containers"][0]["resources"]["limits"]


def test_what_a_deployment_leaves_open_is_decided_by_the_installation_and_then_stays(
    platform: Platform, api: httpx.Client  # noqa: F811
) -> None:
    told = _ask(api, platform).json()["data"]
    assert (told["backend"], told["runtimeImage"]) == (
        "kubernetes", "ghcr.io/huggingface/text-generation-inference:3.3.6-intel-cpu")  # fmt: skip


def test_however_a_route_is_written_it_is_one_route_with_one_path(
    platform: Platform, api: httpx.Client  # noqa: F811
) -> None:
    cluster = platform.settings.model_copy(update={"serving_ingress_host": "models.example.com"})
    forms = ("chat-model", "/chat-model", " /chat-model/ ", "/llm-ops/v1/serve/chat-model", "chat-model//")
    model = approved(platform, Kind.MODEL, "tiny")
    body = {"modelId": str(model.id), "environment": "dev"}
    made = [api.post("/serving/endpoints", json={**body, "route": form}).json()["data"] for form in forms]
    assert {(each["route"], each["id"]) for each in made} == {("chat-model", made[0]["id"])}
    with platform.transaction(Actor("system:test")) as tx:
        (wanted,) = desired(tx, "kubernetes")
    (ingress,) = [it for it in manifests.build(placement(wanted), cluster) if it["kind"] == "Ingress"]
    assert [it["path"] for it in ingress["spec"]["rules"][0]["http"]["paths"]] == ["/chat-model"]
    assert [it["id"] for it in api.get("/serving/endpoints", params={"route": "/chat-model/"}).json()["data"]] == [
        made[0]["id"]]  # fmt: skip
    for wrong in ("/", "a/b", "Chat", "chat model", "../chat", "-chat", "x" * 64):
        answer = api.post("/serving/endpoints", json={**body, "route": wrong})
        assert (answer.status_code, answer.json()["data"]["errors"][0]["path"]) == (422, "route"), wrong


def test_what_the_catalog_knows_of_a_model_goes_with_it_at_every_roll_out(
    platform: Platform, api: httpx.Client  # noqa: F811
) -> None:
    made = _ask(api, platform).json()["data"]
    for what in ("", "/redeploy"):
        if what:
            assert api.post(f"/serving/endpoints/{made['id']}{what}").status_code == 200
        with platform.transaction(Actor("system:test")) as tx:
            (wanted,) = desired(tx, "kubernetes")
        assert placement(wanted).metadata == CARD


def test_endpoints_are_listed_by_environment_model_status_and_route(
    platform: Platform, api: httpx.Client  # noqa: F811
) -> None:
    models = [approved(platform, Kind.MODEL, name, files={"w.bin": name.encode()}) for name in ("tiny", "other")]
    made = {}
    for model, environment, route in ((0, "dev", "chat"), (0, "stg", "chat"), (1, "dev", "search")):
        body = {"modelId": str(models[model].id), "environment": environment, "route": route, "rollbackPlan": "undo"}
        made[environment, route] = api.post("/serving/endpoints", json=body).json()["data"]["id"]
    seen = Observation(endpoint_id=made["dev", "chat"], revision=1, status=EndpointStatus.HEALTHY, ready=1, total=1)
    with platform.transaction(Actor("system:test")) as tx:
        endpoints.observe(tx, seen)

    def listed(**filters: str) -> list[str]:
        return [each["id"] for each in api.get("/serving/endpoints", params=filters).json()["data"]]

    assert listed() == list(made.values())[::-1]
    assert listed(environment="dev") == [made["dev", "search"], made["dev", "chat"]]
    assert listed(modelId=str(models[0].id)) == [made["stg", "chat"], made["dev", "chat"]]
    assert listed(status="healthy") == [made["dev", "chat"]]
    assert listed(status="deploying", route="chat") == [made["stg", "chat"]]
    assert listed(routeContains="sear", environment="stg") == []
    assert api.get("/serving/endpoints", params={"status": "ill"}).status_code == 422
    whole = api.get(f"/serving/endpoints/{made['stg', 'chat']}").json()["data"]
    assert {"route", "status", "minReplicas", "maxReplicas", "autoscalePolicy", "modelName", "version", "rollbackPlan",
            "promptPolicyId", "lastHealthCheck", "runtimeImage"} <= whole.keys()  # fmt: skip


@pytest.mark.parametrize(("asked", "field"), [
    ({"backend": "nomad"}, "backend"), ({"servingRuntimeImage": "x; rm -rf /"}, "servingRuntimeImage"),
    ({"imagePullPolicy": "Sometimes"}, "imagePullPolicy"), ({"memoryLimit": "lots"}, "memoryLimit"),
    ({"memoryRequest": "8Gi", "memoryLimit": "4Gi"}, "memoryLimit"), ({"cpuLimit": "$(X)"}, "cpuLimit"),
    ({"autoscalePolicy": {"cpuUtilization": 0}}, "autoscalePolicy.cpuUtilization"),
    ({"gpuCount": 2, "useGpu": False}, "gpuCount"), ({"gpuCount": 0, "useGpu": True}, "gpuCount"),
    ({"backend": "kserve", "kserveMode": "fast"}, "kserveMode"),
    ({"backend": "local", "servingRuntimeImage": "vllm/vllm-openai:v0.11.0"}, "servingRuntimeImage"),
])  # fmt: skip
def test_a_wish_that_cannot_be_met_is_refused_with_its_field(
    platform: Platform, api: httpx.Client, asked: dict[str, Any], field: str  # noqa: F811
) -> None:
    answer = _ask(api, platform, **asked)
    assert answer.status_code == 422
    assert field in [problem["path"].removeprefix("body.") for problem in answer.json()["data"]["errors"]]


def test_the_images_to_choose_from_begin_with_the_one_that_is_advised(api: httpx.Client) -> None:  # noqa: F811
    told = api.get("/serving/runtimes").json()["data"]
    assert told[0]["runtime"] == "vllm"
    assert "maintenance" in next(row["note"] for row in told if row["runtime"] == "tgi")


def test_each_change_of_what_was_seen_is_an_event_and_only_the_latest_are_kept(
    platform: Platform, api: httpx.Client, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    monkeypatch.setattr(events, "KEPT", 3)
    endpoint_id = _ask(api, platform).json()["data"]["id"]
    for detail in ("a", "a", "b", "c", "d"):
        seen = Observation(endpoint_id=endpoint_id, revision=1, status=EndpointStatus.DEPLOYING, detail=detail)
        with platform.transaction(Actor("system:test")) as tx:
            endpoints.observe(tx, seen)
            events.forget(tx, seen.endpoint_id)
    told = api.get(f"/serving/endpoints/{endpoint_id}/events").json()["data"]
    assert [event["detail"] for event in told] == ["d", "c", "b"]
    assert {"revision", "status", "at"} <= told[0].keys()


def test_the_command_line_says_where_and_how_too_and_shows_images_and_events(
    platform: Platform, llmops: Shell  # noqa: F811
) -> None:
    approved(platform, Kind.MODEL, "tiny")
    told = llmops.json(
        "endpoints", "deploy", "tiny", "chat", "--backend", "kserve", "--gpu", "--image", "vllm/vllm-openai:v0.11.0",
        "--replicas", "1-4", "--cpu", "2", "--memory", "8Gi-16Gi", "--no-wait",
    )  # fmt: skip
    assert (told["backend"], told["minReplicas"], told["maxReplicas"]) == ("kserve", 1, 4)
    with platform.transaction(Actor("system:test")) as tx:
        (wanted,) = desired(tx, "kserve")
        seen = Observation(endpoint_id=wanted.endpoint_id, revision=1, status=EndpointStatus.FAILED, detail="no image")
        endpoints.observe(tx, seen)
    asked = {key: wanted.config[key] for key in ("cpuRequest", "cpuLimit", "memoryRequest", "memoryLimit")}
    assert asked == {"cpuRequest": "2", "cpuLimit": "2", "memoryRequest": "8Gi", "memoryLimit": "16Gi"}
    assert "no image" in llmops("endpoints", "events", str(wanted.endpoint_id))
    assert "vllm/vllm-openai" in llmops("endpoints", "runtimes")
