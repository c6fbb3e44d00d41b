"""What can be done with any version, whatever its kind: review, publication, lineage, recall, retirement."""

from typing import Annotated, Any

import typer

from llmops_cli.context import Json, Roles, User, open_api
from llmops_cli.output import console, show_json, show_table
from llmops_cli.references import approve as decide
from llmops_cli.references import path_of, resolve
from llmops_resources.errors import InvalidInput

Reference = Annotated[str, typer.Argument(help="An id, a name, or name@version.")]
Notes = Annotated[str, typer.Option(help="Why.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def add_version_commands(app: typer.Typer, kind: str) -> None:
    """`submit`, `approve` and all that follows, for `datasets`, `models` or `prompts`."""
    _add_review(app, kind)
    _add_publication(app, kind)
    _add_lineage(app, kind)
    _add_retirement(app, kind)


def _add_review(app: typer.Typer, kind: str) -> None:
    @app.command()
    def submit(version: Reference, user: User = None, roles: Roles = None) -> None:
        """Hand a draft in for review; what is still missing is listed."""
        with open_api(user, roles) as api:
            _say(api.post(f"{_path(api, kind, version)}/submit"))

    @app.command()
    def approve(
        version: Reference,
        notes: Notes = "",
        reject: Annotated[bool, typer.Option("--reject", help="Reject instead.")] = False,
        changes: Annotated[bool, typer.Option("--request-changes", help="Ask for changes instead.")] = False,
        user: User = None,
        roles: Roles = None,
    ) -> None:
        """Approve exactly the content the version has now, or refuse it. A draft is submitted first."""
        if reject and changes:
            raise InvalidInput("there is one decision at a time", remedy="Give --reject or --request-changes.")
        decision = "reject" if reject else "request_changes" if changes else "approve"
        with open_api(user, roles) as api:
            _say(decide(api, kind, resolve(api, kind, version), decision=decision, notes=notes))

    @app.command()
    def reopen(version: Reference, notes: Notes = "", user: User = None, roles: Roles = None) -> None:
        """Take a version back as a draft: out of review, or after it was rejected."""
        with open_api(user, roles) as api:
            _say(api.patch(f"{_path(api, kind, version)}/status", {"status": "draft", "notes": notes}))


def _add_publication(app: typer.Typer, kind: str) -> None:
    @app.command()
    def history(version: Reference, as_json: Json = False, user: User = None, roles: Roles = None) -> None:
        """List all versions of a name, and the decisions about this one."""
        with open_api(user, roles) as api:
            path = _path(api, kind, version)
            versions, decisions = api.get(f"{path}/versions"), api.get(f"{path}/approvals")
        if as_json:
            show_json({"versions": versions, "decisions": decisions})
            return
        rows = [(v["version"], _state(v), v["publishedAt"], v["createdBy"], v["changeLog"], v["id"]) for v in versions]
        show_table(("version", "status", "published", "by", "change log", "id"), rows)
        show_table(
            ("decision", "by", "at", "notes"),
            [(d["decision"], d["actorId"], d["decidedAt"], d["notes"]) for d in decisions],
        )

    @app.command()
    def rollback(
        version: Reference,
        to: Annotated[str, typer.Option(help="The approved version that is to be current again.")],
        notes: Notes = "",
        user: User = None,
        roles: Roles = None,
    ) -> None:
        """Make another approved version of the name the current one."""
        with open_api(user, roles) as api:
            body = {"toVersion": to, "notes": notes}
            current = api.post(f"{_path(api, kind, version)}/rollback", body)
        console.print(f"{current['name']} {current['version']} is the current version.")


def _add_lineage(app: typer.Typer, kind: str) -> None:
    @app.command()
    def lineage(
        version: Reference,
        direction: Annotated[str, typer.Option(help="up, down or both.")] = "both",
        as_json: Json = False,
        user: User = None,
        roles: Roles = None,
    ) -> None:
        """Show what a version was made from, and what was made from it."""
        with open_api(user, roles) as api:
            entry = resolve(api, kind, version)
            graph = api.get(f"/catalog/lineage/{entry['kind']}/{entry['id']}", direction=direction)
        if as_json:
            show_json(graph)
            return
        names = {node["id"]: _label(node) for node in graph["nodes"]}
        show_table(
            ("from", "as", "to"),
            [(names[edge["parentId"]], edge["role"], names[edge["childId"]]) for edge in graph["edges"]],
        )

    @app.command()
    def impact(version: Reference, as_json: Json = False, user: User = None, roles: Roles = None) -> None:
        """List every version, evaluation and endpoint that came from a version."""
        with open_api(user, roles) as api:
            found = api.get(f"{_path(api, kind, version)}/impact")
        show_json(found) if as_json else _show_impact(found)

    @app.command()
    def recall(
        version: Reference,
        reason: Annotated[str, typer.Option(help="Why it may not be used any more.")],
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be touched.")] = False,
        yes: Yes = False,
        user: User = None,
        roles: Roles = None,
    ) -> None:
        """Put a version and all that came from it out of use, endpoints included."""
        with open_api(user, roles) as api:
            path = _path(api, kind, version)
            _show_impact(api.post(f"{path}/recall", {"reason": reason, "dryRun": True})["impact"])
            if dry_run:
                return
            _confirm("Recall all of it?", yes)
            report = api.post(f"{path}/recall", {"reason": reason})
        count = len(report["recall"]["versionIds"])
        stopped = len(report["stoppedJobs"]) + len(report["stoppedEvaluations"])
        console.print(f"{count} version(s) are recalled, {stopped} running piece(s) of work stopped.")

    @app.command("lift-recall")
    def lift_recall(version: Reference, notes: Notes = "", user: User = None, roles: Roles = None) -> None:
        """End a recall, which somebody else than the recaller does."""
        with open_api(user, roles) as api:
            lifted = api.post(f"{_path(api, kind, version)}/recall/lift", {"notes": notes})
        console.print(f"The recall ({lifted['reason']}) is lifted.")


def _add_retirement(app: typer.Typer, kind: str) -> None:
    @app.command()
    def deprecate(version: Reference, notes: Notes = "", user: User = None, roles: Roles = None) -> None:
        """Take an approved version out of use for good."""
        with open_api(user, roles) as api:
            _say(api.patch(f"{_path(api, kind, version)}/status", {"status": "deprecated", "notes": notes}))

    @app.command()
    def delete(version: Reference, yes: Yes = False, user: User = None, roles: Roles = None) -> None:
        """Delete a version with its files; whatever needs it is listed instead."""
        with open_api(user, roles) as api:
            entry = resolve(api, kind, version)
            _confirm(f"Delete {entry['name']} {entry['version']} for good?", yes)
            api.delete(f"{path_of(kind)}/{entry['id']}")
        console.print(f"{entry['name']} {entry['version']} is deleted.")


def _path(api: Any, kind: str, reference: str) -> str:
    return f"{path_of(kind)}/{resolve(api, kind, reference)['id']}"


def _say(entry: Any) -> None:
    console.print(f"{entry['name']} {entry['version']} is {entry['status']}.")


def _state(entry: Any) -> str:
    return "recalled" if entry["quarantinedAt"] else str(entry["status"])


def _state_of(node: Any) -> str:
    return "recalled" if node["quarantined"] else str(node["status"])


def _label(node: Any) -> str:
    return f"{node['kind']} {node['name']} {node['version']}" + (" (recalled)" if node["quarantined"] else "")


def _show_impact(found: Any) -> None:
    groups = ("models", "datasets", "others", "evaluations", "endpoints")
    nodes = [node for group in groups for node in found[group]]
    if not nodes:
        console.print("Nothing came from it.")
        return
    rows = [(*(n[field] for field in ("kind", "name", "version")), _state_of(n), n["id"]) for n in nodes]
    show_table(("kind", "name", "version", "status", "id"), rows)


def _confirm(question: str, yes: bool) -> None:
    if not yes and not typer.confirm(question):
        raise typer.Exit(1)
