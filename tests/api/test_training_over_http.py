"""Training jobs through HTTP: submitted whole or refused with every reason, queued by quota, moved, and cancelled."""

from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from llmops_resources.catalog import evidence, outbox, versions
from llmops_resources.catalog.airlock import AirlockReport
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.database import Actor
from llmops_resources.errors import Conflict, Unavailable, UpstreamFailed
from llmops_resources.platform import Platform
from llmops_resources.settings import Settings
from llmops_resources.training import jobs, queueing
from llmops_resources.training.capacity import capacity_of
from tests.factories import approved

SYSTEM = Actor("system:test")
SMALL = {"architecture": {"hiddenSize": 16, "layers": 1, "vocabSize": 300, "contextLength": 64}}
SHARED: dict[str, Any] = {"jobType": "distributed", "baseJobType": "pretrain"}
ENGINEER = {"X-User-Id": "eve", "X-User-Roles": "ml_engineer"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """An installation with GPUs, which no test uses."""
    hook = {"training_webhook_url": "https://hooks.example/training", "training_webhook_secret": "s" * 32}
    return settings.model_copy(update={"training_gpu_capacity": {"a100": 8, "t4": 2}, **hook})


@pytest.fixture
def without_gpus(settings: Settings) -> None:
    """The same installation after its GPUs were taken away."""
    settings.training_gpu_capacity = {}


@pytest.fixture
def dataset(platform: Platform) -> versions.Version:
    return approved(platform, Kind.DATASET, "facts")


@pytest.fixture
def base(platform: Platform) -> versions.Version:
    return approved(platform, Kind.MODEL, "base", files={"model.safetensors": b"weights"})


def body(dataset: versions.Version, **changes: Any) -> dict[str, Any]:
    asked = {
        "jobType": "from_scratch",
        "datasetId": str(dataset.id),
        "outputModelName": "tiny",
        "hyperparameters": SMALL,
        "resourceProfile": {"gpuCount": 1, "gpuType": "a100", "maxDuration": 60},
    }
    return asked | changes


def submitted(
    api: httpx.Client, dataset: versions.Version, headers: dict[str, str] | None = None, **changes: Any
) -> Any:
    answer = api.post("/training/jobs", json=body(dataset, **changes), headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def problems(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 422, answer.text
    assert all(detail["remedy"] for detail in answer.json()["data"]["errors"])
    return {detail["path"]: detail["problem"] for detail in answer.json()["data"]["errors"]}


def let_go(platform: Platform) -> list[str]:
    with platform.transaction(SYSTEM) as tx:
        return [str(job) for job in queueing.admit_waiting(tx, capacity_of(platform.settings))]


def claim(platform: Platform, job: Any, run: str = "run", attempt: int = 1) -> None:
    with platform.transaction(SYSTEM) as tx:
        jobs.claim(tx, UUID(job["id"]), attempt=attempt, run_id=run)


def fail(platform: Platform, job: Any, error: BaseException, run: str = "run") -> None:
    with platform.transaction(SYSTEM) as tx:
        jobs.fail_because(tx, UUID(job["id"]), run, error)


def queue(api: httpx.Client, **query: str) -> Any:
    return api.get("/training/queue", params=query).json()["data"]


def entry(api: httpx.Client, job: Any) -> Any:
    (found,) = queue(api, jobId=job["id"])["entries"]
    return found


def state(api: httpx.Client, job: Any) -> Any:
    return api.get(f"/training/jobs/{job['id']}").json()["data"]


# -- submitting ------------------------------------------------------------------------------------------------------


def test_a_fine_tuning_job_takes_its_base_model_and_reserves_its_gpus(
    api: httpx.Client, platform: Platform, dataset: versions.Version, base: versions.Version
) -> None:
    profile = {"gpuCount": 1, "gpuType": "A100", "maxDuration": 30}
    job = submitted(
        api, dataset, jobType="finetune", modelId=str(base.id), hyperparameters={}, resourceProfile=profile,
        retryPolicy={"maxRetries": 1, "backoffSeconds": 5}, priority="high", notifications={"onStart": True},
    )  # fmt: skip
    assert (job["jobType"], job["baseJobType"], job["state"]["status"]) == ("finetune", "finetune", "queued")
    assert job["resourceDecision"] == {
        "device": "gpu", "pool": "a100", "units": 1, "fallback": False, "cpuCores": None, "memory": None,
        "reason": "1 a100: it asked for this type",
        "memoryEstimate": "not made: the airlock's evidence of the base model does not say "
        "parameters, vocabSize, hiddenSize, layers, contextLength",
    }  # fmt: skip
    assert (job["priority"], job["priorityClass"], job["team"]) == (50, "high", "research")
    assert job["recipe"]["useGpu"] is True
    assert let_go(platform) == [job["id"]]
    claim(platform, job)
    shown = queue(api)
    assert {"pool": "a100", "capacity": 8, "used": 1, "waiting": 0} in shown["pools"]
    assert shown["teams"][0] == {
        "team": "research", "pool": "a100", "used": 1, "quota": None, "weight": 1.0, "waiting": 0,
    }  # fmt: skip


def test_a_base_model_too_large_for_its_gpu_is_refused_and_the_way_out_is_taken_with_its_estimate(
    api: httpx.Client, platform: Platform, dataset: versions.Version, base: versions.Version
) -> None:
    found = {
        "parameters": 8_030_261_248, "vocabSize": 128_256, "hiddenSize": 4_096, "layers": 32, "contextLength": 8_192,
    }  # fmt: skip
    report = AirlockReport(accepted=True, needs_conversion=False, problems=(), summary=found)
    with platform.transaction(SYSTEM) as tx:
        evidence.attach_airlock(tx, base, report, source_id="test")
    asked: dict[str, Any] = {"jobType": "finetune", "modelId": str(base.id)}
    answer = api.post("/training/jobs", json=body(dataset, **asked, hyperparameters={"optimizer": "adamw"}))
    (detail,) = [it for it in answer.json()["data"]["errors"] if it["path"] == "resourceProfile.gpuType"]
    assert "about 121 GiB are needed a process" in problems(answer)["resourceProfile.gpuType"]
    assert "use lora" in detail["remedy"]
    assert api.get("/training/jobs").json()["data"] == []
    job = submitted(api, dataset, **asked, hyperparameters={"lora": {"rank": 16}, "batchSize": 1})
    told = state(api, job)["resourceDecision"]["memoryEstimate"]
    assert "a process, of the 80 GiB of a100: weights 30.1" in told
    new = submitted(api, dataset)["resourceDecision"]["memoryEstimate"]
    assert new.startswith("about 1.0 GiB a process, of the 80 GiB of a100: weights 0.0, gradients 0.0")
    on_cpus = submitted(api, dataset, useGpu=False, resourceProfile={})
    assert on_cpus["resourceDecision"]["memoryEstimate"] == ""


def test_a_new_model_too_large_for_the_gpu_that_was_chosen_for_it_is_refused(
    api: httpx.Client, dataset: versions.Version
) -> None:
    huge = {"architecture": {"hiddenSize": 8192, "layers": 48, "vocabSize": 32_000}, "batchSize": 1}
    answer = api.post("/training/jobs", json=body(dataset, hyperparameters=huge, resourceProfile={}))
    assert "a100 has 80 GiB" in problems(answer)["resourceProfile.gpuType"]
    assert submitted(api, dataset, resourceProfile={})["resourceDecision"]["pool"] == "a100"


@pytest.mark.parametrize("kind", ["from_scratch", "pretrain"])
def test_training_without_a_base_model_needs_an_architecture_that_holds_together(
    api: httpx.Client, dataset: versions.Version, kind: str
) -> None:
    assert "hyperparameters.architecture" in problems(
        api.post("/training/jobs", json=body(dataset, jobType=kind, hyperparameters={}))
    )
    odd = {"architecture": {"hiddenSize": 16, "layers": 1, "heads": 3}}
    assert "hyperparameters.architecture.heads" in problems(
        api.post("/training/jobs", json=body(dataset, jobType=kind, hyperparameters=odd))
    )
    assert submitted(api, dataset, jobType=kind)["modelId"] is None


def test_a_distributed_job_names_what_it_distributes_and_is_charged_all_its_gpus_at_once(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    profile = {"gpuCount": 2, "nodes": 2, "gpuType": "a100"}
    job = submitted(api, dataset, **SHARED, resourceProfile=profile)
    assert (job["jobType"], job["baseJobType"], job["recipe"]["jobType"]) == ("distributed", "pretrain", "pretrain")
    assert job["resourceDecision"]["units"] == 4
    wide = {"gpuCount": 3, "nodes": 2, "gpuType": "a100"}
    gang = submitted(api, dataset, **SHARED, resourceProfile=wide)
    assert let_go(platform) == [job["id"]]
    assert entry(api, gang)["reason"] == "needs 6 a100, and 4 of 8 are free"


def test_every_problem_of_a_request_is_listed_at_once(api: httpx.Client, dataset: versions.Version) -> None:
    answer = api.post(
        "/training/jobs",
        json=body(
            dataset, jobType="distributed", apiBaseUrl="ftp://elsewhere",
            resourceProfile={"gpuCount": 5_000, "maxDuration": 0, "memory": "lots", "gpus": 1, "gpuType": "cpu"},
        ),
    )  # fmt: skip
    assert set(problems(answer)) == {
        "apiBaseUrl", "baseJobType", "resourceProfile.gpuCount", "resourceProfile.maxDuration",
        "resourceProfile.memory", "resourceProfile.gpus", "resourceProfile.gpuType",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        (SHARED, "resourceProfile.gpuCount"),
        (SHARED | {"useGpu": False, "resourceProfile": {}}, "resourceProfile.nodes"),
        ({"baseJobType": "pretrain"}, "baseJobType"),
        ({"resourceProfile": {"gpuCount": 2}}, "resourceProfile.gpuCount"),
        ({"resourceProfile": {"nodes": 2}}, "resourceProfile.nodes"),
        ({"useGpu": False}, "resourceProfile.gpuCount"),
        ({"resourceProfile": {"gpuCount": 0}}, "resourceProfile.gpuCount"),
        ({"resourceProfile": {"gpuType": "h100"}}, "resourceProfile.gpuType"),
        (
            SHARED | {"resourceProfile": {"gpuCount": 9}, "hyperparameters": SMALL | {"batchSize": 16}},
            "resourceProfile.gpuCount",
        ),
        ({"jobType": "finetune", "hyperparameters": {}}, "modelId"),
        ({"outputModelName": "No Name"}, "outputModelName"),
    ],
)  # fmt: skip
def test_what_can_never_run_is_refused_with_what_would_be_right(
    api: httpx.Client, dataset: versions.Version, changes: dict[str, Any], path: str
) -> None:
    assert path in problems(api.post("/training/jobs", json=body(dataset, **changes)))
    assert api.get("/training/jobs").json()["data"] == []


@pytest.mark.parametrize(
    "changes",
    [{"retryPolicy": {"maxRetries": 4}}, {"priority": 101}, {"priority": "first"}, {"jobType": "magic"}, {"gpus": 1}],
)
def test_fields_outside_their_range_are_refused(
    api: httpx.Client, dataset: versions.Version, changes: dict[str, Any]
) -> None:
    assert api.post("/training/jobs", json=body(dataset, **changes)).status_code == 422


# -- GPUs and CPUs ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("without_gpus")
def test_where_no_gpu_exists_a_gpu_job_runs_on_cpus_and_says_so(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    job = submitted(api, dataset)
    decision = job["resourceDecision"]
    assert (decision["device"], decision["pool"], decision["fallback"]) == ("cpu", "cpu", True)
    assert "has none" in decision["reason"]
    assert (job["useGpu"], job["recipe"]["useGpu"]) == (True, False)
    assert let_go(platform) == [job["id"]]


def test_a_job_without_a_gpu_starts_at_once_while_gpu_jobs_wait_for_theirs(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    profile = {"gpuCount": 8, "gpuType": "a100"}
    holder = submitted(api, dataset, **SHARED, resourceProfile=profile)
    assert let_go(platform) == [holder["id"]]
    waiting = submitted(api, dataset)
    on_cpus = submitted(api, dataset, useGpu=False, resourceProfile={"cpuCores": 2, "memory": "4Gi"})
    assert let_go(platform) == [on_cpus["id"]]
    assert on_cpus["resourceDecision"]["cpuCores"] == 2
    found = entry(api, waiting)
    assert (found["waitsFor"], found["position"]) == ("capacity", 1)
    second = submitted(api, dataset, useGpu=False, resourceProfile={})
    assert let_go(platform) == []
    assert entry(api, second)["reason"] == "needs 1 cpu, and 0 of 1 are free"


def test_a_job_that_names_no_type_gets_the_one_that_is_free(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    holder = submitted(api, dataset, **SHARED, resourceProfile={"gpuCount": 8})
    assert holder["resourceDecision"]["pool"] == "a100"
    assert let_go(platform) == [holder["id"]]
    assert submitted(api, dataset, resourceProfile={})["resourceDecision"]["pool"] == "t4"


# -- quotas, and ways around them ------------------------------------------------------------------------------------


def _quotas(api: httpx.Client, *rows: dict[str, Any], headers: dict[str, str] | None = None) -> httpx.Response:
    return api.put("/training/quotas", json=list(rows), headers=headers)


def test_a_teams_quota_is_a_wall_that_is_shown_and_explained(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    quota = {"team": "research", "gpuType": "a100", "units": 1, "weight": 2}
    assert _quotas(api, quota).json()["data"][0]["updatedBy"]
    assert [row["units"] for row in api.get("/training/quotas").json()["data"]] == [1]
    first, second = submitted(api, dataset), submitted(api, dataset)
    assert let_go(platform) == [first["id"]]
    found = entry(api, second)
    assert (found["waitsFor"], found["reason"]) == ("quota", "needs 1 a100, and team research has 0 of its 1 left")
    assert found["expectedStart"]
    assert found["slaSecondsLeft"] > 0
    big = body(dataset, **SHARED, resourceProfile={"gpuCount": 2, "gpuType": "a100"})
    assert "quota" in problems(api.post("/training/jobs", json=big))["resourceProfile.gpuCount"]
    assert _quotas(api).json()["data"] == []
    assert let_go(platform) == [second["id"]]


def test_quotas_are_for_operators_only(api: httpx.Client) -> None:
    assert _quotas(api, headers=ENGINEER).status_code == 403
    assert _quotas(api, headers={"X-User-Id": "op", "X-User-Roles": "operator"}).status_code == 200
    assert _quotas(api, {"team": "", "gpuType": "A 100", "weight": 0}).status_code == 422


def test_nobody_charges_another_team_or_jumps_the_queue_without_the_permission(
    api: httpx.Client, dataset: versions.Version
) -> None:
    for changes in ({"team": "rich"}, {"priority": 1}, {"priority": "urgent"}):
        answer = api.post("/training/jobs", json=body(dataset, **changes), headers=ENGINEER)
        assert answer.status_code == 403, answer.text
    job = submitted(api, dataset, ENGINEER, team="research", priority="low")
    path = f"/training/jobs/{job['id']}/priority"
    assert api.post(path, json={"priority": "high"}, headers=ENGINEER).status_code == 403
    assert api.post(path, json={"priority": 0}, headers=ENGINEER).json()["data"]["priority"] == 0
    other = {**ENGINEER, "X-User-Id": "mallory"}
    assert api.post(path, json={"priority": -100}, headers=other).status_code == 403
    assert api.post(path, json={"priority": "urgent"}).json()["data"]["priorityClass"] == "urgent"
    denied = [log for log in api.get("/audit/logs").json()["data"] if log["result"] == "denied"]
    assert {log["action"] for log in denied} >= {"training:prioritize"}


def test_a_run_cannot_claim_a_job_that_the_queue_has_not_let_go(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    job = submitted(api, dataset)
    with pytest.raises(Conflict, match="waits in the queue"):
        claim(platform, job)
    let_go(platform)
    claim(platform, job)
    fail(platform, job, Unavailable("the object store is away"))
    with pytest.raises(Conflict, match="waits in the queue"):  # what the first attempt was let go for is used up
        claim(platform, job, attempt=2)


def test_a_model_trained_again_by_hand_waits_for_its_turn_like_any_other(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    _quotas(api, {"team": "*", "gpuType": "cpu", "units": 1})
    holder = submitted(api, dataset, useGpu=False, resourceProfile={})
    let_go(platform)
    job = submitted(api, dataset, useGpu=False, resourceProfile={})
    with pytest.raises(Conflict, match="cannot start now: needs 1 cpu"), platform.transaction(SYSTEM) as tx:
        queueing.admit_now(tx, UUID(job["id"]), capacity_of(platform.settings))
    assert state(api, job)["admittedAt"] is None
    api.delete(f"/training/jobs/{holder['id']}")
    with platform.transaction(SYSTEM) as tx:
        queueing.admit_now(tx, UUID(job["id"]), capacity_of(platform.settings))
    assert state(api, job)["admittedAt"]


def test_what_a_job_is_charged_cannot_be_changed_after_it_was_submitted(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    job = submitted(api, dataset)
    path = f"/training/jobs/{job['id']}"
    for method in ("PUT", "PATCH"):
        assert api.request(method, path, json={"resourceProfile": {"gpuCount": 8}}).status_code in {404, 405}
    assert api.post(f"{path}/priority", json={"priority": 0, "resourceProfile": {}}).status_code == 422
    let_go(platform)
    claim(platform, job)
    assert api.post(f"{path}/retry").status_code == 409  # a second process beside the first
    assert api.post(f"{path}/priority", json={"priority": 0}).status_code == 409
    sneaky = {**SMALL, "useGpu": True, "processes": 8}
    answer = api.post("/training/jobs", json=body(dataset, useGpu=False, resourceProfile={}, hyperparameters=sneaky))
    if answer.status_code == 200:
        assert answer.json()["data"]["recipe"]["useGpu"] is False
    else:
        assert any(path.startswith("hyperparameters.") for path in problems(answer))


def test_two_daemons_that_look_at_once_let_nothing_go_twice(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    submitted(api, dataset, useGpu=False, resourceProfile={})
    submitted(api, dataset, useGpu=False, resourceProfile={})
    capacity = capacity_of(platform.settings)
    with platform.transaction(SYSTEM) as first:
        assert len(queueing.admit_waiting(first, capacity)) == 1
        with platform.transaction(SYSTEM) as second:
            second.session.execute(text("SET LOCAL lock_timeout = '200ms'"))
            with pytest.raises(Exception, match="lock"):
                queueing.admit_waiting(second, capacity)
            second.session.rollback()
    assert let_go(platform) == []


# -- moves -----------------------------------------------------------------------------------------------------------


def test_a_queued_job_is_cancelled_at_once_and_a_running_one_is_asked(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    job = submitted(api, dataset)
    assert api.delete(f"/training/jobs/{job['id']}").json()["data"]["state"]["status"] == "cancelled"
    assert queue(api)["entries"] == []
    assert api.delete(f"/training/jobs/{job['id']}").status_code == 409
    running = submitted(api, dataset)
    let_go(platform)
    claim(platform, running)
    asked = api.delete(f"/training/jobs/{running['id']}").json()["data"]["state"]
    assert (asked["status"], asked["cancelRequested"]) == ("running", True)
    with platform.transaction(SYSTEM) as tx:
        assert jobs.report_progress(tx, UUID(running["id"]), 0.5, "half")
        jobs.mark_cancelled(tx, UUID(running["id"]))
    assert state(api, running)["state"]["status"] == "cancelled"


def test_a_job_whose_infrastructure_failed_is_tried_again_after_a_doubling_wait_and_not_for_ever(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    job = submitted(api, dataset, retryPolicy={"maxRetries": 2, "backoffSeconds": 100})
    for attempt, wait in ((1, 100), (2, 200)):
        assert let_go(platform) == [job["id"]]
        claim(platform, job, attempt=attempt)
        fail(platform, job, Unavailable("the object store is away"))
        found = entry(api, job)
        assert (found["waitsFor"], state(api, job)["state"]["attempt"]) == ("backoff", attempt + 1)
        assert let_go(platform) == []
        assert _left(platform, job) == pytest.approx(wait, abs=1)
        _make_due(platform, job)
    assert let_go(platform) == [job["id"]]
    claim(platform, job, attempt=3)
    fail(platform, job, Unavailable("the object store is away"))
    ended = state(api, job)
    assert (ended["state"]["status"], ended["failure"]["tag"]) == ("failed", "infrastructure")


def test_a_job_whose_program_failed_is_not_tried_again_by_itself(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    job = submitted(api, dataset)
    let_go(platform)
    claim(platform, job)
    fail(platform, job, UpstreamFailed("the program ended with exit status 1"))
    ended = state(api, job)
    assert (ended["state"]["status"], ended["failure"]["tag"]) == ("failed", "unknown")


def test_a_dead_process_uses_up_the_retries_of_its_job_and_no_more(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    job = submitted(api, dataset, retryPolicy={"maxRetries": 1})
    for attempt, again in ((1, True), (2, False)):
        assert let_go(platform) == [job["id"]]
        claim(platform, job, attempt=attempt)
        with platform.transaction(SYSTEM) as tx:
            assert jobs.retry_dead(tx, UUID(job["id"]), attempt=attempt, reason="its process died") is again
    assert state(api, job)["state"]["error"] == "its process died; given up after 2 attempts"


def test_a_failed_job_is_retried_as_the_next_attempt_of_the_same_job(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    job = submitted(api, dataset)
    let_go(platform)
    claim(platform, job)
    fail(platform, job, UpstreamFailed("the program ended with exit status 1"))
    other = submitted(api, dataset)
    assert other["outputVersion"] == job["outputVersion"]  # a failed job keeps no number
    again = api.post(f"/training/jobs/{job['id']}/retry").json()["data"]
    assert (again["id"], again["state"]["status"], again["state"]["attempt"]) == (job["id"], "queued", 2)
    assert (again["outputVersion"], again["outputVersionId"]) == ("2", job["outputVersionId"])
    assert (again["state"]["error"], again["failure"], again["state"]["startedAt"]) == (None, None, None)
    assert api.post(f"/training/jobs/{job['id']}/retry").status_code == 409
    assert job["id"] in let_go(platform)
    claim(platform, job, attempt=2)
    actions = {log["action"] for log in api.get("/audit/logs", params={"resourceType": "training_job"}).json()["data"]}
    assert actions >= {"training.submit", "training.admit", "training.start", "training.fail", "training.retry"}


def test_a_cancelled_job_whose_data_lost_its_approval_is_not_retried(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    job = submitted(api, dataset)
    api.delete(f"/training/jobs/{job['id']}")
    assert api.post(f"/catalog/datasets/{dataset.id}/recall", json={"reason": "licence"}).status_code == 200
    assert api.post(f"/training/jobs/{job['id']}/retry").status_code == 409
    assert state(api, job)["state"]["status"] == "cancelled"


def test_a_run_whose_job_was_given_to_another_is_told_so_and_shows_no_progress(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    job = submitted(api, dataset)
    let_go(platform)
    claim(platform, job)
    holder = state(api, job)["state"]["runId"]
    with platform.transaction(SYSTEM) as tx:
        assert not jobs.report_progress(tx, UUID(job["id"]), 0.25, "mine", run_id=holder)
    with platform.transaction(SYSTEM) as tx, pytest.raises(Conflict, match="given up"):
        jobs.report_progress(tx, UUID(job["id"]), 0.75, "not mine", run_id="another")
    assert state(api, job)["state"]["progressMessage"] == "mine"


def test_a_job_beyond_its_longest_time_is_told_to_stop_and_fails_with_a_timeout(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    job = submitted(api, dataset)
    let_go(platform)
    claim(platform, job)
    with platform.transaction(SYSTEM) as tx:
        assert not jobs.report_progress(tx, UUID(job["id"]), 0.5, "half")
    with platform.engine.begin() as connection:
        connection.execute(text("UPDATE training_jobs SET started_at = now() - interval '61 minutes'"))
    with platform.transaction(SYSTEM) as tx:
        assert jobs.report_progress(tx, UUID(job["id"]), 0.5, "half")
        jobs.mark_cancelled(tx, UUID(job["id"]))
    ended = state(api, job)
    assert (ended["state"]["status"], ended["failure"]["tag"]) == ("failed", "timeout")
    assert "60 minutes" in ended["state"]["error"]
    assert api.post(f"/training/jobs/{job['id']}/retry").status_code == 200


def test_whoever_asked_for_it_is_told_of_the_start_and_the_end_of_a_job_and_nobody_else(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    both = submitted(api, dataset, notifications={"onStart": True, "onCompletion": True})
    silent, cancelled = submitted(api, dataset), submitted(api, dataset, notifications={"onCompletion": True})
    api.delete(f"/training/jobs/{cancelled['id']}")
    let_go(platform)
    for job in (both, silent):
        claim(platform, job)
        fail(platform, job, UpstreamFailed("the program ended with exit status 1"))
    with platform.transaction(SYSTEM) as tx:
        told = [(message.body["event"], message.body["job"]["id"]) for message in outbox.claim_due(tx)]
    assert sorted(told) == sorted(
        [("training.started", both["id"]), ("training.failed", both["id"]), ("training.cancelled", cancelled["id"])]
    )


def test_the_queue_shows_places_expected_starts_and_what_is_left_of_the_target(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    profile = {"gpuCount": 8, "gpuType": "a100", "maxDuration": 60}
    whole = SHARED | {"resourceProfile": profile}
    submitted(api, dataset, **whole)
    let_go(platform)
    low, urgent = submitted(api, dataset, **whole, priority="low"), submitted(api, dataset, **whole, priority="urgent")
    shown = queue(api)
    assert [row["jobId"] for row in shown["entries"]] == [urgent["id"], low["id"]]
    first, second = shown["entries"]
    assert (first["position"], second["position"], shown["total"]) == (1, 2, 2)
    assert first["expectedStart"] < second["expectedStart"]
    assert 14 * 60 < first["slaSecondsLeft"] <= 15 * 60
    assert 23 * 3600 < second["slaSecondsLeft"] <= 24 * 3600
    api.post(f"/training/jobs/{low['id']}/priority", json={"priority": 100})
    api.post(f"/training/jobs/{urgent['id']}/priority", json={"priority": -100})
    assert [row["jobId"] for row in queue(api, limit="1")["entries"]] == [low["id"]]
    assert api.get("/training/queue", headers={"X-User-Id": "v", "X-User-Roles": "viewer"}).status_code == 200


def test_jobs_are_listed_by_status_and_model_with_their_timeline(
    api: httpx.Client, platform: Platform, dataset: versions.Version, base: versions.Version
) -> None:
    tuned = submitted(api, dataset, jobType="finetune", modelId=str(base.id), hyperparameters={})
    scratch = submitted(api, dataset)
    api.delete(f"/training/jobs/{scratch['id']}")

    def found(**query: str) -> list[str]:
        return [job["id"] for job in api.get("/training/jobs", params=query).json()["data"]]

    assert found() == [scratch["id"], tuned["id"]]
    assert found(status="cancelled") == [scratch["id"]]
    assert found(modelId=str(base.id)) == [tuned["id"]]
    timeline = state(api, scratch)["state"]
    assert timeline["requestedAt"] <= timeline["finishedAt"]
    assert timeline["startedAt"] is None


def _left(platform: Platform, job: Any) -> float:
    query = text("SELECT extract(epoch FROM not_before - queued_at) FROM training_jobs WHERE id = :id")
    with platform.engine.connect() as connection:
        return float(connection.execute(query, {"id": job["id"]}).scalar_one())


def _make_due(platform: Platform, job: Any) -> None:
    with platform.engine.begin() as connection:
        connection.execute(text("UPDATE training_jobs SET not_before = now() WHERE id = :id"), {"id": job["id"]})
