"""`llmops datasets`: what only data sets have; what every kind has is in `versions.py`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from llmops_cli.comparison import show_comparison
from llmops_cli.context import Json, Roles, User, open_api
from llmops_cli.documents import pairs, read_object
from llmops_cli.output import console, show_json, show_table
from llmops_cli.progress import bar, follow, upload_bar
from llmops_cli.references import resolve
from llmops_cli.rooms.versions import Reference, add_version_commands
from llmops_cli.sending import send

app = typer.Typer(help="Data sets: create, upload, check, compare, approve, recall.", no_args_is_help=True)
add_version_commands(app, "datasets")


@app.command("list")
def list_datasets(
    name: Annotated[str | None, typer.Option(help="Names that contain this.")] = None,
    version: Annotated[str | None, typer.Option(help="Exactly this version.")] = None,
    team: Annotated[str | None, typer.Option(help="Of this owner team.")] = None,
    status: Annotated[str | None, typer.Option(help="draft, under_review, approved, rejected, deprecated.")] = None,
    pii: Annotated[str | None, typer.Option(help="pending, clean or failed.")] = None,
    min_quality: Annotated[float | None, typer.Option(help="At least this score, of 100.")] = None,
    max_quality: Annotated[float | None, typer.Option(help="At most this score.")] = None,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """List data set versions, newest first."""
    filters = {
        "name": name, "version": version, "ownerTeam": team, "status": status, "piiStatus": pii,
        "minQuality": min_quality, "maxQuality": max_quality,
    }  # fmt: skip
    with open_api(user, roles) as api:
        entries = list(api.everything("/catalog/datasets", **filters))
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
    metadata: Annotated[Path | None, typer.Option(help="Its metadata: a JSON or TOML file.")] = None,
    schema: Annotated[Path | None, typer.Option(help="The columns it must have: a JSON or TOML file.")] = None,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Create a data set version; its files follow with `upload`."""
    body = {
        "name": name, "version": version, "ownerTeam": owner_team, "changeLog": change_log, "benchmark": benchmark,
        "metadata": read_object(metadata), "schema": read_object(schema) or None,
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
def describe(
    dataset: Reference,
    change_log: Annotated[str | None, typer.Option(help="What is new in this version.")] = None,
    given: Annotated[list[str] | None, typer.Option("--set", help="Metadata as name=value; repeatable.")] = None,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Write down what a draft is: its change log, its metadata. What is not named stays."""
    with open_api(user, roles) as api:
        entry = resolve(api, "datasets", dataset)
        metadata = {**entry["metadata"], **pairs(given)} if given else None
        api.patch(f"/catalog/datasets/{entry['id']}", {"changeLog": change_log, "metadata": metadata})
    console.print(f"{entry['name']} {entry['version']} is described.")


@app.command()
def preview(
    dataset: Reference,
    limit: Annotated[int, typer.Option(help="So many rows.", min=1, max=500)] = 10,
    offset: Annotated[int, typer.Option(help="After so many rows.", min=0)] = 0,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Show rows of a version with the types of their columns."""
    with open_api(user, roles) as api:
        path = f"/catalog/datasets/{resolve(api, 'datasets', dataset)['id']}/preview"
        seen = api.get(path, limit=limit, offset=offset)
    if as_json:
        show_json(seen)
        return
    names = [column["name"] for column in seen["columns"]]
    headings = [f"{column['name']} ({column['type']})" for column in seen["columns"]]
    show_table(headings, [[row.get(name) for name in names] for row in seen["rows"]])
    figures = seen["statistics"]
    total = "?" if figures["rows"] is None else figures["rows"]
    console.print(f"{total} rows, {figures['columns']} columns, {figures['bytes']} bytes, {figures['format']}")


@app.command()
def validate(dataset: Reference, as_json: Json = False, user: User = None, roles: Roles = None) -> None:
    """Check a version again: structure, personal data, quality."""
    with open_api(user, roles) as api:
        path = f"/catalog/datasets/{resolve(api, 'datasets', dataset)['id']}/validation"
        api.post(path)
        with bar("validating") as shown:
            validation = follow(api, path, shown)
            shown.done()
    show_json(validation) if as_json else show_report(validation["report"])


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


def show_report(report: Any) -> None:
    """The gist of a validation report."""
    if report is None:
        console.print("There is no validation report yet.")
        return
    verdict = "passed" if report["passed"] else "did not pass: " + "; ".join(map(str, report["reasons"]))
    quality, pii = report["quality"]["score"], report["pii"]["status"]
    console.print(f"{report['rowCount']} rows, quality {quality}, PII {pii}; the validation {verdict}")
