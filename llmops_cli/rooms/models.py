"""`llmops models`: what only models have; what every kind has is in `versions.py`."""

from pathlib import Path
from typing import Annotated

import typer

from llmops_cli.context import Json, Roles, User, open_api
from llmops_cli.documents import pairs, read_object
from llmops_cli.output import console, show_json, show_table
from llmops_cli.progress import upload_bar
from llmops_cli.references import resolve
from llmops_cli.rooms.versions import Reference, add_version_commands
from llmops_cli.sending import send

app = typer.Typer(help="Models: create, import, upload, describe, approve, recall.", no_args_is_help=True)
add_version_commands(app, "models")


@app.command("list")
def list_models(
    name: Annotated[str | None, typer.Option(help="Names that contain this.")] = None,
    model_type: Annotated[str | None, typer.Option("--type", help="base, fine-tuned or external.")] = None,
    team: Annotated[str | None, typer.Option(help="Of this owner team.")] = None,
    status: Annotated[str | None, typer.Option(help="draft, under_review, approved, rejected, deprecated.")] = None,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """List model versions, newest first."""
    with open_api(user, roles) as api:
        entries = list(api.everything("/catalog/models", name=name, type=model_type, ownerTeam=team, status=status))
    if as_json:
        show_json(entries)
        return
    rows = [(e["name"], e["version"], e["type"], e["status"], e["sizeBytes"], e["id"]) for e in entries]
    show_table(("name", "version", "type", "status", "bytes", "id"), rows)


@app.command()
def create(
    name: str,
    version: str,
    owner_team: Annotated[str, typer.Option("--team", help="Who answers for it.")] = "local",
    model_type: Annotated[str, typer.Option("--type", help="base or fine-tuned.")] = "base",
    card: Annotated[Path | None, typer.Option(help="Its card: a JSON or TOML file.")] = None,
    given: Annotated[list[str] | None, typer.Option("--set", help="Of the card, name=value; repeatable.")] = None,
    trained_on: Annotated[list[str] | None, typer.Option(help="A data set it was trained on; repeatable.")] = None,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Register a model made elsewhere; its files follow with `upload`."""
    with open_api(user, roles) as api:
        data = [resolve(api, "datasets", reference)["id"] for reference in trained_on or []]
        body = {
            "name": name, "version": version, "type": model_type, "ownerTeam": owner_team,
            "metadata": {**read_object(card), **pairs(given)}, "lineage": {"datasetIds": data},
        }  # fmt: skip
        entry = api.post("/catalog/models", body)
    show_json(entry) if as_json else console.print(f"Created {name} {version}: {entry['id']}")


@app.command()
def describe(
    model: Reference,
    given: Annotated[list[str], typer.Option("--set", help="Of the card, name=value; repeatable.")],
    user: User = None,
    roles: Roles = None,
) -> None:
    """Fill in the card of a draft, such as --set purpose="answers tickets". What is not named stays."""
    with open_api(user, roles) as api:
        entry = resolve(api, "models", model)
        api.patch(f"/catalog/models/{entry['id']}", {"metadata": {**entry["metadata"], **pairs(given)}})
    console.print(f"{entry['name']} {entry['version']} is described.")


@app.command()
def upload(
    model: Reference,
    files: Annotated[list[Path], typer.Argument(help="The model's files, or the folder they lie in.")],
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Upload a model's weights, config and tokenizer. After a break, the same command goes on where it stopped."""
    found = [path for file in files for path in (sorted(file.iterdir()) if file.is_dir() else [file])]
    with open_api(user, roles) as api:
        entry = resolve(api, "models", model)
        total = sum(file.stat().st_size for file in found if file.exists())
        with upload_bar(total) as advance:
            entry = send(api, f"/catalog/models/{entry['id']}", found, advance)
    waiting = "waits for its weights to be converted to safetensors"
    words = f"has {len(entry['files'])} files, digest {entry['digest']}" if entry["digest"] else waiting
    show_json(entry) if as_json else console.print(f"{entry['name']} {entry['version']} {words}.")


@app.command()
def show(model: Reference, as_json: Json = False, user: User = None, roles: Roles = None) -> None:
    """Show a version with its files, its card and what is known about it."""
    with open_api(user, roles) as api:
        entry = resolve(api, "models", model)
        if as_json:
            show_json(entry)
            return
        fields = ("name", "version", "id", "type", "status", "digest", "storageUri", "createdBy")
        show_table(("field", "value"), [(field, entry[field]) for field in fields])
        show_table(("card", ""), sorted(entry["metadata"].items()))
        show_table(("file", "bytes", "sha256"), [(f["path"], f["size"], f["sha256"]) for f in entry["files"]])
