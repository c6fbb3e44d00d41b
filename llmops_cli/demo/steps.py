"""The steps of the demo. Each looks first for what an earlier run left, so each may be repeated or taken up again."""

import time
from collections.abc import Callable
from typing import Any

from llmops_cli.api import Api
from llmops_cli.demo.data import DATASETS, LICENSE, VERSION, DemoData, DemoDataset
from llmops_cli.progress import Bar, follow
from llmops_cli.references import approve, find_version
from llmops_cli.rooms.endpoints import wait_healthy
from llmops_cli.rooms.training import LatestLoss, summary_line

AUTOMATIC_SECONDS = 30.0
USABLE = ("queued", "running", "succeeded")
CARD = {
    "purpose": "Answer questions on Python's builtins, exceptions and HTTP statuses, for demonstration.",
    "scope": "A demonstration: a tiny model that repeats facts it was trained on. Not for anything else.",
    "contact": "whoever runs this demo",
    "license": LICENSE,
}


def upload_all(api: Api, data: DemoData, shown: Bar) -> dict[str, Any]:
    """Create and upload the data sets that are missing; entries by name. Their validations start by themselves."""
    entries: dict[str, Any] = {}
    for number, dataset in enumerate(DATASETS):
        shown.show(number / len(DATASETS), dataset.name)
        entry = find_version(api, "datasets", dataset.name, VERSION)
        if entry is None:
            entry = api.post("/catalog/datasets", _dataset_body(dataset))
        if entry["digest"] is None:
            entry = api.upload(f"/catalog/datasets/{entry['id']}/upload", [data.path(dataset)], lambda _bytes: None)
        entries[dataset.name] = entry
    return entries


def validate(api: Api, entry: Any, shown: Bar) -> Any:
    """Wait for the validation, approve on its evidence; the approved entry."""
    path = f"/catalog/datasets/{entry['id']}"
    if entry["status"] == "approved":
        shown.done(_dataset_line(entry))
        return entry
    if api.get(f"{path}/validation")["state"]["status"] in {"failed", "cancelled"}:
        api.post(f"{path}/validation")
    follow(api, f"{path}/validation", shown)
    entry = approve(api, "datasets", api.get(path), notes="the demo's own data, validation read")
    shown.done(_dataset_line(entry))
    return entry


def train(api: Api, body: dict[str, Any], shown: Bar) -> Any:
    """Submit the job unless one like it is there, follow it with its loss; the model it made."""
    alike = ("jobType", "datasetId", "modelId", "outputModelName")
    jobs = (
        job
        for job in api.everything("/training/jobs")
        if job["state"]["status"] in USABLE and all(job[field] == body.get(field) for field in alike)
    )
    job = next(jobs, None) or api.post("/training/jobs", body)
    path = f"/training/jobs/{job['id']}"
    job = follow(api, path, shown, note=_unless_finished(job, LatestLoss(api, job["id"])))
    shown.done(summary_line(job["summary"]))
    return api.get(f"/catalog/models/{job['outputVersionId']}")


def approve_model(api: Api, model: Any, notes: str) -> Any:
    """Complete the model card where the training left gaps, then approve by digest."""
    gaps = {name: text for name, text in CARD.items() if not str(model["metadata"].get(name) or "").strip()}
    if gaps and model["status"] == "draft":
        model = api.patch(f"/catalog/models/{model['id']}", {"metadata": {**model["metadata"], **gaps}})
    return approve(api, "models", model, notes=notes)


def evaluated(api: Api, model: Any, benchmark: Any, shown: Bar) -> Any:
    """The evaluation that the training job asked for, once it is finished.

    A failed one is asked for again, and so is one that nobody has requested within half a minute.
    """
    shown.show(0, "waiting for the automatic evaluation")
    deadline = time.monotonic() + AUTOMATIC_SECONDS
    run = None
    while run is None and time.monotonic() < deadline:
        found = api.everything("/evaluation/runs", modelId=model["id"], datasetId=benchmark["id"])
        run = next((run for run in found if run["state"]["status"] in USABLE), None)
        if run is None:
            time.sleep(0.3)
    if run is None:
        run = api.post("/evaluation/runs", {"modelId": model["id"], "datasetId": benchmark["id"]})
    run = follow(api, f"/evaluation/runs/{run['id']}", shown)
    score = run["result"]["metrics"].get("exact_match", {})
    shown.done(f"exact match {score['value']:.3f} on {score['n']} questions" if score else "")
    return run


def deploy(api: Api, model: Any, route: str, shown: Bar) -> Any:
    """Deploy to the route in dev unless that very model is there, and wait until it is healthy."""
    found = api.everything("/serving/endpoints", route=route, environment="dev")
    endpoint = next(found, None)
    if endpoint is None or endpoint["modelId"] != model["id"]:
        body = {"modelId": model["id"], "version": model["version"], "environment": "dev", "route": route}
        endpoint = api.post("/serving/endpoints", {**body, "minReplicas": 1, "maxReplicas": 1})
    elif endpoint["status"] in {"failed", "stopped"}:
        endpoint = api.post(f"/serving/endpoints/{endpoint['id']}/redeploy")
    endpoint = wait_healthy(api, endpoint["id"], shown)
    shown.done(f"route {route}")
    return endpoint


def _dataset_body(dataset: DemoDataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "version": VERSION,
        "ownerTeam": "demo",
        "changeLog": "built by the demo from the running Python",
        "metadata": {"purpose": dataset.purpose, "license": LICENSE, "source": "the Python standard library"},
        "benchmark": dataset.benchmark,
    }


def _dataset_line(entry: Any) -> str:
    return f"{entry['rowCount']:,} rows, quality {entry['qualityScore']:.0f}, PII {entry['piiStatus']}, approved"


def _unless_finished(job: Any, note: Callable[[Any], str]) -> Callable[[Any], str] | None:
    return None if job["state"]["status"] == "succeeded" else note
