"""`llmops keys`: API keys of the gateway."""

from typing import Annotated

import typer

from llmops_cli.context import Json, Roles, User, open_api
from llmops_cli.output import console, show_json, show_table

app = typer.Typer(help="API keys of the gateway: issue, list, revoke.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    team: Annotated[str, typer.Option(help="The team that pays for its calls.")],
    owner: Annotated[str | None, typer.Option(help="Who answers for it; you when left out.")] = None,
    route: Annotated[list[str] | None, typer.Option(help="A route it opens; repeat it. All when left out.")] = None,
    days: Annotated[int, typer.Option(help="Days until it expires.", min=1, max=366)] = 90,
    requests: Annotated[int | None, typer.Option(help="At most so many calls a minute.", min=1)] = None,
    tokens: Annotated[int | None, typer.Option(help="At most so many tokens a minute.", min=1)] = None,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Issue a key. Its secret is printed once and cannot be read again."""
    body = {
        "name": name, "team": team, "owner": owner, "routes": route or None, "expiresInDays": days,
        "requestsPerMinute": requests, "tokensPerMinute": tokens,
    }  # fmt: skip
    with open_api(user, roles) as api:
        made = api.post("/governance/api-keys", body)
    if as_json:
        show_json(made)
        return
    console.print(f"The key {made['id']} is issued to {team} until {made['expiresAt']}. Keep its secret:", markup=False)
    print(made["secret"])


@app.command("list")
def list_keys(
    team: Annotated[str | None, typer.Option(help="Of this team.")] = None,
    owner: Annotated[str | None, typer.Option(help="Of this owner.")] = None,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """List keys, newest first."""
    with open_api(user, roles) as api:
        found = list(api.everything("/governance/api-keys", team=team, owner=owner))
    if as_json:
        show_json(found)
        return
    rows = [
        (k["id"], k["name"], k["team"], k["owner"], ", ".join(k["routes"]) if k["routes"] else "all", k["expiresAt"],
         k["revokedAt"])
        for k in found
    ]  # fmt: skip
    show_table(("id", "key", "team", "owner", "routes", "expires", "revoked"), rows)


@app.command()
def revoke(key: str, user: User = None, roles: Roles = None) -> None:
    """Revoke a key for good."""
    with open_api(user, roles) as api:
        gone = api.delete(f"/governance/api-keys/{key}")
    console.print(f"The key {gone['id']} ({gone['name']}) is revoked.", markup=False)
