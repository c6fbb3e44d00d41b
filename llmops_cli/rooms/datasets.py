"""`llmops datasets`: create, upload, check, approve."""

from pathlib import Path
from typing import Annotated, Any

import typer

from llmops_cli.comparison import show_comparison
from llmops_cli.context import Json, Roles, User, open_api
from llmops_cli.output import console, show_json, show_table
from llmops_cli.progress import bar, follow, upload_bar
from llmops_cli.references import approve as decide
from llmops_cli.references import resolve
from llmops_cli.sending import send

app = typer.Typer(help="Data sets: create, upload, check, approve.", no_args_is_help=True)
Reference = Annotated[str, typer.Argument(help="An id, a name, or name@version.")]


@app.command("list")
def list_datasets(
    name: Annotated[str | None, typer.Option(help="Names that contain this.")] = None,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """List data set versions, newest first."""
    with open_api(user, roles) as api:
        entries = list(api.everything("/catalog/datasets", name=name))
    if as_json:
        show_json(entries)
        return
    rows = [
        (e["name"], e["version"], e["status"], e["piiStatus"], e["qualityScore"], e["rowCount"], e["id"])
        for e in entries
    ]
    show_table(("name", "version", "status", "PII", "quality", "rows", "id"), rows)


@app.command()
def create(
    name: str,
    version: str,
    owner_team: Annotated[str, typer.Option("--team", help="Who answers for it.")] = "local",
    change_log: Annotated[str, typer.Option(help="What is new in this version.")] = "",
    benchmark: Annotated[bool, typer.Option(help="For evaluation only.")] = False,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Create a data set version; its files follow with `upload`."""
    body = {
        "name": name, "version": version, "ownerTeam": owner_team, "changeLog": change_log, "benchmark": benchmark,
    }  # fmt: skip
    with open_api(user, roles) as api:
        entry = api.post("/catalog/datasets", body)
    show_json(entry) if as_json else console.print(f"Created {name} {version}: {entry['id']}")


@app.command()
def upload(
    dataset: Reference,
    files: Annotated[list[Path], typer.Argument(help="CSV, JSONL or Parquet files.")],
    wait: Annotated[bool, typer.Option(help="Wait for the validation.")] = True,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Upload the files of a version, and wait for their validation. After a break, the same command goes on."""
    with open_api(user, roles) as api:
        entry = resolve(api, "datasets", dataset)
        total = sum(file.stat().st_size for file in files if file.exists())
        with upload_bar(total) as advance:
            entry = send(api, f"/catalog/datasets/{entry['id']}", files, advance)
        if wait:
            with bar("validating") as shown:
                validation = follow(api, f"/catalog/datasets/{entry['id']}/validation", shown)
                shown.done()
            show_report(validation["report"])


@app.command()
def show(dataset: Reference, as_json: Json = False, user: User = None, roles: Roles = None) -> None:
    """Show a version with its files and its last validation."""
    with open_api(user, roles) as api:
        entry = resolve(api, "datasets", dataset)
        if as_json:
            show_json(entry)
            return
        fields = ("name", "version", "id", "status", "piiStatus", "qualityScore", "rowCount", "digest", "storageUri")
        show_table(("field", "value"), [(field, entry[field]) for field in fields])
        show_table(("file", "bytes", "sha256"), [(f["path"], f["size"], f["sha256"]) for f in entry["files"]])
        if entry["digest"] is not None:
            show_report(api.get(f"/catalog/datasets/{entry['id']}/validation")["report"])


@app.command()
def compare(
    older: Reference,
    newer: Reference,
    key: Annotated[list[str] | None, typer.Option(help="A column that tells rows apart; repeatable.")] = None,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Compare two versions: rows, cells, schema, drift, personal data and quality."""
    with open_api(user, roles) as api:
        sides = [resolve(api, "datasets", side) for side in (older, newer)]
        path = f"/catalog/datasets/{sides[1]['id']}/comparisons"
        asked = api.post(path, {"withId": sides[0]["id"], "key": key or []})
        if as_json:
            found = follow(api, f"{path}/{asked['id']}")
        else:
            with bar("comparing") as shown:
                found = follow(api, f"{path}/{asked['id']}", shown)
                shown.done()
    show_json(found) if as_json else show_comparison(found)


@app.command()
def approve(
    dataset: Reference,
    notes: Annotated[str, typer.Option(help="Why.")] = "",
    reject: Annotated[bool, typer.Option("--reject", help="Reject instead.")] = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Approve (or reject) exactly the bytes the version has now."""
    with open_api(user, roles) as api:
        entry = resolve(api, "datasets", dataset)
        entry = decide(api, "datasets", entry, decision="reject" if reject else "approve", notes=notes)
    console.print(f"{entry['name']} {entry['version']} is {entry['status']}.")


def show_report(report: Any) -> None:
    """The gist of a validation report."""
    if report is None:
        console.print("There is no validation report yet.")
        return
    verdict = "passed" if report["passed"] else "did not pass: " + "; ".join(map(str, report["reasons"]))
    quality, pii = report["quality"]["score"], report["pii"]["status"]
    console.print(f"{report['rowCount']} rows, quality {quality}, PII {pii}; the validation {verdict}")
