"""`llmops models`: list, upload, show, approve."""

from pathlib import Path
from typing import Annotated

import typer

from llmops_cli.context import Json, Roles, User, open_api
from llmops_cli.output import console, show_json, show_table
from llmops_cli.progress import upload_bar
from llmops_cli.references import approve as decide
from llmops_cli.references import resolve
from llmops_cli.sending import send

app = typer.Typer(help="Models: list, upload, show, approve.", no_args_is_help=True)
Reference = Annotated[str, typer.Argument(help="An id, a name, or name@version.")]


@app.command("list")
def list_models(
    name: Annotated[str | None, typer.Option(help="Names that contain this.")] = None,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """List model versions, newest first."""
    with open_api(user, roles) as api:
        entries = list(api.everything("/catalog/models", name=name))
    if as_json:
        show_json(entries)
        return
    rows = [(e["name"], e["version"], e["type"], e["status"], e["sizeBytes"], e["id"]) for e in entries]
    show_table(("name", "version", "type", "status", "bytes", "id"), rows)


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


@app.command()
def approve(
    model: Reference,
    notes: Annotated[str, typer.Option(help="Why.")] = "",
    reject: Annotated[bool, typer.Option("--reject", help="Reject instead.")] = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Approve (or reject) exactly the bytes the version has now."""
    with open_api(user, roles) as api:
        entry = resolve(api, "models", model)
        entry = decide(api, "models", entry, decision="reject" if reject else "approve", notes=notes)
    console.print(f"{entry['name']} {entry['version']} is {entry['status']}.")
