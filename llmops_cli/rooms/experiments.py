"""`llmops experiments`: find runs, read their logs, hold them side by side, take them away as a file."""

import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from llmops_cli.api import Api
from llmops_cli.context import Json, Roles, User, open_api
from llmops_cli.output import console, show_json, show_table
from llmops_cli.progress import FINISHED
from llmops_resources.errors import InvalidInput

app = typer.Typer(help="What training jobs recorded: metrics, logs, comparisons.", no_args_is_help=True)

BARS: Final = "▁▂▃▄▅▆▇█"
WIDTH: Final = 24  # characters of a curve
PAGE: Final = 1_000  # log lines in one request


@app.command("list")
def list_experiments(
    model: Annotated[str | None, typer.Option(help="Part of the name of the model it made.")] = None,
    status: Annotated[str | None, typer.Option(help="queued, running, succeeded, failed or cancelled.")] = None,
    team: Annotated[str | None, typer.Option(help="Of one team.")] = None,
    metric: Annotated[str | None, typer.Option(help="Only those that recorded it; its last value is shown.")] = None,
    where: Annotated[
        str | None, typer.Option(help='Conditions, as "param.learning_rate<=0.001 and metric.eval_loss<2".')
    ] = None,
    order: Annotated[str, typer.Option(help="newest, or lowest or highest by the metric.")] = "newest",
    limit: Annotated[int, typer.Option(help="At most so many, the newest.", min=1, max=100)] = 20,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Find experiments by what was run and what came out."""
    query = {"modelName": model, "status": status, "team": team, "metric": metric, "where": where,
             "order": order, "limit": limit}  # fmt: skip
    with open_api(user, roles) as api:
        found = api.get("/training/experiments", **query)
    if as_json:
        show_json(found)
        return
    shown = metric or "loss"
    rows = [
        (each["jobId"], each["jobType"], _model(each), each["status"], each["failure"], last_value(each, shown))
        for each in found
    ]
    show_table(("jobId", "type", "makes", "status", "cause", shown), rows)


@app.command()
def logs(
    job: str,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Print what a job's training program said, through all its attempts."""
    with open_api(user, roles) as api:
        after = _print_lines(api, job, 0)
        while follow:
            ended = api.get(f"/training/jobs/{job}")["state"]["status"] in FINISHED  # asked before the last lines are
            after = _print_lines(api, job, after)
            if ended:
                return
            time.sleep(1)


@app.command()
def compare(
    jobs: Annotated[list[str], typer.Argument(help="Up to 10 ids of training jobs.")],
    metric: Annotated[list[str] | None, typer.Option(help="Only these metrics (again for each).")] = None,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Show where experiments differ, and each metric's curve and results."""
    with open_api(user, roles) as api:
        found = api.get("/training/experiments/compare", ids=",".join(jobs), names=",".join(metric or []))
    if as_json:
        show_json(found)
        return
    numbers = {each["jobId"]: f"#{at}" for at, each in enumerate(found["experiments"], 1)}
    show_table(
        ("", "jobId", "makes", "status"),
        [(numbers[each["jobId"]], each["jobId"], _model(each), each["status"]) for each in found["experiments"]],
    )
    if found["parameters"]:
        rows = [(each["name"], *each["values"]) for each in found["parameters"]]
        show_table(("differs", *numbers.values()), rows)
    show_table(
        ("metric", "", "curve", "last", "lowest", "highest", "points"),
        [
            (
                each["name"], numbers[curve["jobId"]], sparkline([value for _step, value in curve["points"]]),
                *(f"{curve[name]:.6g}" for name in ("last", "lowest", "highest")), curve["count"],
            )
            for each in found["metrics"]
            for curve in each["curves"]
        ],
    )  # fmt: skip
    if found["leftOut"]:
        console.print(f"{len(found['leftOut'])} more metrics are shown with --metric.")


@app.command()
def export(
    job: str,
    to: Annotated[Path, typer.Argument(help="A new .csv or .json file.")],
    user: User = None,
    roles: Roles = None,
) -> None:
    """Write a job's record and every metric into a file."""
    kind = to.suffix.removeprefix(".")
    if kind not in {"csv", "json"}:
        raise InvalidInput(f"{to.name} is neither .csv nor .json", remedy="Name the file as what it should hold.")
    with open_api(user, roles) as api:
        content = api.fetch(f"/training/experiments/{job}/export", format=kind)
    try:
        with to.open("xb") as file:
            file.write(content)
    except OSError as error:
        raise InvalidInput(f"{to} cannot be written: {error.strerror}", remedy="Name a new file.") from error
    console.print(f"{len(content):,} bytes are in {to}.")


def sparkline(values: Sequence[float], width: int = WIDTH) -> str:
    """The values as one line of bars, each the mean of a stretch; where all are equal, the bars are half high."""
    count = min(width, len(values))
    edges = [len(values) * at // count for at in range(count + 1)] if count else []
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    if not means:
        return ""
    low, span = min(means), max(means) - min(means)
    if span == 0:
        return BARS[len(BARS) // 2] * len(means)
    return "".join(BARS[min(len(BARS) - 1, int((mean - low) / span * len(BARS)))] for mean in means)


def printable(text: str) -> str:
    """The text without what would command the terminal it is printed on."""
    return "".join(char if char.isprintable() or char == "\t" else "\N{REPLACEMENT CHARACTER}" for char in text)


def last_value(experiment: Any, metric: str) -> str | None:
    """A metric at its highest step, as far as it was recorded."""
    return next((f"{each['value']:.6g}" for each in experiment["metrics"] if each["name"] == metric), None)


def _print_lines(api: Api, job: str, after: int) -> int:
    while True:
        page = api.get(f"/training/jobs/{job}/logs", after=after, limit=PAGE)
        for line in page["lines"]:
            if line["leftOut"]:
                print(f"… {line['leftOut']:,} lines were not kept …")
            print(f"{line['at'][:19]} {line['attempt']} {printable(line['text'])}")
        after = page["next"]
        if not page["more"]:
            return after


def _model(experiment: Any) -> str:
    return f"{experiment['outputModelName']} {experiment['outputVersion']}"
