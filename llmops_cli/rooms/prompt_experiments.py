"""`llmops prompts experiments` and `llmops prompts routes`: what runs where, and what came of it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from llmops_cli.context import Json, Roles, User, open_api
from llmops_cli.documents import read_document
from llmops_cli.output import console, show_json, show_table
from llmops_cli.references import resolve

app = typer.Typer(help="A/B experiments over prompts: plan, start, look, stop, conclude.", no_args_is_help=True)
routes = typer.Typer(help="Which prompt a route's calls are made with: bind, roll back.", no_args_is_help=True)
Experiment = Annotated[str, typer.Argument(help="The experiment's id.")]
Route = Annotated[str, typer.Argument(help="The route's name.")]
Why = Annotated[str, typer.Option("--reason", help="Why; it is recorded.")]
PATH = "/prompts/experiments"


@app.command("list")
def list_experiments(
    route: Annotated[str | None, typer.Option(help="At this route.")] = None,
    state: Annotated[str | None, typer.Option(help="draft, running, stopped or concluded.")] = None,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """List experiments, newest first."""
    with open_api(user, roles) as api:
        found = list(api.everything(PATH, route=route, state=state))
    if as_json:
        show_json(found)
        return
    rows = [
        (e["name"], e["route"], e["state"], e["outcome"]["winner"] if e["outcome"] else e["ending"], e["id"])
        for e in found
    ]
    show_table(("name", "route", "state", "result", "id"), rows)


@app.command()
def plan(
    file: Annotated[Path, typer.Argument(help="The plan as TOML or JSON; promptId may be name@version.")],
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Plan an experiment; nothing changes until it is started."""
    body: dict[str, Any] = read_document(file)
    with open_api(user, roles) as api:
        for variant in body.get("variants", []):
            variant["promptId"] = resolve(api, "prompts", variant["promptId"])["id"]
        made = api.post(PATH, body)
    show_json(made) if as_json else console.print(f"Planned {made['name']}: {made['id']}")


@app.command()
def start(experiment: Experiment, user: User = None, roles: Roles = None) -> None:
    """Let the route's users take part."""
    with open_api(user, roles) as api:
        console.print(f"{api.post(f'{PATH}/{experiment}/start')['name']} runs.")


@app.command()
def stop(experiment: Experiment, reason: Why = "", user: User = None, roles: Roles = None) -> None:
    """Send everybody back to what the route is bound to."""
    with open_api(user, roles) as api:
        console.print(f"{api.post(f'{PATH}/{experiment}/stop', {'reason': reason})['name']} is stopped.")


@app.command()
def look(experiment: Experiment, as_json: Json = False, user: User = None, roles: Roles = None) -> None:
    """Show what is known now; looking often makes no result less true."""
    with open_api(user, roles) as api:
        found = api.get(f"{PATH}/{experiment}/look")
    if as_json or found is None:
        show_json(found) if as_json else console.print("It has not started yet.")
        return
    columns = ("variant", "users", "ratings", "mean", "failed", "latencyMs", "cost")
    show_table(columns, [tuple(_short(each[name]) for name in columns) for each in found["figures"]])
    effects = ("variant", "estimate", "low", "high", "standing")
    show_table(effects, [tuple(_short(each[name]) for name in effects) for each in found["effects"]])
    guards = ("variant", "guard", "estimate", "allowed", "state")
    show_table(guards, [tuple(_short(each[name]) for name in guards) for each in found["guards"]])
    console.print(f"Advice: {found['advice']} {found['adopt'] or ''}".rstrip() + ".")
    if not found["balanced"]:
        console.print(f"[red]Users do not arrive as planned (p = {found['balanceP']:.2g}).[/]")


@app.command()
def conclude(
    experiment: Experiment,
    notes: Annotated[str, typer.Option(help="Why; it is kept with the outcome.")],
    winner: Annotated[
        str | None, typer.Option(help="The variant to bind; without one the route stays as it is.")
    ] = None,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Decide what it showed, and bind the winner."""
    with open_api(user, roles) as api:
        done = api.post(f"{PATH}/{experiment}/conclude", {"winner": winner, "notes": notes})
    console.print(f"{done['name']} is concluded: {winner or 'no winner'}.")


@routes.command("list")
def list_routes(as_json: Json = False, user: User = None, roles: Roles = None) -> None:
    """List the routes that have a prompt."""
    with open_api(user, roles) as api:
        found = api.get("/prompts/bindings")
    if as_json:
        show_json(found)
        return
    rows = [(b["route"], b["promptName"], b["promptVersion"], b["boundBy"], b["reason"]) for b in found]
    show_table(("route", "prompt", "version", "by", "reason"), rows)


@routes.command()
def bind(
    route: Route,
    prompt: Annotated[str, typer.Argument(help="An approved version: name, name@version or id.")],
    reason: Why = "",
    user: User = None,
    roles: Roles = None,
) -> None:
    """Make calls to a route with a prompt."""
    with open_api(user, roles) as api:
        entry = resolve(api, "prompts", prompt)
        api.replace(f"/serving/routes/{route}/prompt", {"promptId": entry["id"], "reason": reason})
    console.print(f"{route} has {entry['name']} {entry['version']} now.")


@routes.command()
def unbind(route: Route, user: User = None, roles: Roles = None) -> None:
    """Take the prompt of a route away; the endpoint's own decides then, or calls pass as they are sent."""
    with open_api(user, roles) as api:
        api.delete(f"/serving/routes/{route}/prompt")
    console.print(f"No prompt is bound to {route}.")


@routes.command("rollback")
def roll_back(route: Route, reason: Why = "", user: User = None, roles: Roles = None) -> None:
    """Undo the last change: stop the experiment that runs there, or go back to the prompt before."""
    with open_api(user, roles) as api:
        now = api.post(f"/serving/routes/{route}/prompt/rollback", {"reason": reason})
    has = f"has {now['promptName']} {now['promptVersion']}" if now and now["promptId"] else "has no prompt"
    console.print(f"{route} {has} now.")


def _short(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else "—" if value is None else value
