"""`llmops evaluations`: run a benchmark, read its figures."""

from pathlib import Path
from typing import Annotated, Any

import typer

from llmops_cli.api import Api
from llmops_cli.context import Json, Roles, User, open_api
from llmops_cli.output import console, show_json, show_table
from llmops_cli.progress import bar, follow
from llmops_cli.references import resolve

app = typer.Typer(help="Evaluations: run a benchmark, read its figures.", no_args_is_help=True)


@app.command()
def create(
    model: Annotated[str, typer.Argument(help="A model: id, name, or name@version.")],
    dataset: Annotated[str, typer.Argument(help="An approved benchmark: id, name, or name@version.")],
    also: Annotated[list[str] | None, typer.Option("--model", help="Another model of the batch (repeat it).")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="exact_match, f1, bleu, rougeL, … (again for each).")] = None,
    tokenization: Annotated[str, typer.Option(help="words, or characters as for Korean.")] = "words",
    sample_size: Annotated[int | None, typer.Option(help="Score only this many rows.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="Ask this endpoint (its id); it must serve the model.")] = None,
    at_once: Annotated[int, typer.Option(help="Questions under way at once, where a server is asked.")] = 4,
    rubric: Annotated[str | None, typer.Option(help="Its digest: have the answers judged by it, too.")] = None,
    reviewer: Annotated[list[str] | None, typer.Option(help="Somebody who reviews the answers (repeat it).")] = None,
    review_role: Annotated[list[str] | None, typer.Option(help="A role whose members may review them.")] = None,
    overlap: Annotated[int, typer.Option(help="How many people review each answer.")] = 2,
    judge: Annotated[list[str] | None, typer.Option(help="A model that judges the answers (repeat it).")] = None,
    wait: Annotated[bool, typer.Option(help="Wait for the result.")] = True,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Evaluate a model on a benchmark data set, or several as one batch: all are queued, or none.

    With --rubric and --reviewer, --review-role or --judge, people or models judge the answers when they are there.
    """
    named = {"reviewers": reviewer or [], "roles": review_role or []}
    people = {**named, "overlap": overlap} if any(named.values()) else {}
    if bool(rubric) != bool(people or judge):
        raise typer.BadParameter("--rubric goes with --reviewer, --review-role or --judge: say both.")
    if rubric and also:
        raise typer.BadParameter("several models at once are judged by scorers alone: leave out --model or --rubric.")
    with open_api(user, roles) as api:
        models = [resolve(api, "models", name)["id"] for name in (model, *(also or ()))]
        body = {
            "datasetId": resolve(api, "datasets", dataset)["id"],
            "tokenization": tokenization,
            "sampleSize": sample_size,
            "atOnce": at_once,
            **({"metrics": metric} if metric else {}),
        }
        if also:
            made = api.post("/evaluation/runs/batch", {**body, "modelIds": models})
        else:
            judges = [{"modelId": resolve(api, "models", name)["id"]} for name in judge or ()]
            plan = _plan(rubric, people, judges) if rubric else {}
            made = api.post("/evaluation/runs", {**body, **plan, "modelId": models[0], "endpointId": endpoint})
        runs = made["runs"] if also else [made]
        if wait:
            runs = [_followed(api, run) for run in runs]
    if as_json:
        show_json({**made, "runs": runs} if also else runs[0])
        return
    if also:
        console.print(f"The batch is {made['id']}.")
    for run in runs:
        if not wait:
            console.print(f"The evaluation is queued: {run['id']}")
            continue
        if also:
            console.print(f"{run['modelName']} {run['modelVersion']}")
        show_figures(run)


def _plan(rubric: str, people: dict[str, Any], judges: list[Any]) -> dict[str, Any]:
    kind = "combined" if people and judges else "human" if people else "llm_judge"
    review = {"review": {"rubric": rubric, **people}} if people else {}
    return {"runType": kind, **review, **({"judging": {"rubric": rubric, "judges": judges}} if judges else {})}


def _followed(api: Api, run: Any) -> Any:
    with bar("evaluating") as shown:
        run = follow(api, f"/evaluation/runs/{run['id']}", shown)
        shown.done()
    return run


@app.command()
def resume(
    run: Annotated[str, typer.Argument(help="An evaluation or a judging that failed.")],
    wait: Annotated[bool, typer.Option(help="Wait for the result.")] = True,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Try a failed evaluation again; what it was answered before is neither asked nor paid for again."""
    with open_api(user, roles) as api:
        made = api.post(f"/evaluation/runs/{run}/resume", {})
        if wait:
            made = _followed(api, made)
    if as_json:
        show_json(made)
    elif wait:
        show_figures(made)
    else:
        console.print(f"The evaluation is queued again: {made['id']}")


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
    for problem in (found.get("afterwards") or {}).get("problems", []):
        console.print(f"Not judged as planned: {problem}", markup=False)
    if found["result"]:
        console.print(f"Contamination: {contamination(found['result'].get('contamination'))}", markup=False)


def contamination(found: Any) -> str:
    """What of the benchmark was found in the training data, in a line."""
    if not found or not found["measured"]:
        return f"not measured ({found['reason'] if found else 'an older result'})"
    extent = "all training data read" if found["complete"] else "not all training data is known or was read"
    clean = ", ".join(f"{name} {score['value']:.4g} (n={score['n']})" for name, score in found["clean"].items())
    return (
        f"{len(found['overlaps'])} of {found['samples']} samples overlap; {extent}; without them {clean or 'nothing'}"
    )


@app.command("list")
def list_evaluations(
    batch: Annotated[str | None, typer.Option(help="Only the runs of this batch.")] = None,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """List evaluations, newest first."""
    with open_api(user, roles) as api:
        runs = list(api.everything("/evaluation/runs", batchId=batch))
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


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(help="Evaluations, the baseline first.")],
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Compare evaluations with the first of them, or learn why they do not compare (then the exit status is 1)."""
    with open_api(user, roles) as api:
        found = api.get("/evaluation/runs/compare", run=runs)
    if as_json:
        show_json(found)
    else:
        for comparison in found:
            show_comparison(comparison)
            advice = comparison["recommendation"]
            console.print(f"Advice: {advice['advice']}: {'; '.join(advice['reasons'])}", markup=False)
    if not all(comparison["comparable"] for comparison in found):
        raise typer.Exit(1)


@app.command()
def export(
    run: str,
    to: Annotated[Path, typer.Argument(help="The file to write: .csv or .json.")],
    force: Annotated[bool, typer.Option(help="Write over a file that is there.")] = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Write an evaluation with all its samples into a file; no cell of a CSV is a formula to a spreadsheet."""
    write_export(f"/evaluation/runs/{run}/export", to, force, user, roles)


def write_export(path: str, to: Path, force: bool, user: str | None, roles: str | None) -> None:
    """What the API exports under a path, in a file whose ending names the form; none is written over unasked."""
    if to.suffix not in {".csv", ".json"}:
        raise typer.BadParameter("name a file that ends in .csv or .json")
    if to.exists() and not force:
        raise typer.BadParameter(f"{to} is there already; name another file, or --force to write over it")
    with open_api(user, roles) as api:
        to.write_bytes(api.fetch(path, format=to.suffix[1:]))
    console.print(f"It is in {to}.")


@app.command()
def trend(
    model: Annotated[str, typer.Argument(help="A model's name.")],
    benchmark: Annotated[str, typer.Argument(help="A benchmark's name.")],
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Show how a model's versions did on a benchmark, oldest first, each beside the one before."""
    with open_api(user, roles) as api:
        found = api.get("/evaluation/runs/trend", model=model, benchmark=benchmark)
    if as_json:
        show_json(found)
        return
    if not found:
        console.print("There are no two finished evaluations of it on this benchmark.")
    for comparison in found:
        show_comparison(comparison)


def show_comparison(comparison: Any) -> None:
    """Two runs metric by metric, or the fields in which they differ."""
    first, second = (comparison[side] for side in ("first", "second"))
    title = " against ".join(f"{r['modelName']} {r['modelVersion']}" for r in (second, first))
    if not comparison["comparable"]:
        console.print(f"{title}: not comparable")
        different = [(d["field"], str(d["first"]), str(d["second"]), d["reason"]) for d in comparison["differences"]]
        show_table(("field", "first", "second", "reason"), different)
        return
    console.print(title)
    rows = []
    for metric in comparison["metrics"]:
        by = metric["difference"]
        interval = f"{by['value']:+.3f} ({by['low']:+.3f} – {by['high']:+.3f})" if by else metric["reason"]
        values = (figure(metric[side]["value"]) for side in ("first", "second"))
        rows.append((metric["metric"], *values, interval, by["n"] if by else "–"))
    show_table(("metric", "first", "second", "difference, 95 % interval", "pairs"), rows)


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
