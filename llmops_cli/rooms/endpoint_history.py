"""`llmops endpoints`: revisions, health, logs, and how environments differ."""

import time
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from llmops_cli.context import Json, Roles, User, open_api
from llmops_cli.output import console, show_json, show_table
from llmops_cli.references import endpoint_of
from llmops_cli.rooms.endpoint_changes import Because, EndpointName, reasons


def add_to(app: typer.Typer) -> None:
    """Add the commands that look back."""
    for command in (events, history, diff, health, logs, parity):
        app.command()(command)


def events(endpoint: EndpointName, as_json: Json = False, user: User = None, roles: Roles = None) -> None:
    """Show what was seen of an endpoint, the latest first."""
    with open_api(user, roles) as api:
        found = api.get(f"/serving/endpoints/{endpoint_of(api, endpoint)['id']}/events")
    if as_json:
        show_json(found)
        return
    rows = [(event["at"], event["revision"], event["status"], event["detail"]) for event in found]
    show_table(("at", "revision", "status", "detail"), rows)


def history(endpoint: EndpointName, as_json: Json = False, user: User = None, roles: Roles = None) -> None:
    """List every revision of an endpoint, the latest first."""
    with open_api(user, roles) as api:
        found = list(api.everything(f"/serving/endpoints/{endpoint_of(api, endpoint)['id']}/deployments"))
    if as_json:
        show_json(found)
        return
    rows = [
        (
            it["revision"], f"{it['action']} {it['restores'] or ''}".strip(), f"{it['modelName']} {it['version']}",
            f"{it['minReplicas']}-{it['maxReplicas']}", it["runtimeImage"] or it["backend"], it["state"]["status"],
            "yes" if it["usable"] else "withdrawn", it["state"]["requestedBy"], it["note"],
        )
        for it in found
    ]  # fmt: skip
    show_table(("revision", "by", "model", "replicas", "runs in", "status", "usable", "who", "why"), rows)


def diff(
    endpoint: EndpointName,
    revision: Annotated[int, typer.Argument(help="The revision to look at.")],
    against: Annotated[int | None, typer.Option(help="Which it is compared with; without it the present one.")] = None,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Show what a revision asks for otherwise than another."""
    with open_api(user, roles) as api:
        path = f"/serving/endpoints/{endpoint_of(api, endpoint)['id']}/deployments/{revision}/diff"
        found = api.get(path, against=against)
    if as_json:
        show_json(found)
        return
    rows = [(it["field"], _shown(it["before"]), _shown(it["after"])) for it in found["differences"]]
    show_table(("setting", f"revision {found['before']}", f"revision {found['after']}"), rows)


def health(
    endpoint: EndpointName,
    hours: Annotated[float, typer.Option(help="How far back.")] = 24.0,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Show how an endpoint's state changed, with reasons, and how long it answered."""
    since = (datetime.now(UTC) - timedelta(hours=hours)).isoformat()
    with open_api(user, roles) as api:
        found = api.get(f"/serving/endpoints/{endpoint_of(api, endpoint)['id']}/health-history", since=since)
    if as_json:
        show_json(found)
        return
    show_table(
        ("since", "seconds", "status", "revision", "reason"),
        [(it["since"], round(it["seconds"]), it["status"], it["revision"], it["reason"]) for it in found["spans"]],
    )
    share = found["availability"]
    console.print("Nobody watched it." if share is None else f"It answered for {share:.2%} of the watched time.")


def logs(
    endpoint: EndpointName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until interrupted.")] = False,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the agent to bring them.")] = 10.0,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Show the last lines of an endpoint's runtime."""
    with open_api(user, roles) as api:
        path = f"/serving/endpoints/{endpoint_of(api, endpoint)['id']}/logs"
        asked, deadline = datetime.now(UTC), time.monotonic() + wait
        shown: list[str] = []
        while True:
            tail = api.get(path)
            fresh = tail["takenAt"] is not None and datetime.fromisoformat(tail["takenAt"]) > asked
            if tail["available"] and not fresh and time.monotonic() < deadline:
                time.sleep(0.5)
                continue
            for line in _new(shown, tail["lines"]):
                print(line)
            shown = tail["lines"]
            if not follow or not tail["available"]:
                return
            time.sleep(2)


def parity(
    endpoint: EndpointName,
    because: Because = None,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Show how the environments of an endpoint's route differ, and write down why they may."""
    with open_api(user, roles) as api:
        path = f"/serving/endpoints/{endpoint_of(api, endpoint)['id']}/parity"
        found = api.post(path, {"reasons": reasons(because)}) if because else api.get(path)
    if as_json:
        show_json(found)
        return
    rows = [
        (it["environment"], it["against"], drift["field"], _shown(drift["here"]), _shown(drift["there"]),
         drift["reason"] or "blocks promotion")
        for it in found
        for drift in it["drifts"]
    ]  # fmt: skip
    show_table(("environment", "against", "setting", "has", "there it is", "reason"), rows)


def _new(before: list[str], now: list[str]) -> list[str]:
    """The lines that a tail has behind those that were shown of it before."""
    for start in range(len(before)):
        if now[: len(before) - start] == before[start:]:
            return now[len(before) - start :]
    return now


def _shown(value: Any) -> str:
    return "-" if value is None else str(value)
