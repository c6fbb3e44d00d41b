"""kill -9 of each part at each step: the journey ends well, nothing is lost, nothing is doubled."""

import contextlib
import os
import signal
import socket
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from llmops_assets.warm import asking
from llmops_resources import postgres
from tests.journeys.journey import PRETRAIN, SOON, Journey, corpus
from tests.journeys.running import RunningPlatform, running, wait_for

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.timeout(600)]
WORK = ("validate", "train", "evaluate", "deploy")
STEPS = ("upload", *WORK, "approve", "chat")


def _kill_runs(platform: RunningPlatform) -> int:
    """Wait for a run to be under way, then kill it and what it started; returns how many died."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        victims = platform.run_processes()
        if victims:
            for victim in victims:
                with contextlib.suppress(psutil.Error):
                    victim.kill()
            return len(victims)
        time.sleep(0.05)
    return 0


# A walk for each pair whose parts do without each other, so that one death does not hide what another would show.
@pytest.mark.parametrize("victims", [("api", "daemon"), ("code-server", "run")], ids=" and ".join)
def test_the_journey_survives_killing_its_parts_at_every_step(tmp_path: Path, victims: tuple[str, str]) -> None:
    # without the language model, whose loading would be most of every validation
    with running(tmp_path / "home", PII_NER_SAMPLE_ROWS="0") as platform:
        killed: Counter[tuple[str, str]] = Counter()

        def disturb(step: str) -> None:
            if step == "upload" and killed[victims[0], step]:
                return  # the other uploads are no other steps
            time.sleep(1.0 if step in WORK else 0)
            for victim in victims:
                if victim != "run":
                    platform.kill(victim)
                    killed[victim, step] += 1
            if "run" in victims and step in WORK:
                killed["run", step] += _kill_runs(platform)

        made = Journey(platform, disturb).walk()
        expected = {(victim, step) for victim in victims for step in (WORK if victim == "run" else STEPS)}
        assert {death for death, count in killed.items() if count} == expected
        platform.wait_until_healthy()
        _nothing_is_lost_or_doubled(platform, made)


def _nothing_is_lost_or_doubled(platform: RunningPlatform, made: dict[str, Any]) -> None:
    datasets, models = platform.get("/catalog/datasets"), platform.get("/catalog/models")
    assert sorted(entry["name"] for entry in datasets) == ["benchmark", "corpus", "pairs"]
    assert sorted((model["name"], model["version"]) for model in models) == [("tiny_base", "1"), ("tiny_chat", "1")]
    jobs = platform.get("/training/jobs")
    assert [job["state"]["status"] for job in jobs] == ["succeeded", "succeeded"]
    assert len(platform.get("/evaluation/runs")) == 1
    assert len(platform.get("/serving/endpoints")) == 1
    assert len(platform.get(f"/serving/endpoints/{made['endpoint']['id']}/deployments")) == 1
    for job in jobs:
        metrics = platform.get(f"/training/experiments/{job['id']}")
        assert max(Counter((metric["name"], metric["step"]) for metric in metrics).values()) == 1
        assert any(metric["name"] == "loss" for metric in metrics)
    actions = Counter(entry["action"] for entry in platform.get("/audit/logs", limit=500))
    assert (actions["model.submit"], actions["model.approve"], actions["dataset.approve"]) == (2, 2, 3)
    assert (actions["training.finish"], actions["evidence.evaluation"], actions["evidence.validation"]) == (2, 1, 3)
    assert platform.get("/audit/verify")["intact"]
    staging = platform.home / "objects" / "staging"
    assert not staging.exists() or not any(path.is_file() for path in staging.rglob("*"))


#: Some fifteen seconds of training, so that a death in the middle is one.
LONGER = {**PRETRAIN, "epochs": 1_000, "maxTokens": 300_000}


def test_a_training_job_survives_the_death_of_its_program_and_then_of_the_database(tmp_path: Path) -> None:
    with running(tmp_path / "home", PII_NER_SAMPLE_ROWS="0") as platform:
        journey = Journey(platform)
        data = journey.validated_and_approved(journey.upload("corpus", "corpus.parquet", corpus()))
        job, acknowledged = _mid_training(platform, data, "killed")
        for program in platform.training_programs():
            program.kill()
        acknowledged |= _mid_attempt(platform, job, 2)
        postmaster = postgres.pid(platform.home / "postgres")
        assert postmaster is not None
        os.kill(postmaster, signal.SIGKILL)
        ended = _ended(platform, job)
        assert postgres.pid(platform.home / "postgres") not in {None, postmaster}
        assert (ended["state"]["status"], ended["state"]["attempt"]) == ("succeeded", 3), ended["state"]
        _one_job_one_experiment(platform, ended, acknowledged)

        platform.wait_until_healthy()
        assert platform.get("/audit/verify")["intact"]
        wait_for(lambda: None if platform.training_programs() or _scratch(platform) else True, 30, "nothing to be left")


def test_runs_outlive_the_process_they_are_forked_from_and_start_without_it(tmp_path: Path) -> None:
    with running(tmp_path / "home", PII_NER_SAMPLE_ROWS="0") as platform:
        wait_for(lambda: (platform.home / "run" / "launcher.sock").exists() or None, 120, "the launcher to be warm")
        journey = Journey(platform)
        data = journey.validated_and_approved(journey.upload("corpus", "corpus.parquet", corpus()))
        # killed while a run works: the run ends well, at its first attempt
        job, acknowledged = _mid_training(platform, data, "outlives")
        assert _forked_runs(platform), "it was forked"
        platform.kill("launcher")
        ended = _ended(platform, job)
        assert (ended["state"]["status"], ended["state"]["attempt"]) == ("succeeded", 1), ended["state"]
        _one_job_one_experiment(platform, ended, acknowledged)
        # killed again and again while one is queued: the code server starts it
        job = _submitted(platform, data, "without")
        while platform.get(f"/training/jobs/{job['id']}")["state"]["status"] == "queued":
            platform.kill("launcher")
        assert not _forked_runs(platform), "nobody was there to fork it"
        assert _ended(platform, job)["state"]["status"] == "succeeded"
        # terminated in Dagster, a forked run ends as a cancelled one does, and Dagster knows
        platform.wait_until_healthy()
        wait_for(lambda: _is_warm(platform) or None, 120, "the launcher to be warm again")
        job, _ = _mid_training(platform, data, "terminated")
        run = platform.get(f"/training/jobs/{job['id']}")["state"]["runId"]
        assert _forked_runs(platform)
        assert _dagster(platform, _TERMINATE, run)["terminateRun"]["__typename"] == "TerminateRunSuccess"
        wait_for(lambda: _status(platform, run) == "CANCELED" or None, 60, "the run to be cancelled")
        assert platform.get(f"/training/jobs/{job['id']}")["state"]["status"] == "cancelled"
        # killed itself, its end is known to Dagster at once, and the job is tried again
        job, acknowledged = _mid_training(platform, data, "killed")
        run = platform.get(f"/training/jobs/{job['id']}")["state"]["runId"]
        for process in _forked_runs(platform):
            process.kill()
        wait_for(lambda: _status(platform, run) == "FAILURE" or None, 30, "Dagster to know that the run died")
        ended = _ended(platform, job)
        assert (ended["state"]["status"], ended["state"]["attempt"]) == ("succeeded", 2), ended["state"]
        _one_job_one_experiment(platform, ended, acknowledged)
        wait_for(lambda: None if platform.run_processes() or _scratch(platform) else True, 30, "nothing to be left")


_TERMINATE = "mutation ($run: String!) { terminateRun(runId: $run) { __typename } }"
_STATUS = "query ($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"


def _dagster(platform: RunningPlatform, query: str, run: str) -> Any:
    address = next(process.address for process in platform.state().processes if process.name == "webserver")
    answer = httpx.post(f"{address}/graphql", json={"query": query, "variables": {"run": run}}, timeout=60)
    return answer.json()["data"]


def _status(platform: RunningPlatform, run: str) -> str:
    status: str = _dagster(platform, _STATUS, run)["runOrError"]["status"]
    return status


def _forked_runs(platform: RunningPlatform) -> list[psutil.Process]:
    return [process for process in platform.run_processes() if process.name() == "llmops-run"]


def _is_warm(platform: RunningPlatform) -> bool:
    """Whether somebody listens at the launcher's socket, which a killed one leaves behind."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            asking._connect(probe, platform.home / "run" / "launcher.sock")
        except OSError:
            return False
    return True


def _mid_attempt(platform: RunningPlatform, job: Any, attempt: int) -> set[tuple[str, int, float]]:
    """Wait until the next attempt trains; the metrics of the job so far."""

    def trains() -> Any:
        now = platform.get(f"/training/jobs/{job['id']}")["state"]
        assert now["status"] in {"queued", "running"}, now
        return True if now["attempt"] == attempt and now["progress"] > 0 and platform.training_programs() else None

    wait_for(trains, 120, f"attempt {attempt} to train")
    return _figures(platform.get(f"/training/experiments/{job['id']}"))


def _mid_training(platform: RunningPlatform, data: Any, name: str) -> tuple[Any, set[tuple[str, int, float]]]:
    """Submit a job and wait for its first losses; the job, and the metrics that the API has acknowledged."""
    job = _submitted(platform, data, name)
    path = f"/training/experiments/{job['id']}"

    def losses() -> Any:
        found = platform.get(path)
        return found if sum(metric["name"] == "loss" for metric in found) >= 3 else None

    metrics = wait_for(losses, 90, "the first metrics")
    now = platform.get(f"/training/jobs/{job['id']}")["state"]
    assert now["status"] == "running", now
    return job, _figures(metrics)


def _submitted(platform: RunningPlatform, data: Any, name: str) -> Any:
    body = {"jobType": "from_scratch", "datasetId": data["id"], "outputModelName": name, "useGpu": False,
            "hyperparameters": LONGER, "retryPolicy": SOON}  # fmt: skip
    return platform.post("/training/jobs", body, headers={"Idempotency-Key": name})


def _ended(platform: RunningPlatform, job: Any) -> Any:
    def over() -> Any:
        found = platform.get(f"/training/jobs/{job['id']}")
        return found if found["state"]["status"] in {"succeeded", "failed"} else None

    return wait_for(over, 180, "the job to end")


def _one_job_one_experiment(platform: RunningPlatform, job: Any, acknowledged: set[tuple[str, int, float]]) -> None:
    """There is one model, and no metric that the API had acknowledged is lost or there twice."""
    made = [model for model in platform.get("/catalog/models") if model["name"] == job["outputModelName"]]
    assert len(made) == 1
    assert [entry["id"] for entry in platform.get("/training/jobs")].count(job["id"]) == 1
    metrics = platform.get(f"/training/experiments/{job['id']}")
    assert max(Counter((metric["name"], metric["step"]) for metric in metrics).values()) == 1
    kept = _figures(metrics)
    assert {(name, step) for name, step, _ in acknowledged} <= {(name, step) for name, step, _ in kept}
    # a later attempt trains with the same bits, but at another speed
    assert {figure for figure in acknowledged if figure[0] == "loss"} <= kept


def _figures(metrics: Any) -> set[tuple[str, int, float]]:
    return {(metric["name"], metric["step"], metric["value"]) for metric in metrics}


def _scratch(platform: RunningPlatform) -> list[Path]:
    work = platform.home / "cache" / "work"
    return list(work.iterdir()) if work.is_dir() else []
