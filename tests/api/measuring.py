"""Training jobs with metrics and logs, as if they had run."""

from typing import Any
from uuid import UUID

import httpx

from llmops_resources.catalog import versions
from llmops_resources.database import Actor
from llmops_resources.platform import Platform
from llmops_resources.training import logs
from llmops_resources.training.logs import Said

SYSTEM = Actor("system:test")
SMALL = {"architecture": {"hiddenSize": 16, "layers": 1, "vocabSize": 300, "contextLength": 64}}


def submitted(api: httpx.Client, dataset: versions.Version, name: str = "tiny", **dials: Any) -> str:
    """A small job on CPUs, its id."""
    body = {"jobType": "from_scratch", "datasetId": str(dataset.id), "outputModelName": name, "useGpu": False,
            "hyperparameters": SMALL | dials, "retryPolicy": {"maxRetries": 0}}  # fmt: skip
    answer = api.post("/training/jobs", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["data"]["id"])


def measured(api: httpx.Client, job: str, name: str, *values: float, unit: str | None = None) -> None:
    """Record the values of one metric, a step each."""
    body = [{"name": name, "value": value, "step": step, "unit": unit} for step, value in enumerate(values)]
    answer = api.post(f"/training/jobs/{job}/metrics", json=body)
    assert answer.status_code == 200, answer.text


def said(platform: Platform, job: str, *lines: str, attempt: int = 1) -> None:
    """Lines of the training program's log."""
    with platform.transaction(SYSTEM) as tx:
        logs.append(tx, UUID(job), attempt, [Said(text=line) for line in lines])
