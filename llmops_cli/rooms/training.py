"""`llmops training`: submit, watch, cancel."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from llmops_cli.api import Api
from llmops_cli.context import Json, Roles, User, open_api
from llmops_cli.output import console, show_json, show_table
from llmops_cli.progress import bar, follow
from llmops_cli.references import resolve
from llmops_resources.errors import InvalidInput

app = typer.Typer(help="Training jobs: submit, watch, cancel.", no_args_is_help=True)


@app.command()
def submit(
    job_type: Annotated[str, typer.Argument(help="from_scratch, pretrain or finetune.")],
    dataset: Annotated[str, typer.Argument(help="An approved data set: id, name, or name@version.")],
    output: Annotated[str, typer.Argument(help="The name of the model it makes.")],
    model: Annotated[str | None, typer.Option(help="The approved base model (finetune).")] = None,
    hyperparameters: Annotated[str, typer.Option(help="JSON, or @file.json.")] = "{}",
    gpu: Annotated[bool, typer.Option(help="Train on a GPU.")] = True,
    watching: Annotated[bool, typer.Option("--watch", help="Wait for it with a progress bar.")] = False,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Submit a training job."""
    with open_api(user, roles) as api:
        body = {
            "jobType": job_type,
            "datasetId": resolve(api, "datasets", dataset)["id"],
            "modelId": resolve(api, "models", model)["id"] if model else None,
            "outputModelName": output,
            "useGpu": gpu,
            "hyperparameters": read_json(hyperparameters),
        }
        job = api.post("/training/jobs", body)
        show_json(job) if as_json else console.print(f"The job is queued: {job['id']}")
        if watching:
            watch_job(api, job["id"])


@app.command()
def watch(job: str, user: User = None, roles: Roles = None) -> None:
    """Follow a job to its end, with its loss."""
    with open_api(user, roles) as api:
        watch_job(api, job)


@app.command()
def show(job: str, as_json: Json = False, user: User = None, roles: Roles = None) -> None:
    """Show a job."""
    with open_api(user, roles) as api:
        found = api.get(f"/training/jobs/{job}")
    if as_json:
        show_json(found)
        return
    state = found["state"]
    rows = [(field, found[field]) for field in ("id", "jobType", "datasetId", "modelId", "outputModelName")]
    rows += [(field, state[field]) for field in ("status", "attempt", "progressMessage", "startedAt", "error")]
    rows += sorted((name, value) for name, value in (found["summary"] or {}).items() if isinstance(value, int | float))
    show_table(("field", "value"), rows)


@app.command("list")
def list_jobs(
    status: Annotated[str | None, typer.Option(help="queued, running, succeeded, failed or cancelled.")] = None,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """List jobs, newest first."""
    with open_api(user, roles) as api:
        jobs = list(api.everything("/training/jobs", status=status))
    if as_json:
        show_json(jobs)
        return
    rows = [
        (j["id"], j["jobType"], j["outputModelName"], j["state"]["status"], f"{j['state']['progress']:.0%}")
        for j in jobs
    ]
    show_table(("id", "type", "makes", "status", "progress"), rows)


@app.command()
def cancel(job: str, user: User = None, roles: Roles = None) -> None:
    """Stop a queued or running job."""
    with open_api(user, roles) as api:
        found = api.delete(f"/training/jobs/{job}")
    console.print(f"The job is {found['state']['status']}; it has been asked to stop.")


def watch_job(api: Api, job_id: str, title: str = "training") -> Any:
    """Follow a job with its latest loss beside the bar; the finished job."""
    with bar(title) as shown:
        job = follow(api, f"/training/jobs/{job_id}", shown, note=LatestLoss(api, job_id))
        shown.done(summary_line(job["summary"]))
    return job


class LatestLoss:
    """The newest recorded loss as a note, fetching only what is new."""

    def __init__(self, api: Api, job_id: str) -> None:
        self._api, self._path, self._last = api, f"/training/experiments/{job_id}", -1
        self._note = ""

    def __call__(self, job: Any) -> str:
        metrics = self._api.get(self._path, name="loss", afterStep=self._last)
        if metrics:
            newest = max(metrics, key=lambda metric: metric["step"])
            self._last = newest["step"]
            self._note = f"step {newest['step']}, loss {newest['value']:.3f}"
        return self._note if job["state"]["status"] == "running" else ""


def summary_line(summary: Any) -> str:
    """The figures of a finished job on one line."""
    names = (("final_loss", "loss"), ("eval_loss", "held-out loss"), ("tokens", "tokens"), ("seconds", "seconds"))
    found = [(label, summary.get(name)) for name, label in names] if isinstance(summary, dict) else []
    shown = [
        f"{label} {value:,.3g}" if isinstance(value, float) else f"{label} {value:,}" for label, value in found if value
    ]
    return ", ".join(shown)


def read_json(text: str) -> Any:
    """JSON from the argument itself or, after an @, from a file. Raises InvalidInput."""
    try:
        return json.loads(Path(text[1:]).read_text() if text.startswith("@") else text)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"the hyperparameters are not JSON: {error}", remedy="Give JSON, or @file.json.") from error
