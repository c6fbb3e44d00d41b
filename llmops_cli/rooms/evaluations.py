"""`llmops evaluations`: run a benchmark, read its figures."""

from typing import Annotated, Any

import typer

from llmops_cli.context import Json, Roles, User, open_api
from llmops_cli.output import console, show_json, show_table
from llmops_cli.progress import bar, follow
from llmops_cli.references import resolve

app = typer.Typer(help="Evaluations: run a benchmark, read its figures.", no_args_is_help=True)


@app.command()
def create(
    model: Annotated[str, typer.Argument(help="A model: id, name, or name@version.")],
    dataset: Annotated[str, typer.Argument(help="An approved benchmark: id, name, or name@version.")],
    metric: Annotated[list[str] | None, typer.Option(help="exact_match, f1, bleu, rougeL, … (again for each).")] = None,
    tokenization: Annotated[str, typer.Option(help="words, or characters as for Korean.")] = "words",
    sample_size: Annotated[int | None, typer.Option(help="Score only this many rows.")] = None,
    wait: Annotated[bool, typer.Option(help="Wait for the result.")] = True,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Evaluate a model on a benchmark data set."""
    with open_api(user, roles) as api:
        body = {
            "modelId": resolve(api, "models", model)["id"],
            "datasetId": resolve(api, "datasets", dataset)["id"],
            "tokenization": tokenization,
            "sampleSize": sample_size,
            **({"metrics": metric} if metric else {}),
        }
        run = api.post("/evaluation/runs", body)
        if wait:
            with bar("evaluating") as shown:
                run = follow(api, f"/evaluation/runs/{run['id']}", shown)
                shown.done()
    if as_json:
        show_json(run)
    elif wait:
        show_figures(run)
    else:
        console.print(f"The evaluation is queued: {run['id']}")


@app.command()
def show(run: str, as_json: Json = False, user: User = None, roles: Roles = None) -> None:
    """Show an evaluation."""
    with open_api(user, roles) as api:
        found = api.get(f"/evaluation/runs/{run}")
    if as_json:
        show_json(found)
        return
    console.print(f"{found['modelName']} {found['modelVersion']} on {found['datasetName']} {found['datasetVersion']}")
    show_figures(found)


@app.command("list")
def list_evaluations(as_json: Json = False, user: User = None, roles: Roles = None) -> None:
    """List evaluations, newest first."""
    with open_api(user, roles) as api:
        runs = list(api.everything("/evaluation/runs"))
    if as_json:
        show_json(runs)
        return
    rows = [
        (
            r["id"],
            f"{r['modelName']} {r['modelVersion']}",
            f"{r['datasetName']} {r['datasetVersion']}",
            r["state"]["status"],
        )
        for r in runs
    ]
    show_table(("id", "model", "benchmark", "status"), rows)


def show_figures(run: Any) -> None:
    """Every metric with its 95 % interval and the number of samples behind it."""
    if run["result"] is None:
        console.print(f"There is no result: {run['state']['error'] or run['state']['status']}")
        return
    rows = [
        (name, figure(m["value"]), f"{figure(m['low'])} – {figure(m['high'])}", m["n"])
        for name, m in run["result"]["metrics"].items()
    ]
    show_table(("metric", "value", "95 % interval", "n"), rows)


def figure(value: float | None) -> str:
    """Three decimals; a dash for what was not measured."""
    return "–" if value is None else f"{value:.3f}"
