"""`llmops gates`: what a model must show before its approval, declared beforehand."""

from pathlib import Path
from typing import Annotated, Any

import typer

from llmops_cli.context import Json, Roles, User, open_api
from llmops_cli.documents import read_object
from llmops_cli.output import console, show_json, show_table

app = typer.Typer(help="Gates: what a model must show on a benchmark before its approval.", no_args_is_help=True)


@app.command()
def declare(
    file: Annotated[Path, typer.Argument(help="name, model, benchmark and conditions as TOML or JSON.")],
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Declare a gate, or its next version; it judges evaluations asked for from now on."""
    with open_api(user, roles) as api:
        made = api.post("/evaluation/gates", read_object(file))
    show_json(made) if as_json else console.print(f"The gate {made['gate']['name']} is declared: {made['id']}")


@app.command("list")
def list_gates(
    model: Annotated[str | None, typer.Option(help="Of this model's name.")] = None,
    benchmark: Annotated[str | None, typer.Option(help="Of this benchmark's name.")] = None,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """List every version of the gates, newest first."""
    with open_api(user, roles) as api:
        found = api.get("/evaluation/gates", model=model, benchmark=benchmark)
    if as_json:
        show_json(found)
        return
    rows = [
        (g["id"], g["gate"]["name"], g["gate"]["model"], g["gate"]["benchmark"], _yes(g["inForce"]), g["createdBy"])
        for g in found
    ]
    show_table(("id", "gate", "model", "benchmark", "in force", "declared by"), rows)


@app.command()
def show(gate: str, as_json: Json = False, user: User = None, roles: Roles = None) -> None:
    """Show a version of a gate with its conditions."""
    with open_api(user, roles) as api:
        found = api.get(f"/evaluation/gates/{gate}")
    if as_json:
        show_json(found)
        return
    stated = found["gate"]
    console.print(f"{stated['name']}: {stated['model']} on {stated['benchmark']}, in force: {_yes(found['inForce'])}")
    console.print(f"Declared by {found['createdBy']} at {found['createdAt']}, {found['digest']}")
    show_table(("metric", "condition"), [(_metric(c), _words(c)) for c in stated["conditions"]])


@app.command()
def verdicts(run: str, as_json: Json = False, user: User = None, roles: Roles = None) -> None:
    """Show what the gates said about an evaluation, with every reason. Exits with 1 unless all passed and stand."""
    with open_api(user, roles) as api:
        found = api.get(f"/evaluation/runs/{run}/verdicts")
    if as_json:
        show_json(found)
    for said in [] if as_json else found:
        stale = f", but stale: {said['stale']['reason']}" if said["stale"] else ""
        console.print(f"{said['gate']['gate']['name']}: {said['verdict']['outcome']}{stale}")
        for reason in said["verdict"]["reasons"]:
            console.print(f"  {reason}")
    if not all(said["verdict"]["outcome"] == "passed" and not said["stale"] for said in found):
        raise typer.Exit(1)


def _metric(condition: Any) -> str:
    if condition["kind"] != "judge":
        return str(condition["metric"])
    return f"{condition['criterion']} by {condition['judgeId'] or 'the judges together'}"


def _words(condition: Any) -> str:
    if condition["kind"] == "non_inferiority":
        return f"worse than {condition['baseline']} by less than {condition['margin']:g}"
    if condition["atLeast"] is not None:
        return f"at least {condition['atLeast']:g}"
    return f"at most {condition['atMost']:g}"


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"
