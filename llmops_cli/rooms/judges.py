"""`llmops judges`: models that judge the answers of a finished evaluation."""

from pathlib import Path
from typing import Annotated, Any

import typer

from llmops_cli.context import Json, Roles, User, open_api
from llmops_cli.documents import read_object
from llmops_cli.output import console, show_json, show_table
from llmops_cli.progress import bar, follow
from llmops_cli.references import resolve
from llmops_cli.rooms.evaluations import figure, show_figures

app = typer.Typer(help="Judges: models that judge what a model answered.", no_args_is_help=True)


@app.command()
def ask(
    run: Annotated[str, typer.Argument(help="A finished automated evaluation.")],
    judge: Annotated[list[str], typer.Option(help="A model that judges: id, name, or name@version (repeat it).")],
    rubric: Annotated[str | None, typer.Option(help="The digest of a rubric.")] = None,
    criteria: Annotated[Path | None, typer.Option(help="A TOML or JSON file with `criteria` instead.")] = None,
    other: Annotated[str | None, typer.Option(help="Another evaluation to compare with, by a pairwise rubric.")] = None,
    guidance: Annotated[str, typer.Option(help="Words that are added to the instructions.")] = "",
    prompt: Annotated[str | None, typer.Option(help="An approved prompt whose words are added.")] = None,
    sample_size: Annotated[int | None, typer.Option(help="Judge only this many answers.")] = None,
    wait: Annotated[bool, typer.Option(help="Wait for the result.")] = True,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Have models judge an evaluation's answers."""
    with open_api(user, roles) as api:
        body = {
            **read_object(criteria),
            "judges": [{"modelId": resolve(api, "models", name)["id"]} for name in judge],
            "rubric": rubric,
            "otherEvaluationId": other,
            "guidance": guidance,
            "promptId": resolve(api, "prompts", prompt)["id"] if prompt else None,
            "sampleSize": sample_size,
        }
        made = api.post(f"/evaluation/runs/{run}/llm-judge", body)
        if wait:
            with bar("judging") as shown:
                made = follow(api, f"/evaluation/runs/{made['id']}", shown)
                shown.done()
    if as_json:
        show_json(made)
    elif wait:
        show_judged(made)
    else:
        console.print(f"The judging is queued: {made['id']}")


@app.command()
def show(run: str, as_json: Json = False, user: User = None, roles: Roles = None) -> None:
    """Show what judges found in a run, and how each of them did."""
    with open_api(user, roles) as api:
        found = api.get(f"/evaluation/runs/{run}")
    show_json(found) if as_json else show_judged(found)


@app.command()
def licences(
    run: str,
    margin: Annotated[float, typer.Option(help="How much worse the agreement with people may be.")] = 0.1,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Show what a run's judges may decide, by what people have said. Exits with 1 unless all are licensed."""
    with open_api(user, roles) as api:
        found = api.get(f"/evaluation/runs/{run}/licences", margin=margin)
    if as_json:
        show_json(found)
    for each in [] if as_json else found:
        name = each["judge"]["name"] if each["judge"] else "all together"
        granted = "licensed" if each["licence"]["granted"] else "not licensed"
        console.print(f"{name}, {each['criterion']}: {granted}: {'; '.join(each['licence']['reasons'])}", markup=False)
    if not all(each["licence"]["granted"] for each in found):
        raise typer.Exit(1)


def show_judged(run: Any) -> None:
    """The figures of a judge run, and a line for each judge."""
    show_figures(run)
    judged = (run["result"] or {}).get("judged")
    if not judged:
        return
    rows = [
        (
            each["judge"]["name"],
            each["scored"],
            each["unreadable"],
            each["silent"],
            each["repaired"],
            _tokens(each),
            "unknown" if each["cost"] is None else f"{each['cost']} {each['currency']}",
            ", ".join(f"{name} {figure(value)}" for name, value in each["reliability"].items()),
        )
        for each in judged["judges"]
    ]
    show_table(("judge", "scored", "unreadable", "silent", "repaired", "tokens", "cost", "reliability"), rows)
    for name, method in judged["methods"].items():
        console.print(f"{name}: {method}", markup=False)


def _tokens(report: Any) -> str:
    counts = (report["inputTokens"], report["outputTokens"])
    return " in, ".join("?" if count is None else str(count) for count in counts) + " out"
