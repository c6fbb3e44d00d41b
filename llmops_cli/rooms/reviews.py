"""`llmops reviews`: people judge the answers of an evaluation."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from llmops_cli.context import Json, Roles, User, open_api
from llmops_cli.documents import read_document
from llmops_cli.output import console, show_json, show_table
from llmops_cli.rooms.evaluations import figure, write_export

app = typer.Typer(help="Reviews: people judge the answers of an evaluation.", no_args_is_help=True)
Review = Annotated[str, typer.Argument(help="The id of a review.")]
Person = Annotated[str, typer.Argument(help="The user id of a person.")]
Reason = Annotated[str, typer.Option(help="Why; the audit log keeps it.")]


@app.command("open")
def open_review(
    evaluation: Annotated[str, typer.Argument(help="The id of an evaluation that has succeeded.")],
    rubric: Annotated[Path, typer.Argument(help="The rubric as TOML or JSON: name, criteria, instructions.")],
    reviewer: Annotated[list[str] | None, typer.Option(help="Somebody who judges (again for each).")] = None,
    role: Annotated[list[str] | None, typer.Option(help="A role whose members may join (again for each).")] = None,
    overlap: Annotated[int, typer.Option(help="How many people judge each answer.")] = 2,
    sample_size: Annotated[int | None, typer.Option(help="Judge only so many answers.")] = None,
    seed: Annotated[int, typer.Option(help="Which answers, in which order.")] = 0,
    against: Annotated[str | None, typer.Option(help="Compare with this evaluation's answers.")] = None,
    adjudicator: Annotated[str | None, typer.Option(help="Who settles disagreements.")] = None,
    hide_expected: Annotated[bool, typer.Option(help="Do not show the expected answer.")] = False,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Keep the rubric and open a review by it."""
    with open_api(user, roles) as api:
        digest = api.post("/evaluation/rubrics", read_document(rubric))["digest"]
        body = {
            "evaluationId": evaluation, "rubric": digest, "reviewers": reviewer or [], "roles": role or [],
            "overlap": overlap, "sampleSize": sample_size, "seed": seed, "otherEvaluationId": against,
            "adjudicator": adjudicator, "showExpected": not hide_expected,
        }  # fmt: skip
        review = api.post("/evaluation/reviews", body)
    show_json(review) if as_json else console.print(f"The review is open: {review['id']}")


@app.command("list")
def list_reviews(as_json: Json = False, user: User = None, roles: Roles = None) -> None:
    """List reviews, newest first."""
    with open_api(user, roles) as api:
        found = list(api.everything("/evaluation/reviews"))
    if as_json:
        show_json(found)
        return
    rows = [
        (it["id"], it["rubric"]["name"], it["model"], it["status"], f"{it['scored']} of {it['units'] * it['overlap']}")
        for it in found
    ]
    show_table(("id", "rubric", "model", "status", "judged"), rows)


@app.command()
def show(review: Review, as_json: Json = False, user: User = None, roles: Roles = None) -> None:
    """Show how far a review is, what it came to, and how far its reviewers agree."""
    with open_api(user, roles) as api:
        path = f"/evaluation/reviews/{review}"
        found = {**api.get(path), "summary": api.get(f"{path}/summary")}
    if as_json:
        show_json(found)
        return
    people = found["reviewers"]
    rows = [(it["reviewer"], it["scored"], it["assigned"], "yes" if it["excluded"] else "") for it in people]
    show_table(("reviewer", "judged", "assigned", "excluded"), rows)
    for criterion in found["summary"]["criteria"]:
        console.print(f"[bold]{escape(criterion['criterion'])}[/]")
        show_table(("figure", "value", "95 % interval", "n", ""), [
            _row("mean", criterion["estimate"], ""),
            *(_row(it["name"], it["estimate"], it["whyNot"]) for it in criterion["agreement"]),
        ])  # fmt: skip
    told = found["summary"]
    console.print(f"{told['disagreements']} disagreements, {told['unresolved']} of them not settled.")
    for warning in told["warnings"]:
        console.print(escape(f"{warning['reviewer']}: {warning['sign']} ({warning['detail']})"))


@app.command()
def export(
    review: Review,
    to: Annotated[Path, typer.Argument(help="The file to write: .csv or .json.")],
    force: Annotated[bool, typer.Option(help="Write over a file that is there.")] = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Write every judgement of a review into a file; no cell of a CSV is a formula to a spreadsheet."""
    write_export(f"/evaluation/reviews/{review}/export", to, force, user, roles)


@app.command()
def assign(review: Review, person: Person, user: User = None, roles: Roles = None) -> None:
    """Give a person what nobody has taken."""
    _act(review, "assign", {"person": person}, user, roles)


@app.command()
def release(review: Review, person: Person, reason: Reason, user: User = None, roles: Roles = None) -> None:
    """Take back what a person has not judged."""
    _act(review, "release", {"person": person, "reason": reason}, user, roles)


@app.command()
def exclude(review: Review, person: Person, reason: Reason, user: User = None, roles: Roles = None) -> None:
    """Leave a person's judgements out of the result."""
    _act(review, "exclude", {"person": person, "reason": reason}, user, roles)


@app.command()
def adjudicator(review: Review, person: Person, user: User = None, roles: Roles = None) -> None:
    """Name who settles disagreements."""
    _act(review, "adjudicator", {"person": person}, user, roles)


@app.command()
def close(review: Review, reason: Reason = "", user: User = None, roles: Roles = None) -> None:
    """End a review; its result becomes evidence on the model."""
    _act(review, "close", {"reason": reason}, user, roles)


def _act(review: str, act: str, body: dict[str, str], user: str | None, roles: str | None) -> None:
    with open_api(user, roles) as api:
        found = api.post(f"/evaluation/reviews/{review}/{act}", body)
    console.print(f"{found['status']}: {found['scored']} judged, {found['openSlots']} wait for somebody to take them.")


def _row(name: str, estimate: Any, why_not: str) -> tuple[str, str, str, int, str]:
    if estimate is None:
        return name, figure(None), "", 0, why_not
    interval = f"{figure(estimate['low'])} – {figure(estimate['high'])}"
    return name, figure(estimate["value"]), interval, estimate["n"], ""
