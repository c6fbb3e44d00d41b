"""`llmops schedules`: evaluations that are asked for again and again."""

from typing import Annotated

import typer

from llmops_cli.context import Json, Roles, User, open_api
from llmops_cli.output import console, show_json, show_table

app = typer.Typer(help="Schedules: evaluations that are asked for again and again.", no_args_is_help=True)


@app.command()
def create(
    model: Annotated[str, typer.Argument(help="A model's name; its version in use is evaluated.")],
    benchmark: Annotated[str, typer.Argument(help="A benchmark's name.")],
    cron: Annotated[str, typer.Argument(help="Minute, hour, day, month, weekday: '0 3 * * 1'.")],
    timezone: Annotated[str, typer.Option(help="Where the times are read.")] = "UTC",
    metric: Annotated[list[str] | None, typer.Option(help="exact_match, f1, bleu, … (again for each).")] = None,
    always: Annotated[bool, typer.Option(help="Also when nothing changed since the last time.")] = False,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Evaluate a model at certain times, when it or the benchmark changed."""
    body = {"model": model, "benchmark": benchmark, "cron": cron, "timezone": timezone, "always": always}
    with open_api(user, roles) as api:
        made = api.post("/evaluation/schedules", {**body, **({"metrics": metric} if metric else {})})
    if as_json:
        show_json(made)
    else:
        console.print(f"The evaluation is scheduled: {made['id']}, next at {made['nextDueAt']}")


@app.command("list")
def list_schedules(as_json: Json = False, user: User = None, roles: Roles = None) -> None:
    """List the schedules and what came of their last time."""
    with open_api(user, roles) as api:
        found = api.get("/evaluation/schedules")
    if as_json:
        show_json(found)
        return
    rows = [
        (
            each["id"],
            each["model"],
            each["benchmark"],
            f"{each['cron']} {each['timezone']}",
            "paused" if each["paused"] else each["nextDueAt"],
            each["lastOutcome"] or "–",
        )
        for each in found
    ]
    show_table(("id", "model", "benchmark", "times", "next", "last outcome"), rows)


@app.command()
def pause(schedule: str, user: User = None, roles: Roles = None) -> None:
    """Let a schedule rest."""
    with open_api(user, roles) as api:
        api.patch(f"/evaluation/schedules/{schedule}", {"paused": True})
    console.print("The schedule rests.")


@app.command()
def resume(schedule: str, user: User = None, roles: Roles = None) -> None:
    """Take a schedule up again from now on."""
    with open_api(user, roles) as api:
        made = api.patch(f"/evaluation/schedules/{schedule}", {"paused": False})
    console.print(f"The schedule goes on, next at {made['nextDueAt']}.")


@app.command()
def delete(schedule: str, user: User = None, roles: Roles = None) -> None:
    """Forget a schedule; the evaluations it asked for stay."""
    with open_api(user, roles) as api:
        api.delete(f"/evaluation/schedules/{schedule}")
    console.print("The schedule is gone.")
