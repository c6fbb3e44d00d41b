"""Experiments in MLflow: complete, once, whatever becomes of the server or the sender, and no secret told."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.database import Actor
from llmops_resources.errors import InvalidInput
from llmops_resources.platform import Platform, open_platform
from llmops_resources.settings import Settings
from llmops_resources.training import experiments, mirroring, mirrors, moves, submission
from llmops_resources.training.capacity import capacity_of
from llmops_resources.training.experiments import Metric
from llmops_resources.training.mlflow import ID_TAG, metric_name
from llmops_resources.training.profile import SubmittedType
from llmops_resources.training.tables import MirrorRow
from llmops_resources.values import utc_now
from tests.factories import ADMIN, approved
from tests.training.mlflow_server import MlflowServer

SYSTEM = Actor("system:test")
START = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def server() -> Iterator[MlflowServer]:
    here = MlflowServer()
    yield here
    here.stop()


@pytest.fixture
def mirrored(settings: Settings, server: MlflowServer) -> Iterator[Platform]:
    asked = {"outbound_allowed_hosts": (server.address,), "mlflow_tracking_uri": f"http://ann:s3cret@{server.address}/"}
    with open_platform(settings.model_copy(update=asked)) as platform:
        yield platform


@pytest.fixture
def job(mirrored: Platform) -> UUID:
    return submitted(mirrored)


def submitted(platform: Platform) -> UUID:
    dataset = approved(platform, Kind.DATASET, "facts")
    capacity = capacity_of(platform.settings)
    dials = {"architecture": {"hiddenSize": 16, "layers": 1, "vocabSize": 300, "contextLength": 64}}
    recipe, profile = submission.read_recipe(
        SubmittedType("pretrain"), None, dials, {}, use_gpu=False, api_base_url=None, capacity=capacity
    )
    terms = submission.Terms(kind=SubmittedType("pretrain"), use_gpu=False, resource_profile=profile)
    with platform.transaction(ADMIN) as tx:
        return submission.submit(
            tx, recipe=recipe, dataset_id=dataset.id, model_id=None, output_model_name="tiny", auto_evaluate=None,
            terms=terms, capacity=capacity,
        ).id  # fmt: skip


def recorded(platform: Platform, job: UUID, name: str, steps: range) -> None:
    metrics = [
        Metric(name=name, value=step / 7, step=step, recorded_at=START + timedelta(seconds=step)) for step in steps
    ]
    with platform.transaction(SYSTEM) as tx:
        experiments.record(tx, job, metrics)


def sent(platform: Platform) -> int:
    """A look at everything, as if the waits were over."""
    with platform.transaction(SYSTEM) as tx:
        tx.session.execute(update(MirrorRow).values(next_attempt_at=utc_now() - timedelta(seconds=1)))
    return mirroring.mirror(platform.settings, lambda: platform.transaction(SYSTEM))


def points(run: dict[str, Any], name: str) -> list[int]:
    return sorted(step for key, step, _time, _value in run["metrics"] if key == name)


def test_an_experiment_arrives_whole_once_through_every_kind_of_fault(
    mirrored: Platform, job: UUID, server: MlflowServer
) -> None:
    recorded(mirrored, job, "loss", range(2500))
    recorded(mirrored, job, "system/cpu_percent", range(0, 2500, 10))
    recorded(mirrored, job, "/odd//name", range(3))
    for fault in (503, "before", "after", 429, "after", 500, "before"):
        for place in range(4):  # the request of the look that it strikes
            server.faults = [*["none"] * place, fault]
            sent(mirrored)
    server.faults = []
    server.stop()
    recorded(mirrored, job, "loss", range(2500, 2600))
    assert sent(mirrored) == 0
    with mirrored.transaction(ADMIN) as tx:
        moves.cancel(tx, job)
    server.start_again()
    assert sent(mirrored) == 1
    assert sent(mirrored) == 0
    assert server.refused == []
    (run,) = server.runs.values()
    assert server.experiments == {"llmops/tiny": run["experiment"]}
    assert points(run, "loss") == list(range(2600))
    assert points(run, "system/cpu_percent") == list(range(0, 2500, 10))
    assert points(run, "::odd::name") == [0, 1, 2]
    assert ("loss", 14, int((START.timestamp() + 14) * 1000), 2.0) in run["metrics"]
    assert run["status"] == "KILLED"
    assert run["end"] is not None
    assert run["params"]["architecture.hiddenSize"] == "16"
    assert run["tags"][ID_TAG] == str(job)


def test_a_run_that_was_made_before_the_sender_died_is_found_again(
    mirrored: Platform, job: UUID, server: MlflowServer
) -> None:
    server.faults = ["none", "none", "none", "after"]  # the answer that a run was made is lost
    assert sent(mirrored) == 0
    assert len(server.runs) == 1
    assert sent(mirrored) == 1
    assert [run["tags"][ID_TAG] for run in server.runs.values()] == [str(job)]
    assert server.requests.count("runs/create") == 1


def test_a_claimed_experiment_is_nobody_elses_until_the_claim_is_over(
    mirrored: Platform, job: UUID, server: MlflowServer
) -> None:
    with mirrored.transaction(SYSTEM) as tx:
        assert mirrors.claim_next(tx) is not None  # and then this process is killed
    assert mirroring.mirror(mirrored.settings, lambda: mirrored.transaction(SYSTEM)) == 0
    assert sent(mirrored) == 1
    assert [run["tags"][ID_TAG] for run in server.runs.values()] == [str(job)]


def test_values_that_came_late_at_lower_steps_arrive_when_the_job_has_ended(
    mirrored: Platform, job: UUID, server: MlflowServer
) -> None:
    recorded(mirrored, job, "loss", range(50, 100))
    assert sent(mirrored) == 1
    recorded(mirrored, job, "loss", range(50))
    with mirrored.transaction(ADMIN) as tx:
        moves.cancel(tx, job)
    assert sent(mirrored) == 1
    (run,) = server.runs.values()
    assert points(run, "loss") == list(range(100))


def test_only_what_is_new_is_sent_of_a_job_that_goes_on(mirrored: Platform, job: UUID, server: MlflowServer) -> None:
    recorded(mirrored, job, "loss", range(10))
    assert sent(mirrored) == 1
    server.requests.clear()
    assert sent(mirrored) == 1
    assert server.requests == []
    recorded(mirrored, job, "loss", range(10, 20))
    assert sent(mirrored) == 1
    assert server.requests == ["runs/log-batch"]


def test_a_server_that_lost_its_runs_is_sent_everything_again(
    mirrored: Platform, job: UUID, server: MlflowServer
) -> None:
    recorded(mirrored, job, "loss", range(10))
    assert sent(mirrored) == 1
    server.runs.clear()
    recorded(mirrored, job, "loss", range(10, 12))
    assert (sent(mirrored), sent(mirrored)) == (0, 1)
    (run,) = server.runs.values()
    assert points(run, "loss") == list(range(12))
    assert run["status"] == "SCHEDULED"


def test_the_password_in_the_address_is_sent_and_told_to_nobody(
    mirrored: Platform, job: UUID, server: MlflowServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.faults = [503]
    assert sent(mirrored) == 0
    assert sent(mirrored) == 1
    assert {headers["Authorization"] for headers in server.headers} == {"Basic YW5uOnMzY3JldA=="}
    server.stop()
    with mirrored.transaction(ADMIN) as tx:
        moves.cancel(tx, job)
    assert sent(mirrored) == 0
    with mirrored.transaction(SYSTEM) as tx:
        row = tx.session.get_one(MirrorRow, job)
        assert row.error is not None
        assert "s3cret" not in row.error
    assert "mirrored to MLflow" in caplog.text
    assert "s3cret" not in caplog.text + repr(mirrored.settings)
    server.start_again()


def test_a_server_in_a_private_network_is_not_reached_unless_it_is_allowed(
    settings: Settings, server: MlflowServer
) -> None:
    asked = {"mlflow_tracking_uri": f"http://{server.address}", "outbound_allowed_hosts": ()}
    with open_platform(settings.model_copy(update=asked)) as platform:
        submitted(platform)
        assert sent(platform) == 0
    assert server.headers == []


def test_an_address_that_is_no_servers_is_refused_at_start(settings: Settings) -> None:
    with pytest.raises(InvalidInput, match="MLFLOW_TRACKING_URI"):
        settings.model_copy(update={"mlflow_tracking_uri": "sqlite:///secret.db"}).check()


@given(st.sets(st.from_regex(r"[A-Za-z0-9_./-]{1,12}", fullmatch=True), max_size=8))
def test_different_metrics_keep_different_names_that_are_clean_paths(names: set[str]) -> None:
    told = {metric_name(name) for name in names}
    assert len(told) == len(names)
    for name in told:
        assert str(PurePosixPath(name)) == name
        assert not name.startswith(("/", ".."))
        assert name != "."
