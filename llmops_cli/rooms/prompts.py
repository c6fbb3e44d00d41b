"""`llmops prompts`: what only prompts have; what every kind has is in `versions.py`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from llmops_cli.context import Json, Roles, User, open_api
from llmops_cli.documents import read_document
from llmops_cli.output import console, show_json, show_table
from llmops_cli.references import resolve
from llmops_cli.rooms.versions import Reference, add_version_commands
from llmops_resources.errors import InvalidInput

app = typer.Typer(help="Prompts: create, edit, render, diff, approve, roll back.", no_args_is_help=True)
add_version_commands(app, "prompts")
SIGNS = {"same": "  ", "added": "[green]+ ", "removed": "[red]- "}


@app.command("list")
def list_prompts(
    name: Annotated[str | None, typer.Option(help="Names that contain this.")] = None,
    team: Annotated[str | None, typer.Option(help="Of this owner team.")] = None,
    status: Annotated[str | None, typer.Option(help="draft, under_review, approved, rejected, deprecated.")] = None,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """List prompt versions, newest first."""
    with open_api(user, roles) as api:
        entries = list(api.everything("/prompts/templates", name=name, ownerTeam=team, status=status))
    if as_json:
        show_json(entries)
        return
    rows = [(e["name"], e["version"], e["status"], e["ownerTeam"], e["createdBy"], e["id"]) for e in entries]
    show_table(("name", "version", "status", "team", "by", "id"), rows)


@app.command()
def create(
    name: str,
    file: Annotated[Path, typer.Argument(help="Messages, variables and defaults as TOML or JSON.")],
    version: Annotated[str | None, typer.Option("--as", help="The version; else the next number.")] = None,
    owner_team: Annotated[str, typer.Option("--team", help="Who answers for it.")] = "local",
    purpose: Annotated[str, typer.Option(help="What it is for; needed before review.")] = "",
    change_log: Annotated[str, typer.Option(help="What is new in this version.")] = "",
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Create a prompt, or the next version of one, as a draft."""
    body = {
        "name": name, "version": version, "ownerTeam": owner_team, "changeLog": change_log,
        "metadata": {"purpose": purpose} if purpose else {}, "content": read_document(file),
    }  # fmt: skip
    with open_api(user, roles) as api:
        entry = api.post("/prompts/templates", body)
    show_json(entry) if as_json else console.print(f"Created {name} {entry['version']}: {entry['id']}")


@app.command()
def edit(
    prompt: Reference,
    file: Annotated[Path, typer.Argument(help="Messages, variables and defaults as TOML or JSON.")],
    change_log: Annotated[str | None, typer.Option(help="What is new in this version.")] = None,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Write a draft again. Refused when somebody else changed it meanwhile."""
    with open_api(user, roles) as api:
        entry = resolve(api, "prompts", prompt)
        body = {"content": read_document(file), "digest": entry["digest"], "changeLog": change_log}
        api.patch(f"/prompts/templates/{entry['id']}", body)
    console.print(f"{entry['name']} {entry['version']} is changed.")


@app.command()
def show(prompt: Reference, as_json: Json = False, user: User = None, roles: Roles = None) -> None:
    """Show a version with its messages and variables."""
    with open_api(user, roles) as api:
        entry = api.get(f"/prompts/templates/{resolve(api, 'prompts', prompt)['id']}")
    if as_json:
        show_json(entry)
        return
    fields = ("name", "version", "id", "status", "current", "digest", "createdBy")
    show_table(("field", "value"), [(field, entry[field]) for field in fields])
    _show_messages(entry["content"]["messages"])
    rows = [(v["name"], v["type"], v["required"], v["default"]) for v in entry["content"]["variables"]]
    show_table(("variable", "type", "required", "default"), rows)


@app.command()
def render(
    prompt: Reference,
    values: Annotated[list[str] | None, typer.Option("--set", help="name=value; JSON where it is no text.")] = None,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Fill in the values and show the messages a model would get."""
    with open_api(user, roles) as api:
        path = f"/prompts/templates/{resolve(api, 'prompts', prompt)['id']}"
        types = {v["name"]: v["type"] for v in api.get(path)["content"]["variables"]}
        rendered = api.post(f"{path}/render", {"values": dict(_value(pair, types) for pair in values or [])})
    show_json(rendered) if as_json else _show_messages(rendered["messages"])


@app.command()
def diff(
    prompt: Reference,
    other: Annotated[str, typer.Argument(help="An id, or a version of the same name.")],
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Show what changed from the other version to this one."""
    with open_api(user, roles) as api:
        entry = resolve(api, "prompts", prompt)
        seen = api.get(f"/prompts/templates/{entry['id']}/diff", **{"with": other})
    if as_json:
        show_json(seen)
        return
    console.print(f"{seen['before']} → {seen['after']}" + (": the same content" if seen["identical"] else ""))
    for section in seen["sections"]:
        if any(line["change"] != "same" for line in section["lines"]):
            console.print(f"[bold]{section['path']}[/]")
            for line in section["lines"]:
                console.print(SIGNS[line["change"]] + escape(line["text"]))


def _value(pair: str, types: dict[str, str]) -> tuple[str, Any]:
    name, equals, text = pair.partition("=")
    if not equals:
        raise InvalidInput(f"{pair!r} is no value", remedy="Write --set name=value.")
    if types.get(name, "string") == "string":
        return name, text
    try:
        return name, json.loads(text)
    except ValueError:
        return name, text  # the API says what it should have been


def _show_messages(messages: list[dict[str, str]]) -> None:
    for message in messages:
        console.print(f"[bold]{message['role']}[/]")
        console.print(escape(message["content"]))
