"""A model's way through its assets with the real programs: trained, evaluated, served, withdrawn."""

import json
import threading
import time
import urllib.request
from uuid import UUID

import dagster as dg
import pytest
from sqlalchemy import text

from llmops_assets.claims import ACTOR
from llmops_assets.serving import local_agent
from llmops_resources.catalog import approvals, lineage, versions
from llmops_resources.catalog.lifecycle import Kind, Status
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Actor
from llmops_resources.evaluation import runs
from llmops_resources.evaluation.suite import MetricName, Suite
from llmops_resources.platform import Platform
from llmops_resources.serving import endpoints
from llmops_resources.serving.endpoints import Endpoint, EndpointStatus, Environment
from llmops_resources.training import checkpoints, experiments, jobs, moves, queueing, submission
from llmops_resources.training.failures import RootCause
from llmops_resources.training.jobs import Job
from llmops_resources.training.recipe import Recipe
from llmops_resources.work import WorkStatus
from tests.assets.conftest import Materialize
from tests.factories import approve, approved

FACTS = b"question,answer\n" + b"".join(b"what is number %d?,it is called %d\n" % (i, i) for i in range(60))
TINY = {"architecture": {"hiddenSize": 16, "layers": 1, "vocabSize": 300, "contextLength": 64}, "evaluations": 1}


def _submitted(platform: Platform, admin: Actor, dataset: Version, **changes: object) -> Job:
    recipe = Recipe.from_hyperparameters("from_scratch", {**TINY, "textColumn": "answer", **changes}, use_gpu=False)
    with platform.transaction(admin) as tx:
        job = submission.submit(tx, recipe=recipe, dataset_id=dataset.id, output_model_name="tiny")
        assert queueing.admit_waiting(tx, {"cpu": 1}) == [job.id]
        return job


def _job(platform: Platform, admin: Actor, job_id: UUID) -> Job:
    with platform.transaction(admin) as tx:
        return jobs.get(tx, job_id)


@pytest.mark.slow
def test_a_model_is_trained_evaluated_served_and_withdrawn(
    platform: Platform, admin: Actor, materialize: Materialize, instance: dg.DagsterInstance
) -> None:
    dataset = approved(platform, Kind.DATASET, "facts", files={"part-0001.csv": FACTS})
    job = _submitted(platform, admin, dataset)
    trained = materialize(("models", "tiny"), row=f"{job.id}:1")
    assert trained.success
    with platform.transaction(admin) as tx:
        model = versions.get(tx, job.output_version_id)
        assert [edge.parent_id for edge in lineage.graph(tx, model.id).edges] == [dataset.id]
        assert [metric.name for metric in experiments.of_job(tx, job.id, name="loss")]
    (event,) = trained.asset_materializations_for_node("models_0_tiny")
    assert (event.tags or {})["dagster/data_version"] == model.digest

    assert materialize(("models", "tiny")).success  # by hand: the standing recipe once more
    with platform.transaction(admin) as tx:
        assert [version.version for version in versions.of_name(tx, Kind.MODEL, "tiny")] == ["2", "1"]
        suite = Suite(metrics=(MetricName.EXACT_MATCH, MetricName.F1), sample_size=4, max_new_tokens=4)
        evaluation = runs.request(tx, model_id=model.id, dataset_id=dataset.id, suite=suite)
    assert materialize(("evaluations", "tiny", "facts"), row=f"{evaluation.id}:1").success
    with platform.transaction(admin) as tx:
        result = runs.get(tx, evaluation.id).result
    assert result is not None
    assert result.counts.total == 4
    check = dg.AssetCheckKey(dg.AssetKey(["models", "tiny"]), "gates")
    assert instance.event_log_storage.get_asset_check_execution_history(check, limit=1), "the run reported no check"

    approve(platform, model.id)
    with platform.transaction(admin) as tx:
        endpoint = endpoints.deploy(tx, model_id=model.id, environment=Environment.DEV, backend="local", route="tiny")
    stop = threading.Event()
    agent = threading.Thread(target=local_agent.run, args=(platform.settings, stop))
    agent.start()
    try:
        assert materialize(("endpoints", "dev", "tiny")).success
        served = _observed(platform, endpoint.id, EndpointStatus.HEALTHY)
        assert _completion(served)
        with platform.transaction(admin) as tx:
            approvals.change_status(tx, model.id, Status.DEPRECATED)
        assert "withdrawn" in _observed(platform, endpoint.id, EndpointStatus.FAILED).status_detail
        with pytest.raises(OSError, match="refused"):
            _completion(served)
    finally:
        stop.set()
        agent.join(30)


def test_a_program_that_refuses_its_data_fails_the_job_with_its_own_words(
    platform: Platform, admin: Actor, materialize: Materialize
) -> None:
    dataset = approved(platform, Kind.DATASET, "facts", files={"part-0001.csv": FACTS})
    job = _submitted(platform, admin, dataset, textColumn="nowhere")
    assert not materialize(("models", "tiny"), row=f"{job.id}:1").success
    state = _job(platform, admin, job.id).state
    assert state.status is WorkStatus.FAILED
    assert "has no column nowhere. " in (state.error or "")


def test_a_job_whose_data_lost_its_approval_fails_at_once_and_is_not_tried_again(
    platform: Platform, admin: Actor, materialize: Materialize
) -> None:
    dataset = approved(platform, Kind.DATASET, "facts", files={"part-0001.csv": FACTS})
    job = _submitted(platform, admin, dataset)
    with platform.transaction(admin) as tx:
        approvals.change_status(tx, dataset.id, Status.DEPRECATED)
    assert not materialize(("models", "tiny"), row=f"{job.id}:1").success
    state = _job(platform, admin, job.id).state
    assert (state.status, state.attempt) == (WorkStatus.FAILED, 1)
    assert "not approved" in (state.error or "")


def test_a_cancelled_job_stops_its_program(platform: Platform, admin: Actor, materialize: Materialize) -> None:
    dataset = approved(platform, Kind.DATASET, "facts", files={"part-0001.csv": FACTS})
    job = _submitted(platform, admin, dataset, epochs=1000)

    def cancel_when_running() -> None:
        while _job(platform, admin, job.id).state.status is not WorkStatus.RUNNING:
            time.sleep(0.05)
        with platform.transaction(admin) as tx:
            moves.cancel(tx, job.id)

    canceller = threading.Thread(target=cancel_when_running)
    canceller.start()
    assert not materialize(("models", "tiny"), row=f"{job.id}:1").success
    canceller.join()
    assert _job(platform, admin, job.id).state.status is WorkStatus.CANCELLED


@pytest.mark.slow
def test_a_job_that_was_stopped_goes_on_from_its_checkpoint_in_the_same_bits(
    platform: Platform, admin: Actor, materialize: Materialize
) -> None:
    dataset = approved(platform, Kind.DATASET, "facts", files={"part-0001.csv": FACTS})
    stopped = _submitted(platform, admin, dataset, epochs=300, batchSize=1)

    def stop_while_it_trains() -> None:
        while _job(platform, admin, stopped.id).state.progress < 0.2:
            time.sleep(0.05)
        with platform.transaction(admin) as tx:
            moves.cancel(tx, stopped.id)

    stopper = threading.Thread(target=stop_while_it_trains)
    stopper.start()
    assert not materialize(("models", "tiny"), row=f"{stopped.id}:1").success
    stopper.join()
    (step,) = {entry.key.split("/")[2] for entry in platform.blobs.list(checkpoints.folder(stopped.id))}
    assert int(step) > 0

    with platform.transaction(admin) as tx:
        moves.retry(tx, stopped.id)
        queueing.admit_waiting(tx, {"cpu": 1})
    assert materialize(("models", "tiny"), row=f"{stopped.id}:2").success
    whole = _submitted(platform, admin, dataset, epochs=300, batchSize=1)
    assert materialize(("models", "tiny"), row=f"{whole.id}:1").success
    with platform.transaction(admin) as tx:
        made = [versions.get(tx, _job(platform, admin, job.id).output_version_id) for job in (stopped, whole)]
    digests = [{file.path: file.sha256 for file in model.manifest.files}["model.safetensors"] for model in made]
    assert digests[0] == digests[1]
    verdict = (_job(platform, admin, whole.id).summary or {})["reproduces"]
    assert (verdict["modelId"], verdict["identical"], verdict["differs"]) == (str(made[0].id), True, [])
    assert (_job(platform, admin, stopped.id).summary or {})["attempts"] == 2
    assert not list(platform.blobs.list(checkpoints.ROOT))


@pytest.mark.slow
def test_a_distributed_job_trains_in_two_processes(platform: Platform, admin: Actor, materialize: Materialize) -> None:
    dataset = approved(platform, Kind.DATASET, "facts", files={"part-0001.csv": FACTS})
    recipe = Recipe.from_hyperparameters("from_scratch", {**TINY, "textColumn": "answer"}, use_gpu=False, processes=2)
    with platform.transaction(admin) as tx:
        job = submission.submit(tx, recipe=recipe, dataset_id=dataset.id, output_model_name="tiny")
        queueing.admit_waiting(tx, {"cpu": 1})
    assert materialize(("models", "tiny"), row=f"{job.id}:1").success
    assert _job(platform, admin, job.id).state.status is WorkStatus.SUCCEEDED


def test_a_job_whose_time_is_over_stops_its_program_and_says_so(
    platform: Platform, admin: Actor, materialize: Materialize
) -> None:
    dataset = approved(platform, Kind.DATASET, "facts", files={"part-0001.csv": FACTS})
    job = _submitted(platform, admin, dataset, epochs=1000)

    def a_day_later() -> None:
        while _job(platform, admin, job.id).state.status is not WorkStatus.RUNNING:
            time.sleep(0.05)
        with platform.engine.begin() as connection:
            connection.execute(text("UPDATE training_jobs SET started_at = now() - interval '25 hours'"))

    clock = threading.Thread(target=a_day_later)
    clock.start()
    assert not materialize(("models", "tiny"), row=f"{job.id}:1").success
    clock.join()
    ended = _job(platform, admin, job.id)
    assert (ended.state.status, ended.failure and ended.failure.tag) == (WorkStatus.FAILED, RootCause.TIMEOUT)


def _observed(platform: Platform, endpoint_id: UUID, status: EndpointStatus) -> Endpoint:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with platform.transaction(ACTOR) as tx:
            endpoint = endpoints.get(tx, endpoint_id)
        if endpoint.status is status:
            return endpoint
        time.sleep(0.1)
    pytest.fail(f"the endpoint stayed {endpoint.status}: {endpoint.status_detail}")


def _completion(endpoint: Endpoint) -> str:
    body = json.dumps({"model": endpoint.route, "prompt": "it is", "max_tokens": 4}).encode()
    request = urllib.request.Request(f"{endpoint.base_url}/v1/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["choices"][0])
