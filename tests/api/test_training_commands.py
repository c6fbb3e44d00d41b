"""`llmops training` against the running API: what a person without a browser can do with the queue."""

import json
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from llmops_cli.rooms.training import app
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.platform import Platform
from llmops_resources.settings import Settings
from tests.factories import approved

RECIPE = '{"architecture": {"hiddenSize": 16, "layers": 1, "vocabSize": 300}}'


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"training_gpu_capacity": {"a100": 8}})


@pytest.fixture
def llmops(api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command and returns its output; the address is found as on a person's machine."""
    monkeypatch.setenv("API_PORT", str(api.base_url.port))
    monkeypatch.setenv("COLUMNS", "250")

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return "\n".join(line for line in done.output.splitlines() if "[info" not in line)  # the API's own log

    return run


def test_a_job_is_submitted_moved_and_retried_and_the_queue_and_quotas_are_seen(
    platform: Platform, llmops: Any
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
