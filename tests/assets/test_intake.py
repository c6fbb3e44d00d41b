"""The intake: every queued row gets exactly one run an attempt, whatever dies in between."""

import os
import signal
import subprocess
import sys
import time

import dagster as dg
import pytest
from dagster._core.storage.tags import RUN_KEY_TAG

from llmops_assets.claims import WORK_TAG
from llmops_assets.definitions import build
from llmops_assets.intake import take_in
from llmops_assets.mirror import CatalogState, read
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.checks import validations
from llmops_resources.database import Actor
from llmops_resources.platform import Platform
from llmops_resources.training import jobs, moves, submission
from llmops_resources.training.recipe import Recipe
from llmops_resources.work import WorkStatus
from tests.factories import approved, uploaded

HOLDER = """
import sys, time
from uuid import UUID
from llmops_resources import database, work
with work.lease(database.connect(sys.argv[1]), UUID(sys.argv[2])):
    print("held", flush=True)
    time.sleep(120)
"""
KNOWN = frozenset({("datasets", "facts")})


@pytest.fixture
def row(platform: Platform, admin: Actor) -> validations.Validation:
    dataset = uploaded(platform, Kind.DATASET, "facts")
    with platform.transaction(admin) as tx:
        return validations.request(tx, dataset.id)


def _keys(instance: dg.DagsterInstance, platform: Platform) -> list[str | None]:
    result = take_in(instance, platform, validations, KNOWN)
    return [request.run_key for request in (result.run_requests or [])] if result else []


def _run(instance: dg.DagsterInstance, key: str, status: dg.DagsterRunStatus) -> str:
    """The run the daemon makes for a request, left in the state in which something died."""
    job = dg.GraphDefinition(name="any").to_job()
    run = instance.create_run_for_job(job, tags={RUN_KEY_TAG: key, WORK_TAG: key}, status=status)
    return run.run_id


def _state(platform: Platform, admin: Actor, row: validations.Validation) -> tuple[WorkStatus, int]:
    with platform.transaction(admin) as tx:
        state = validations.latest(tx, row.dataset_id).state
    return state.status, state.attempt


def test_a_queued_row_is_requested_with_both_assets_and_its_key(
    platform: Platform, instance: dg.DagsterInstance, row: validations.Validation
) -> None:
    result = take_in(instance, platform, validations, KNOWN)
    assert result is not None
    (request,) = result.run_requests or []
    assert request.run_key == f"{row.id}:1" == request.tags[WORK_TAG]
    assert [key.path for key in request.asset_selection or []] == [
        ["datasets", "facts"],
        ["validation_reports", "facts"],
    ]


def test_a_row_for_a_name_that_is_not_loaded_yet_waits(
    platform: Platform, instance: dg.DagsterInstance, row: validations.Validation
) -> None:
    assert take_in(instance, platform, validations, frozenset()) is None


def test_a_daemon_killed_between_creating_and_launching_asks_for_the_same_run_again(
    platform: Platform, instance: dg.DagsterInstance, row: validations.Validation
) -> None:
    _run(instance, f"{row.id}:1", dg.DagsterRunStatus.NOT_STARTED)
    assert _keys(instance, platform) == [f"{row.id}:1"]


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
def test_a_run_on_its_way_is_waited_for(
    platform: Platform, instance: dg.DagsterInstance, row: validations.Validation, status: dg.DagsterRunStatus
) -> None:
    _run(instance, f"{row.id}:1", status)
    assert _keys(instance, platform) == []


def test_a_run_that_ended_before_claiming_is_replaced_under_the_next_attempt(
    platform: Platform, admin: Actor, instance: dg.DagsterInstance, row: validations.Validation
) -> None:
    _run(instance, f"{row.id}:1", dg.DagsterRunStatus.FAILURE)
    assert _keys(instance, platform) == []
    assert _state(platform, admin, row) == (WorkStatus.QUEUED, 2)
    assert _keys(instance, platform) == [f"{row.id}:2"]


def test_the_work_of_a_killed_process_is_put_back_and_its_run_is_marked_as_failed(
    platform: Platform, admin: Actor, instance: dg.DagsterInstance, row: validations.Validation
) -> None:
    run_id = _run(instance, f"{row.id}:1", dg.DagsterRunStatus.STARTED)
    url = str(platform.settings.database_url)
    process = subprocess.Popen([sys.executable, "-c", HOLDER, url, str(row.id)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "held"
    with platform.transaction(admin) as tx:
        validations.claim(tx, row.id, attempt=1, run_id=run_id)
    assert _keys(instance, platform) == []
    assert _state(platform, admin, row) == (WorkStatus.RUNNING, 1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 20
    while _state(platform, admin, row) != (WorkStatus.QUEUED, 2) and time.monotonic() < deadline:
        _keys(instance, platform)
        time.sleep(0.1)
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.FAILURE
    assert _keys(instance, platform) == [f"{row.id}:2"]


def test_work_that_keeps_dying_is_given_up_with_the_reason(
    platform: Platform, admin: Actor, instance: dg.DagsterInstance, row: validations.Validation
) -> None:
    for attempt in (1, 2, 3):
        _run(instance, f"{row.id}:{attempt}", dg.DagsterRunStatus.FAILURE)
        _keys(instance, platform)
    with platform.transaction(admin) as tx:
        state = validations.latest(tx, row.dataset_id).state
    assert state.status is WorkStatus.FAILED
    assert "given up" in (state.error or "")


def test_an_empty_catalog_and_a_full_one_have_the_same_sensors(platform: Platform, admin: Actor) -> None:
    uploaded(platform, Kind.DATASET, "facts")
    with platform.transaction(admin) as tx:
        full = read(tx)
    names = [{s.name for s in build(state).get_repository_def().sensor_defs} for state in (CatalogState(), full)]
    assert names[0] == names[1] == {
        "checks_intake", "imports_intake", "training_intake", "evaluation_intake", "serving_intake", "catalog_mirror",
        "automatic_evaluation", "scheduled_evaluation", "sweep", "outgoing", "mlflow_mirror", "comparisons_intake",
        "prompt_experiments",
    }  # fmt: skip


def test_a_training_job_is_launched_only_when_the_queue_lets_it_go(
    platform: Platform, instance: dg.DagsterInstance, admin: Actor
) -> None:
    dataset = approved(platform, Kind.DATASET, "facts")
    small = {"architecture": {"hiddenSize": 16, "layers": 1, "vocabSize": 300}}
    recipe = Recipe.from_hyperparameters("pretrain", small, use_gpu=False)
    submitted = []
    for _ in range(2):
        with platform.transaction(admin) as tx:
            submitted.append(submission.submit(tx, recipe=recipe, dataset_id=dataset.id, output_model_name="tiny"))
    known = frozenset({("models", "tiny")})

    def launched() -> list[str | None]:
        result = take_in(instance, platform, jobs, known)
        return [request.run_key for request in (result.run_requests or [])] if result else []

    first, second = submitted
    assert launched() == [f"{first.id}:1"]
    assert launched() == [f"{first.id}:1"]  # until Dagster has made the run
    _run(instance, f"{first.id}:1", dg.DagsterRunStatus.FAILURE)
    assert launched() == []  # given up; its next attempt waits for its turn like any other
    assert launched() == [f"{first.id}:2"]
    with platform.transaction(admin) as tx:
        moves.cancel(tx, first.id)
    assert launched() == [f"{second.id}:1"]
