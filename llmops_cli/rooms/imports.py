"""`llmops models import`: a model from the Hugging Face Hub or from a folder of the server."""

from typing import Annotated, Any

import typer

from llmops_cli.context import Json, Roles, User, open_api
from llmops_cli.output import console, show_json
from llmops_cli.progress import bar, follow
from llmops_cli.references import resolve

HUB = "hf:"


def import_model(
    source: Annotated[str, typer.Argument(help="hf:organisation/name, or a folder of the server.")],
    name: Annotated[str, typer.Option(help="Its name in the catalog.")],
    team: Annotated[str, typer.Option(help="The team that answers for it.")],
    version: Annotated[str, typer.Option(help="Its version in the catalog.")] = "1",
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the repository.")] = None,
    dataset: Annotated[
        list[str] | None, typer.Option(help="A data set it was trained on: id, name, or name@version; repeatable.")
    ] = None,
    watching: Annotated[bool, typer.Option("--watch/--no-watch", help="Wait for it with a progress bar.")] = True,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Bring a model in from the Hugging Face Hub or from a folder of the server."""
    body: dict[str, Any] = {
        "name": name,
        "version": version,
        "ownerTeam": team,
        "source": "huggingface" if source.startswith(HUB) else "directory",
        "location": source.removeprefix(HUB),
        "revision": revision,
    }
    with open_api(user, roles) as api:
        trained_on = [resolve(api, "datasets", each)["id"] for each in dataset or ()]
        body["lineage"] = {"datasetIds": trained_on}
        asked = api.post("/catalog/models/import", body)
        if watching:
            with bar(f"importing {name} {version}") as shown:
                asked = follow(api, f"/catalog/models/{asked['modelId']}/import", shown)
                shown.done(gist(asked))
        if as_json:
            show_json(asked)
        elif not watching:
            console.print(f"The import is queued: model {asked['modelId']}")


def gist(item: Any) -> str:
    """What came in, in a few words."""
    summary = (item["report"] or {}).get("summary", {})
    return f"{summary.get('parameters', 0):,} parameters in {summary.get('tensors', 0):,} tensors"
