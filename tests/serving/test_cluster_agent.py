"""The cluster's agent against a server that speaks Kubernetes and misbehaves on request, on a real database."""

import threading
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from llmops_assets.serving import cluster_agent, local_agent
from llmops_assets.serving.cluster_agent import ClusterAgent
from llmops_resources.catalog import approvals
from llmops_resources.catalog.lifecycle import Kind, Status
from llmops_resources.catalog.versions import Version
from llmops_resources.cluster import Cluster
from llmops_resources.database import Actor
from llmops_resources.errors import Unavailable
from llmops_resources.gateway import routes
from llmops_resources.platform import Platform
from llmops_resources.serving import deployments, endpoints, parity, revisions
from llmops_resources.serving.endpoints import Endpoint, Environment
from llmops_resources.serving.options import Options, decide
from llmops_resources.values import utc_now
from tests.cluster.conftest import api, cluster, served  # noqa: F401  - fixtures
from tests.cluster.kube_api import Fault, KubeApi
from tests.factories import approved
from tests.serving.cluster_things import container, ready, start_pods, workload_pods
from tests.serving.in_a_store import settings, store  # noqa: F401  - fixtures


@pytest.fixture
def agent(platform: Platform, cluster: Cluster) -> ClusterAgent:  # noqa: F811
    return ClusterAgent(platform, cluster)


def _deploy(platform: Platform, model: Version, *, backend: str = "kubernetes", route: str = "chat",
            environment: Environment = Environment.DEV, replicas: int = 1, **asked: Any) -> Endpoint:  # fmt: skip
    options = decide(platform.settings, backend, Options(**asked))
    with platform.transaction(Actor("local-admin", frozenset({"admin"}))) as tx:
        return endpoints.deploy(tx, model_id=model.id, environment=environment, backend=backend, route=route,
                                min_replicas=replicas, max_replicas=replicas, config=options.config,
                                rollback_plan="roll back")  # fmt: skip


def _get(platform: Platform, endpoint_id: UUID) -> Endpoint:
    with platform.transaction(Actor("system:test")) as tx:
        return endpoints.get(tx, endpoint_id)


def _deprecate(platform: Platform, admin: Actor, model: Version) -> None:
    with platform.transaction(admin) as tx:
        approvals.change_status(tx, model.id, Status.DEPRECATED)


def _kinds(api: KubeApi) -> set[str]:  # noqa: F811
    return {kind for kind, _ in api.objects}


@pytest.mark.parametrize(("backend", "made", "host"), [
    ("kubernetes", {"Deployment", "Service"}, "{name}.llm-ops-dev"),
    ("kserve", {"InferenceService"}, "{name}-predictor.llm-ops-dev"),
])  # fmt: skip
def test_an_endpoint_is_applied_becomes_healthy_and_has_an_address_for_the_gateway(
    platform: Platform, agent: ClusterAgent, api: KubeApi, backend: str, made: set[str], host: str  # noqa: F811
) -> None:
    model = approved(platform, Kind.MODEL, "tiny")
    endpoint = _deploy(platform, model, backend=backend)
    agent.step()
    assert _kinds(api) == made
    assert str(_get(platform, endpoint.id).status) == "deploying"
    start_pods(api, **container(state={"running": {}}))
    agent.step()
    assert "loads the model" in _get(platform, endpoint.id).status_detail
    (pod,) = workload_pods(api)
    api.pod_status(pod, **ready())
    agent.step()
    seen = _get(platform, endpoint.id)
    name = next(name for kind, name in api.objects if kind in {"Deployment", "InferenceService"})
    assert (str(seen.status), seen.base_url) == ("healthy", f"http://{host.format(name=name)}.svc.cluster.local")
    assert (seen.replicas.ready, seen.replicas.total) == (1, 1)
    assert (seen.runtime_image or "").startswith("ghcr.io/huggingface/text-generation-inference:")
    with platform.transaction(Actor("system:test")) as tx:
        target = routes.load(tx, platform.settings).serving("chat")
    assert target.url("/v1/chat/completions") == f"{seen.base_url}/v1/chat/completions"


def test_what_is_as_it_should_be_is_not_applied_again(platform: Platform, agent: ClusterAgent, api: KubeApi) -> None:  # noqa: F811
    _deploy(platform, approved(platform, Kind.MODEL, "tiny"))
    agent.step()
    before = len(api.bodies)
    agent.step()
    assert len(api.bodies) == before


def test_what_somebody_changed_by_hand_or_removed_is_put_right(
    platform: Platform, agent: ClusterAgent, api: KubeApi, cluster: Cluster, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    _deploy(platform, approved(platform, Kind.MODEL, "tiny"))
    agent.step()
    (name,) = api.names("Service")
    api.delete("Service", name)
    api.patch("Deployment", name, {"spec": {"replicas": 7}}, make=False)
    agent.step()
    assert api.names("Service") == [name]
    monkeypatch.setattr(cluster_agent, "RESYNC", 0.0)
    agent.step()
    assert api.get("Deployment", name)["spec"]["replicas"] == 1


def test_a_withdrawn_approval_takes_the_endpoint_out_of_traffic_and_out_of_the_cluster_within_seconds(
    platform: Platform, admin: Actor, agent: ClusterAgent, api: KubeApi  # noqa: F811
) -> None:
    model = approved(platform, Kind.MODEL, "tiny")
    endpoint = _deploy(platform, model)
    agent.step()
    start_pods(api, **ready())
    agent.step()
    assert _get(platform, endpoint.id).base_url
    began = time.monotonic()
    _deprecate(platform, admin, model)
    agent.step()
    assert time.monotonic() - began + cluster_agent.PERIOD < 10
    seen = _get(platform, endpoint.id)
    assert (str(seen.status), seen.base_url) == ("failed", None)
    assert "withdrawn" in seen.status_detail
    assert api.objects == {}
    order = [line.split()[1].split("/")[-2] for line in api.requests if line.startswith("DELETE")]
    assert order == ["services", "deployments"]  # traffic first


def test_a_withdrawal_is_noted_even_while_the_cluster_is_away_and_carried_out_when_it_is_back(
    platform: Platform, admin: Actor, agent: ClusterAgent, api: KubeApi  # noqa: F811
) -> None:
    model = approved(platform, Kind.MODEL, "tiny")
    endpoint = _deploy(platform, model)
    agent.step()
    start_pods(api, **ready())
    agent.step()
    _deprecate(platform, admin, model)
    api.down = True
    with pytest.raises(Unavailable):
        agent.step()
    assert _get(platform, endpoint.id).base_url is None
    api.down = False
    agent.step()
    assert api.objects == {}


def test_one_removal_that_fails_holds_up_no_other_and_is_tried_again(
    platform: Platform, admin: Actor, agent: ClusterAgent, api: KubeApi  # noqa: F811
) -> None:
    endpoint = _deploy(platform, approved(platform, Kind.MODEL, "tiny"))
    agent.step()
    with platform.transaction(admin) as tx:
        endpoints.delete(tx, endpoint.id)
    fault = Fault("DELETE .*services/", times=5, status=500)
    api.faults.append(fault)
    agent.step()
    assert (fault.times, _kinds(api)) == (0, {"Service"})
    agent.step()
    assert api.objects == {}


def test_an_object_that_is_gone_already_is_no_failure_of_a_deletion(
    platform: Platform, admin: Actor, agent: ClusterAgent, api: KubeApi  # noqa: F811
) -> None:
    endpoint = _deploy(platform, approved(platform, Kind.MODEL, "tiny"), backend="kserve")
    agent.step()
    with platform.transaction(admin) as tx:
        endpoints.delete(tx, endpoint.id)
    api.faults.append(Fault("DELETE", status=404, message="not found"))
    agent.step()
    assert agent.step() is None


def test_an_agent_that_was_killed_leaves_nothing_behind_that_the_next_does_not_find(
    platform: Platform, admin: Actor, agent: ClusterAgent, api: KubeApi, cluster: Cluster  # noqa: F811
) -> None:
    endpoint = _deploy(platform, approved(platform, Kind.MODEL, "tiny"), environment=Environment.STG)
    agent.step()
    with platform.transaction(admin) as tx:
        endpoints.delete(tx, endpoint.id)
    ClusterAgent(platform, cluster).step()
    assert api.objects == {}


@pytest.mark.parametrize("fault", [
    Fault("PATCH", times=1, drop=True), Fault("PATCH", times=1, drop=True, after=True),
    Fault("PATCH", times=3, status=500), Fault("PATCH", times=1, status=429, headers={"Retry-After": "1"}),
])  # fmt: skip
def test_a_passing_failure_while_applying_is_overcome_in_one_pass(
    platform: Platform, agent: ClusterAgent, api: KubeApi, fault: Fault  # noqa: F811
) -> None:
    _deploy(platform, approved(platform, Kind.MODEL, "tiny"))
    api.faults.append(fault)
    agent.step()
    assert (_kinds(api), fault.times) == ({"Deployment", "Service"}, 0)


@pytest.mark.parametrize(("fault", "said"), [
    (Fault("PATCH .*services", status=409, message="the object has been modified"), "been modified"),
    (Fault("PATCH .*services", status=403, message='"x" is forbidden: exceeded quota: services'), "quota raised"),
    (Fault("PATCH .*services", status=422, message="spec.ports: required"), "Correct the manifest"),
])  # fmt: skip
def test_a_refusal_is_shown_with_its_remedy_and_tried_again_after_a_pause(
    platform: Platform, agent: ClusterAgent, api: KubeApi, monkeypatch: pytest.MonkeyPatch, fault: Fault, said: str  # noqa: F811
) -> None:
    endpoint = _deploy(platform, approved(platform, Kind.MODEL, "tiny"))
    api.faults.append(fault)
    now = time.monotonic()  # however slow the machine is
    monkeypatch.setattr(cluster_agent.time, "monotonic", lambda: now)
    agent.step()
    seen = _get(platform, endpoint.id)
    assert (str(seen.status), said in seen.status_detail) == ("failed", True), seen.status_detail
    agent.step()
    assert _kinds(api) == {"Deployment"}  # the pause is not over
    monkeypatch.setattr(cluster_agent.time, "monotonic", lambda: now + 5)
    agent.step()
    assert _kinds(api) == {"Deployment", "Service"}


def test_one_endpoint_that_is_refused_holds_up_no_other(platform: Platform, agent: ClusterAgent, api: KubeApi) -> None:  # noqa: F811
    model = approved(platform, Kind.MODEL, "tiny")
    first, second = _deploy(platform, model, route="first"), _deploy(platform, model, route="second")
    api.faults.append(Fault("PATCH .*serve-first", times=9, status=422, message="no"))
    agent.step()
    start_pods(api, **ready())
    agent.step()
    assert [str(_get(platform, e.id).status) for e in (first, second)] == ["failed", "healthy"]


def test_a_cluster_that_cannot_be_reached_changes_nothing_that_was_observed(
    platform: Platform, agent: ClusterAgent, api: KubeApi  # noqa: F811
) -> None:
    running = _deploy(platform, approved(platform, Kind.MODEL, "tiny"))
    agent.step()
    start_pods(api, **ready())
    agent.step()
    waiting = _deploy(platform, approved(platform, Kind.MODEL, "small"), route="other")
    api.down = True
    with pytest.raises(Unavailable):
        agent.step()
    assert (str(_get(platform, running.id).status), bool(_get(platform, running.id).base_url)) == ("healthy", True)
    told = _get(platform, waiting.id)
    assert (str(told.status), "cannot be reached" in told.status_detail) == ("deploying", True)


def test_what_found_no_gpu_in_time_is_served_on_cpus_and_the_history_says_why(
    api: KubeApi, platform: Platform, cluster: Cluster  # noqa: F811
) -> None:
    patient = platform.settings.model_copy(update={"serving_gpu_fallback_minutes": 10.0})
    agent, model = ClusterAgent(replace(platform, settings=patient), cluster), approved(platform, Kind.MODEL, "tiny")
    dev, stg = (
        _deploy(platform, model, environment=environment, use_gpu=True, gpu_count=2)
        for environment in (Environment.DEV, Environment.STG)
    )
    agent.step()
    said = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    for minutes, revision in ((5, 1), (11, 2)):
        since = (utc_now() - timedelta(minutes=minutes)).isoformat()
        waits = {"type": "PodScheduled", "status": "False", "message": said, "lastTransitionTime": since}
        for name in start_pods(api, phase="Pending", conditions=[waits]):
            if api.get("Pod", name)["metadata"]["labels"]["llmops/endpoint"] == str(dev.id):
                api.pod_status(name, **ready())
        agent.step()
        assert (_get(platform, dev.id).revision, _get(platform, stg.id).revision) == (1, revision)
    told = _get(platform, stg.id)
    assert (told.use_gpu, told.gpu_count) == (False, None)
    with platform.transaction(Actor("system:test")) as tx:
        last = deployments.search(tx, stg.id).items[0]
        written = {it.field: it.reason for it in parity.of_route(tx, "chat")[0].drifts}
    why = "no GPU was free for 10 minutes: served on CPUs"
    assert (last.note, last.state.requested_by) == (why, "system:cluster-agent")
    assert written == {"useGpu": why, "servingRuntimeImage": why}
    agent.step()
    assert _get(platform, stg.id).revision == 2


def test_an_inference_service_is_made_anew_to_run_through_knative_and_is_left_alone_after(
    agent: ClusterAgent, api: KubeApi, platform: Platform  # noqa: F811
) -> None:
    model = approved(platform, Kind.MODEL, "tiny")
    endpoint = _deploy(platform, model, backend="kserve")
    agent.step()
    (name,) = api.names("InferenceService")
    first = api.get("InferenceService", name)["metadata"]["uid"]
    _deploy(platform, model, backend="kserve", kserve_mode="knative")
    agent.step()
    assert api.names("InferenceService") == []  # KServe lets nobody change the mode
    agent.step()
    made = api.get("InferenceService", name)
    assert made["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Serverless"
    assert made["metadata"]["uid"] != first
    made["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] = "Knative"  # as newer ones call it
    api.put(made)
    start_pods(api, **ready())
    agent.step()
    assert str(_get(platform, endpoint.id).status) == "healthy"
    assert api.get("InferenceService", name)["metadata"]["uid"] == made["metadata"]["uid"]


def test_without_kserve_an_inference_service_is_refused_and_deployments_go_on(
    platform: Platform, agent: ClusterAgent, api: KubeApi  # noqa: F811
) -> None:
    model = approved(platform, Kind.MODEL, "tiny")
    lost, fine = _deploy(platform, model, backend="kserve", route="lost"), _deploy(platform, model, route="fine")
    api.kserve = False
    agent.step()
    start_pods(api, **ready())
    agent.step()
    assert "KServe is not installed" in _get(platform, lost.id).status_detail
    assert str(_get(platform, fine.id).status) == "healthy"


def test_what_kserve_makes_of_an_inference_service_is_its_own_affair(
    platform: Platform, agent: ClusterAgent, api: KubeApi  # noqa: F811
) -> None:
    _deploy(platform, approved(platform, Kind.MODEL, "tiny"), backend="kserve")
    agent.step()
    (name,) = api.names("InferenceService")
    service = api.get("InferenceService", name)
    owner = {"kind": "InferenceService", "name": name, "uid": service["metadata"]["uid"]}
    api.put({"apiVersion": "v1", "kind": "Service", "spec": {}, "metadata": {
        "name": f"{name}-predictor", "namespace": "llm-ops-dev", "labels": service["metadata"]["labels"],
        "ownerReferences": [owner]}})  # fmt: skip
    agent.step()
    assert api.names("Service") == [f"{name}-predictor"]


def test_rolled_back_it_serves_the_earlier_revision_and_scaled_to_zero_it_keeps_its_objects(
    platform: Platform, admin: Actor, agent: ClusterAgent, api: KubeApi  # noqa: F811
) -> None:
    first, second = approved(platform, Kind.MODEL, "tiny"), approved(platform, Kind.MODEL, "tiny", version="2",
                                                                     files={"w.bin": b"2"})  # fmt: skip
    endpoint = _deploy(platform, first, use_gpu=False)
    agent.step()
    _deploy(platform, second, backend="kserve")
    agent.step()
    assert _kinds(api) == {"InferenceService"}  # the new one was made before the old ones went
    with platform.transaction(admin) as tx:
        revisions.rollback(tx, platform.settings, endpoint.id)
    agent.step()
    assert _kinds(api) == {"Deployment", "Service"}
    (name,) = api.names("Deployment")
    said = api.get("Deployment", name)["spec"]["template"]["metadata"]["annotations"]
    assert (said["llmops/digest"], said["llmops/revision"]) == (first.digest, "3")
    with platform.transaction(admin) as tx:
        endpoints.delete(tx, endpoint.id)
    alone = _deploy(platform, second, route="alone")
    with platform.transaction(admin) as tx:
        revisions.rollback(tx, platform.settings, alone.id)
    agent.step()
    (name,) = api.names("Deployment")
    assert api.get("Deployment", name)["spec"]["replicas"] == 0
    agent.step()
    assert str(_get(platform, alone.id).status) == "stopped"
    with platform.transaction(admin) as tx:
        revisions.redeploy(tx, platform.settings, alone.id)
    agent.step()
    assert api.get("Deployment", name)["spec"]["replicas"] == 1


def test_replicas_of_an_earlier_model_that_was_withdrawn_go_before_the_new_one_comes(
    platform: Platform, admin: Actor, agent: ClusterAgent, api: KubeApi  # noqa: F811
) -> None:
    first, second = approved(platform, Kind.MODEL, "tiny"), approved(platform, Kind.MODEL, "small",
                                                                     files={"w.bin": b"2"})  # fmt: skip
    endpoint = _deploy(platform, first)
    agent.step()
    start_pods(api, **ready())
    agent.step()
    _deploy(platform, second)
    agent.step()
    assert str(_get(platform, endpoint.id).status) == "degraded"  # the earlier one answers meanwhile
    assert len(workload_pods(api)) == 1
    _deprecate(platform, admin, first)
    agent.step()
    assert workload_pods(api) == []
    assert _get(platform, endpoint.id).base_url is None
    agent.step()
    start_pods(api, **ready())
    agent.step()
    seen = _get(platform, endpoint.id)
    assert (str(seen.status), seen.model_digest) == ("healthy", second.digest)


def test_a_file_that_no_pod_can_fetch_is_told_and_nothing_is_applied(
    platform: Platform, agent: ClusterAgent, api: KubeApi  # noqa: F811
) -> None:
    model = approved(platform, Kind.MODEL, "tiny", files={"a file.json": b"1"})
    endpoint = _deploy(platform, model)
    agent.step()
    seen = _get(platform, endpoint.id)
    assert (str(seen.status), "'a file.json' is not a file name" in seen.status_detail) == ("failed", True)
    assert api.objects == {}


def test_a_deployment_that_the_quota_leaves_without_pods_says_so(
    platform: Platform, agent: ClusterAgent, api: KubeApi  # noqa: F811
) -> None:
    endpoint = _deploy(platform, approved(platform, Kind.MODEL, "tiny"))
    agent.step()
    (name,) = api.names("Deployment")
    refused = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: requests.memory"}
    api.patch("Deployment", name, {"status": {"conditions": [refused]}}, make=False)
    agent.step()
    assert "quota raised" in _get(platform, endpoint.id).status_detail


def test_a_namespace_that_is_closed_to_us_does_not_keep_the_others_from_their_due(
    platform: Platform, agent: ClusterAgent, api: KubeApi  # noqa: F811
) -> None:
    model = approved(platform, Kind.MODEL, "tiny")
    closed, fine = _deploy(platform, model), _deploy(platform, model, environment=Environment.PROD)
    api.faults.append(Fault("/llm-ops-dev/", times=99, status=403, message="deployments is forbidden"))
    with pytest.raises(Unavailable, match="forbidden"):
        agent.step()
    start_pods(api, **ready())
    with pytest.raises(Unavailable, match="forbidden"):
        agent.step()
    assert str(_get(platform, fine.id).status) == "healthy"
    assert "deploy/*/rbac.yaml" in _get(platform, closed.id).status_detail


def test_the_agents_process_looks_after_a_cluster_when_one_is_set_up_and_ends_when_told(
    platform: Platform, api: KubeApi, served: tuple[KubeApi, str]  # noqa: F811
) -> None:
    endpoint = _deploy(platform, approved(platform, Kind.MODEL, "tiny"))
    stop = threading.Event()
    own = platform.settings.model_copy(update={"kubernetes_server": served[1]})
    thread = threading.Thread(target=local_agent.run, args=(own, stop))
    thread.start()
    try:
        deadline = time.monotonic() + 30
        while not api.names("Deployment") and time.monotonic() < deadline:
            time.sleep(0.1)
        start_pods(api, **ready())
        while str(_get(platform, endpoint.id).status) != "healthy" and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        stop.set()
        thread.join(20)
    assert str(_get(platform, endpoint.id).status) == "healthy"
    assert not thread.is_alive()
    assert api.names("Deployment")  # it lives on without its agent
