"""`llmops training` against the running API: what a person without a browser can do with the queue."""

import json
from dataclasses import replace

import pytest

from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.platform import Platform
from llmops_resources.settings import Settings
from tests.api.shell import Shell
from tests.factories import approved

RECIPE = '{"architecture": {"hiddenSize": 16, "layers": 1, "vocabSize": 300}}'


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"training_gpu_capacity": {"a100": 8}})


@pytest.fixture
def llmops(llmops: Shell) -> Shell:
    return replace(llmops, room=("training",))


def test_a_job_is_submitted_moved_and_retried_and_the_queue_and_quotas_are_seen(
    platform: Platform, llmops: Shell
) -> None:
    approved(platform, Kind.DATASET, "facts")
    llmops("quota", "set", "research", "a100", "4")
    llmops("quota", "set", "vision", "a100", "2", "--weight", "2")
    assert [quota["team"] for quota in json.loads(llmops("quota", "list", "--json"))] == ["research", "vision"]
    machines = '{"gpuCount": 4, "gpuType": "a100"}'
    job = json.loads(
        llmops(
            "submit", "distributed", "facts", "big", "--base-type", "pretrain", "--resources", machines,
            "--hyperparameters", RECIPE, "--priority", "low", "--json",
        )
    )  # fmt: skip
    assert (job["baseJobType"], job["resourceDecision"]["units"], job["priorityClass"]) == ("pretrain", 4, "low")
    assert "(high)" in llmops("priority", job["id"], "high")
    assert "-7" in llmops("priority", job["id"], "--", "-7")
    shown = llmops("queue")
    assert job["id"] in shown
    assert "vision · a100" in shown
    llmops("cancel", job["id"])
    assert "Attempt 2 is queued" in llmops("retry", job["id"])
    llmops("quota", "set", "vision", "a100", "--remove")
    assert "vision" not in llmops("quota", "list")
