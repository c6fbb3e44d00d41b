"""`llmops approvals` and `llmops audit`: what waits for a decision, and who did what."""

from typing import Annotated

import typer

from llmops_cli.context import Json, Roles, User, open_api
from llmops_cli.output import console, show_json, show_table

audit = typer.Typer(help="The audit log: read it, verify it.", no_args_is_help=True)


def approvals(
    kind: Annotated[str | None, typer.Option(help="dataset, model or prompt.")] = None,
    team: Annotated[str | None, typer.Option(help="Of this owner team.")] = None,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """List what waits for a reviewer's decision, the last submitted first."""
    with open_api(user, roles) as api:
        tasks = list(api.everything("/governance/approvals", kind=kind, ownerTeam=team))
    if as_json:
        show_json(tasks)
        return
    rows = [(t["kind"], t["name"], t["version"], t["ownerTeam"], t["submittedBy"], t["submittedAt"]) for t in tasks]
    show_table(("kind", "name", "version", "team", "submitted by", "at"), rows)


@audit.command("list")
def list_entries(
    actor: Annotated[str | None, typer.Option(help="Of this user.")] = None,
    action: Annotated[str | None, typer.Option(help="Such as model.approve.")] = None,
    resource: Annotated[str | None, typer.Option(help="About the version, job or endpoint with this id.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many, the newest.", min=1, max=500)] = 50,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """List who did what, newest first."""
    with open_api(user, roles) as api:
        entries = api.get("/audit/logs", actorId=actor, action=action, resourceId=resource, limit=limit)
    if as_json:
        show_json(entries)
        return
    rows = [(e["timestamp"], e["actorId"], e["action"], e["resourceId"], e["result"]) for e in entries]
    show_table(("at", "by", "action", "about", "result"), rows)


@audit.command()
def verify(
    noted: Annotated[str | None, typer.Option(help="The last hash of an earlier time, kept elsewhere.")] = None,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Recompute the hash chain. Exits with 1 when an entry was changed, removed or reordered.

    Entries taken off its end are found by the last hash of an earlier time: keep it where the database is not.
    """
    with open_api(user, roles) as api:
        verdict = api.get("/audit/verify", noted=noted)
    if not verdict["intact"]:
        console.print(f"[bold red]✗[/] The log is broken at entry {verdict['firstBrokenId']}: {verdict['reason']}")
        raise typer.Exit(1)
    console.print(f"The log is intact: {verdict['entries']} entries, the last with hash {verdict['lastHash']}.")
