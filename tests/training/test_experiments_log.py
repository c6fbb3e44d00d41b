"""A job's log while it runs: kept beside the work, without its secrets, whatever the database does."""

import time
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from llmops_assets import programs
from llmops_assets.training.log import CAPACITY, JobLog
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.database import Actor
from llmops_resources.platform import Platform
from llmops_resources.training import logs, submission
from llmops_resources.training.capacity import capacity_of
from llmops_resources.training.logs import LogLine
from llmops_resources.training.masking import MASK, Masking
from tests.factories import ADMIN, approved

TOKEN = "a token that nobody may read"
SYSTEM = Actor("system:test")


@pytest.fixture
def job(platform: Platform) -> UUID:
    dataset = approved(platform, Kind.DATASET, "facts")
    capacity = capacity_of(platform.settings)
    dials = {"architecture": {"hiddenSize": 16, "layers": 1, "vocabSize": 300, "contextLength": 64}}
    recipe, profile = submission.read_recipe(
        submission.SubmittedType("pretrain"), None, dials, {}, use_gpu=False, api_base_url=None, capacity=capacity
    )
    terms = submission.Terms(kind=submission.SubmittedType("pretrain"), use_gpu=False, resource_profile=profile)
    with platform.transaction(ADMIN) as tx:
        return submission.submit(
            tx, recipe=recipe, dataset_id=dataset.id, model_id=None, output_model_name="tiny", auto_evaluate=None,
            terms=terms, capacity=capacity,
        ).id  # fmt: skip


def kept(platform: Platform, job: UUID) -> list[LogLine]:
    with platform.transaction(SYSTEM) as tx:
        return list(logs.of_job(tx, job, limit=10_000).lines)


def log_of(platform: Platform, job: UUID, warnings: list[str] | None = None) -> JobLog:
    return JobLog(platform, job, 1, Masking([TOKEN]), (warnings if warnings is not None else []).append)


def test_what_a_failing_program_said_is_kept_without_its_secrets(
    platform: Platform, job: UUID, tmp_path: Path
) -> None:
    with pytest.raises(programs.ProgramFailed) as failure, log_of(platform, job) as log:
        programs.run(
            "tests.training.talking_program",
            tmp_path,
            environment={"JOB_TOKEN": TOKEN},
            on_event=lambda _event: None,
            should_stop=lambda: False,
            hear=log.hear,
        )
    lines = kept(platform, job)
    said = [line.text for line in lines]
    assert said[:2] == [f"calling with {MASK}", "bytes that are \N{REPLACEMENT CHARACTER} no text"]
    assert said[-3:-1] == [f"Authorization: Bearer {MASK}", "RuntimeError: the end"]
    assert said[-1].startswith("attempt 1 ended: ")
    assert "RuntimeError: the end" in said[-1]
    assert [line.source for line in lines[-2:]] == ["program", "platform"]
    assert max(map(len, said)) == logs.LONGEST
    assert [line.number for line in lines] == list(range(1, len(lines) + 1))
    assert TOKEN not in failure.value.said + str(failure.value)


def test_a_flood_of_lines_is_bounded_and_says_so_and_nobody_waits(platform: Platform, job: UUID) -> None:
    log = log_of(platform, job)
    began = time.process_time()
    for number in range(3 * CAPACITY):  # before its thread begins, as if the database did not answer
        log.say(f"line {number}")
    assert time.process_time() - began < 5
    with log:
        pass
    said = [line.text for line in kept(platform, job)]
    assert said[0] == f"{2 * CAPACITY} lines came too fast and were left out here"
    assert said[1:] == [f"line {number}" for number in range(2 * CAPACITY, 3 * CAPACITY)]


def test_lines_wait_while_they_cannot_be_written(platform: Platform, job: UUID) -> None:
    with platform.transaction(SYSTEM) as tx:
        tx.session.execute(text("ALTER TABLE training_log_lines RENAME TO away"))
    warnings: list[str] = []
    log = log_of(platform, job, warnings)
    log.say("first")
    with log:
        time.sleep(1.3)
        log.say("second")
        with platform.transaction(SYSTEM) as tx:
            tx.session.execute(text("ALTER TABLE away RENAME TO training_log_lines"))
    assert [line.text for line in kept(platform, job)] == ["first", "second"]
    assert warnings == []
