"""The intake of a cluster: a training row's run is the pod its job asks for, and no pod outlives its row."""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.tags import RUN_KEY_TAG

from llmops_assets import run_pods
from llmops_assets.claims import WORK_TAG
from llmops_assets.intake import take_in
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.checks import validations
from llmops_resources.cluster import Cluster
from llmops_resources.database import Actor
from llmops_resources.platform import Platform
from llmops_resources.training import failures, job, jobs, moves, submission
from llmops_resources.training.failures import RootCause
from llmops_resources.training.jobs import Job
from llmops_resources.training.profile import ResourceProfile, SubmittedType
from llmops_resources.training.recipe import Recipe
from llmops_resources.work import WorkStatus
from tests.cluster.jobs import settings
from tests.cluster.kube_api import Fault, KubeApi
from tests.factories import approved, uploaded

KNOWN = frozenset({("models", "tiny"), ("datasets", "facts")})
TINY = {"architecture": {"hiddenSize": 16, "layers": 1, "vocabSize": 300, "contextLength": 64}, "textColumn": "answer"}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def local(platform: Platform) -> Platform:
    return platform


@pytest.fixture
def clustered(platform: Platform, served: tuple[KubeApi, str]) -> Platform:
    own = settings(
        training_backend="kubernetes", kubernetes_server=served[1], secret_key="k" * 40, training_gpu_capacity="a100:8"
    )
    return dataclasses.replace(platform, settings=own)


def _submitted(platform: Platform, admin: Actor, **profile: Any) -> Job:
    """A queued job; with `gpu` on an installation of eight A100."""
    dataset = approved(platform, Kind.DATASET, "facts")
    gpu = bool(profile.pop("gpu", False))
    wanted = ResourceProfile.model_validate(profile)
    processes, nodes = wanted.processes if gpu else wanted.nodes, wanted.nodes
    kind = SubmittedType.DISTRIBUTED if max(processes, nodes) > 1 else None
    recipe = Recipe.from_hyperparameters("from_scratch", TINY, use_gpu=gpu, processes=processes)
    terms = submission.Terms(kind=kind, use_gpu=gpu, resource_profile=wanted)
    with platform.transaction(admin) as tx:
        return submission.submit(
            tx, recipe=recipe, dataset_id=dataset.id, output_model_name="tiny", terms=terms,
            capacity={"a100": 8, "cpu": 1},
        )  # fmt: skip


def _requests(instance: dg.DagsterInstance, platform: Platform, room: Any = jobs) -> list[dg.RunRequest]:
    result = take_in(instance, platform, room, KNOWN)
    return list(result.run_requests or []) if result else []


def _state(platform: Platform, admin: Actor, made: Job) -> Any:
    with platform.transaction(admin) as tx:
        return jobs.get(tx, made.id).state


def _job_object(made: Job, *, attempt: int = 1, run_id: str = "r1") -> dict[str, Any]:
    """The Job that Dagster's launcher makes for a run of `made`."""
    wanted = job.node_job(job.ask_of(made), settings(), minikube=False)
    wanted["metadata"] = {"name": f"dagster-run-{run_id}-{attempt}", "labels": {
        **wanted["metadata"]["labels"], "llmops/attempt": str(attempt), "dagster/run-id": run_id}}  # fmt: skip
    return wanted


def test_a_training_run_carries_what_its_pod_needs(
    clustered: Platform, admin: Actor, instance: dg.DagsterInstance
) -> None:
    made = _submitted(clustered, admin, gpu=True, gpuCount=2, gpuType="a100", maxDuration=45)
    (request,) = _requests(instance, clustered)
    assert request.run_key == request.tags[WORK_TAG] == f"{made.id}:1"
    config = json.loads(request.tags[job.K8S_CONFIG])
    assert config["container_config"]["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert config["job_spec_config"]["activeDeadlineSeconds"] == 45 * 60 + 600
    assert config["job_metadata"]["labels"]["llmops/job"] == str(made.id)


def test_a_job_of_several_gpu_nodes_is_launched_by_a_small_run_and_starts_as_many_processes_as_its_recipe_has(
    clustered: Platform, admin: Actor, instance: dg.DagsterInstance
) -> None:
    made = _submitted(clustered, admin, gpu=True, gpuCount=2, nodes=2)
    (request,) = _requests(instance, clustered)
    assert "nvidia.com/gpu" not in request.tags[job.K8S_CONFIG]
    wanted = job.ask_of(made)
    assert (wanted.nodes, wanted.processes, wanted.gpu_type) == (2, 2, "a100")
    assert wanted.nodes * wanted.processes == made.recipe.processes


def test_a_minikube_is_noticed_and_its_host_is_the_apis_address(
    clustered: Platform, admin: Actor, instance: dg.DagsterInstance, api: KubeApi
) -> None:
    labels = {"minikube.k8s.io/name": "minikube"}
    api.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "minikube", "labels": labels}})
    _submitted(clustered, admin)
    (request,) = _requests(instance, clustered)
    config = json.loads(request.tags[job.K8S_CONFIG])
    assert {"name": "API_BASE_URL", "value": "http://host.minikube.internal:8000/llm-ops/v1"} in config[
        "container_config"]["env"]  # fmt: skip


def test_on_one_machine_and_for_other_work_a_run_carries_nothing_of_kubernetes(
    local: Platform, clustered: Platform, admin: Actor, instance: dg.DagsterInstance
) -> None:
    _submitted(local, admin)
    (request,) = _requests(instance, local)
    assert job.K8S_CONFIG not in request.tags
    dataset = uploaded(local, Kind.DATASET, "facts", version="2")
    with local.transaction(admin) as tx:
        validations.request(tx, dataset.id)
    (request,) = _requests(instance, clustered, validations)
    assert job.K8S_CONFIG not in request.tags


def test_a_job_that_no_node_can_hold_fails_with_what_would_be_right(
    clustered: Platform, admin: Actor, instance: dg.DagsterInstance
) -> None:
    made = _submitted(clustered, admin, memory="1Ti")
    assert _requests(instance, clustered) == []
    state = _state(clustered, admin, made)
    assert state.status is WorkStatus.FAILED
    assert "at most 16Gi" in (state.error or "")


def test_a_cluster_that_is_away_delays_a_row_and_loses_nothing(
    clustered: Platform, admin: Actor, instance: dg.DagsterInstance
) -> None:
    made = _submitted(clustered, admin)
    own = clustered.settings.model_copy(update={"kubernetes_server": "http://127.0.0.1:1"})
    assert len(_requests(instance, dataclasses.replace(clustered, settings=own))) == 1  # nobody needs to be asked
    assert _state(clustered, admin, made).status is WorkStatus.QUEUED


def test_a_pod_may_wait_longer_for_its_image_than_a_process_for_its_start(
    clustered: Platform, admin: Actor, instance: dg.DagsterInstance
) -> None:
    made = _submitted(clustered, admin)
    graph = dg.GraphDefinition(name="any").to_job()
    run = instance.create_run_for_job(
        graph, tags={RUN_KEY_TAG: f"{made.id}:1"}, status=dg.DagsterRunStatus.STARTING
    )  # fmt: skip
    assert run_pods.NEVER_BEGAN >= 1800
    assert _requests(instance, clustered) == []
    assert _state(clustered, admin, made).attempt == 1
    assert instance.get_run_by_id(run.run_id) is not None


def _died(status: str, **ended: Any) -> dict[str, Any]:
    return {"phase": "Failed", **ended, "containerStatuses": [{"name": "d", "state": {
        "terminated": {"exitCode": 137, "reason": status, "finishedAt": "2026-01-01T00:00:00Z"}}}]}  # fmt: skip


PULLING = {"phase": "Pending", "containerStatuses": [
    {"name": "d", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]}  # fmt: skip
PREEMPTED = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
NO_ROOM = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes: Insufficient memory"}


@pytest.mark.parametrize(
    ("seen", "cause", "again"),
    [
        (_died("OOMKilled"), RootCause.OUT_OF_MEMORY, False),
        (_died("Error", reason="DeadlineExceeded"), RootCause.TIMEOUT, False),
        (PULLING, RootCause.IMAGE_PULL, False),
        ({"phase": "Pending", "conditions": [NO_ROOM]}, RootCause.UNSCHEDULABLE, False),
        (_died("Error", conditions=[PREEMPTED]), RootCause.PREEMPTION, True),
        (_died("Error"), RootCause.INFRASTRUCTURE, True),
    ],
    ids=str,
)
def test_the_job_of_a_dead_pod_carries_the_root_cause_and_is_tried_again_only_if_that_may_help(
    clustered: Platform, admin: Actor, instance: dg.DagsterInstance, api: KubeApi,
    seen: dict[str, Any], cause: RootCause, again: bool,
) -> None:  # fmt: skip
    made = _submitted(clustered, admin)
    graph = dg.GraphDefinition(name="any").to_job()
    run = instance.create_run_for_job(graph, tags={RUN_KEY_TAG: f"{made.id}:1"}, status=dg.DagsterRunStatus.FAILURE)
    labels = {"dagster/run-id": run.run_id}
    api.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "dagster-run-x", "labels": labels},
             "status": seen})  # fmt: skip
    _requests(instance, clustered)
    with clustered.transaction(admin) as tx:
        ended = jobs.get(tx, made.id)
    assert ended.failure is not None
    assert (ended.failure.tag, ended.failure.remedy) == (cause, failures.REMEDIES[cause])
    if again:
        assert (ended.state.status, ended.state.attempt) == (WorkStatus.QUEUED, 2)
        assert cause.value in ended.state.progress_message
    else:
        assert (ended.state.status, ended.state.attempt) == (WorkStatus.FAILED, 1)
        assert ended.failure.remedy in (ended.state.error or "")


def test_a_cancelled_job_whose_pod_died_is_cancelled_and_not_failed(
    clustered: Platform, admin: Actor, instance: dg.DagsterInstance
) -> None:
    made = _submitted(clustered, admin)
    assert _requests(instance, clustered)  # the queue lets it go
    with clustered.transaction(admin) as tx:
        jobs.claim(tx, made.id, attempt=1, run_id="r1")
        moves.cancel(tx, made.id)
        jobs.end_dead(tx, made.id, attempt=1, reason="its process died", why=failures.of_exit(None, oom_killed=True))
        ended = jobs.get(tx, made.id)
    assert (ended.state.status, ended.failure) == (WorkStatus.CANCELLED, None)


def test_a_run_whose_pod_is_gone_or_cannot_be_asked_is_put_back_all_the_same(
    clustered: Platform, admin: Actor, instance: dg.DagsterInstance, api: KubeApi
) -> None:
    made = _submitted(clustered, admin)
    graph = dg.GraphDefinition(name="any").to_job()
    instance.create_run_for_job(graph, tags={RUN_KEY_TAG: f"{made.id}:1"}, status=dg.DagsterRunStatus.FAILURE)
    api.faults.append(Fault("pods", times=9, status=401))
    _requests(instance, clustered)
    assert _state(clustered, admin, made).attempt == 2


def test_a_cancelled_jobs_waiting_pod_is_removed_and_a_living_ones_is_not(
    clustered: Platform, admin: Actor, api: KubeApi, cluster: Cluster
) -> None:
    made = _submitted(clustered, admin)
    api.put(_job_object(made))
    stranger = _job_object(made, run_id="r2")
    stranger["metadata"]["labels"]["llmops/job"] = "11111111-2222-4333-8444-555555555555"
    api.put(stranger)
    assert run_pods.remove_leftovers(clustered, cluster) == 0
    with clustered.transaction(admin) as tx:
        moves.cancel(tx, made.id)
    assert run_pods.remove_leftovers(clustered, cluster) == 1
    assert api.names("Job") == [stranger["metadata"]["name"]]


def test_the_job_of_an_attempt_that_nobody_will_take_over_is_removed(
    clustered: Platform, admin: Actor, api: KubeApi, cluster: Cluster
) -> None:
    made = _submitted(clustered, admin)
    for attempt in (1, 2):
        api.put(_job_object(made, attempt=attempt))
        with clustered.transaction(admin) as tx:
            jobs.retry_dead(tx, made.id, attempt=attempt, reason="its process died")
    assert _state(clustered, admin, made).attempt == 3
    assert run_pods.remove_leftovers(clustered, cluster) == 1
    assert api.names("Job") == ["dagster-run-r1-2"]


def test_leftovers_are_looked_for_now_and_then_and_only_in_a_cluster(
    local: Platform, clustered: Platform, admin: Actor, api: KubeApi
) -> None:
    made = _submitted(clustered, admin)
    api.put(_job_object(made))
    with clustered.transaction(admin) as tx:
        moves.cancel(tx, made.id)
    assert run_pods.Leftovers(local).look() == 0
    leftovers = run_pods.Leftovers(clustered)
    assert leftovers.look() == 1
    asked = len(api.requests)
    assert leftovers.look() == 0
    assert len(api.requests) == asked
    api.down = True
    assert run_pods.Leftovers(dataclasses.replace(clustered)).look() == 0
