"""`llmops training`: submit, watch, cancel, retry, and the queue."""

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

app = typer.Typer(help="Training jobs and their queue.", no_args_is_help=True)
quotas = typer.Typer(help="What teams may hold of each GPU type at once.", no_args_is_help=True)
app.add_typer(quotas, name="quota")


@app.command()
def submit(
    job_type: Annotated[str, typer.Argument(help="from_scratch, pretrain, finetune or distributed.")],
    dataset: Annotated[str, typer.Argument(help="An approved data set: id, name, or name@version.")],
    output: Annotated[str, typer.Argument(help="The name of the model it makes.")],
    model: Annotated[str | None, typer.Option(help="The approved base model (finetune).")] = None,
    hyperparameters: Annotated[str, typer.Option(help="JSON, or @file.json.")] = "{}",
    gpu: Annotated[bool, typer.Option(help="Train on a GPU.")] = True,
    base_type: Annotated[str | None, typer.Option(help="What a distributed job distributes.")] = None,
    resources: Annotated[str, typer.Option(help="The resource profile: JSON, or @file.json.")] = "{}",
    priority: Annotated[str, typer.Option(help="low, normal, high, urgent, or -100 to 100.")] = "normal",
    team: Annotated[str | None, typer.Option(help="Whose quota pays; the data set's owner if not given.")] = None,
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
            "baseJobType": base_type,
            "resourceProfile": read_json(resources),
            "priority": read_priority(priority),
            "team": team,
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


@app.command()
def retry(job: str, user: User = None, roles: Roles = None) -> None:
    """Queue another attempt of a failed or cancelled job; it goes on from its last checkpoint."""
    with open_api(user, roles) as api:
        found = api.post(f"/training/jobs/{job}/retry")
    console.print(f"Attempt {found['state']['attempt']} is queued.")


@app.command()
def priority(
    job: str,
    to: Annotated[str, typer.Argument(help="low, normal, high, urgent, or -100 to 100.")],
    user: User = None,
    roles: Roles = None,
) -> None:
    """Give a queued job another priority (a negative number after --)."""
    with open_api(user, roles) as api:
        found = api.post(f"/training/jobs/{job}/priority", {"priority": read_priority(to)})
    console.print(f"The job's priority is {found['priority']} ({found['priorityClass']}).")


@app.command()
def queue(as_json: Json = False, user: User = None, roles: Roles = None) -> None:
    """Show what waits for what, and who uses how much."""
    with open_api(user, roles) as api:
        found = api.get("/training/queue", limit=500)
    if as_json:
        show_json(found)
        return
    columns = ("jobId", "position", "pool", "priority", "team", "reason", "expectedStart")
    show_table(columns, [tuple(entry[name] for name in columns) for entry in found["entries"]])
    used = [(f"all · {pool['pool']}", pool["used"], pool["capacity"], pool["waiting"]) for pool in found["pools"]]
    used += [(f"{t['team']} · {t['pool']}", t["used"], t["quota"], t["waiting"]) for t in found["teams"]]
    show_table(("who", "used", "of", "waiting"), used)


@quotas.command("list")
def list_quotas(as_json: Json = False, user: User = None, roles: Roles = None) -> None:
    """List the quotas."""
    with open_api(user, roles) as api:
        found = api.get("/training/quotas")
    if as_json:
        show_json(found)
        return
    columns = ("team", "gpuType", "units", "weight", "updatedBy", "updatedAt")
    show_table(columns, [tuple(quota[name] for name in columns) for quota in found])


@quotas.command("set")
def set_quota(
    team: Annotated[str, typer.Argument(help="A team, or * for every one without a quota of its own.")],
    gpu_type: Annotated[str, typer.Argument(help="A GPU type such as a100, or cpu.")],
    units: Annotated[int | None, typer.Argument(help="GPUs at once; none: only the weight counts.")] = None,
    weight: Annotated[float, typer.Option(help="The team's weight in fair sharing.")] = 1.0,
    remove: Annotated[bool, typer.Option("--remove", help="Take the quota away.")] = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Set or remove one quota; the others stay."""
    with open_api(user, roles) as api:
        others = [
            {name: quota[name] for name in ("team", "gpuType", "units", "weight")}
            for quota in api.get("/training/quotas")
            if (quota["team"], quota["gpuType"]) != (team, gpu_type)
        ]
        mine = [] if remove else [{"team": team, "gpuType": gpu_type, "units": units, "weight": weight}]
        found = api.replace("/training/quotas", [*others, *mine])
    console.print(f"There are {len(found)} quotas now.")


def read_priority(text: str) -> int | str:
    """A number when it is one, else the name as it stands."""
    return int(text) if text.lstrip("-").isdecimal() else text


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
