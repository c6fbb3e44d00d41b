"""`llmops endpoints`: deploy, look."""

import time
from typing import Annotated, Any

import typer

from llmops_cli.api import Api, Refused
from llmops_cli.context import Json, Roles, User, open_api
from llmops_cli.output import console, show_json, show_table
from llmops_cli.progress import Bar, bar
from llmops_cli.references import resolve
from llmops_resources.errors import UpstreamTimeout

app = typer.Typer(help="Endpoints: deploy approved models.", no_args_is_help=True)


@app.command()
def deploy(
    model: Annotated[str, typer.Argument(help="An approved model: id, name, or name@version.")],
    route: Annotated[str, typer.Argument(help="Under which name it answers.")],
    environment: Annotated[str, typer.Option("--env", help="dev, stg or prod.")] = "dev",
    rollback_plan: Annotated[str | None, typer.Option(help="Required in prod.")] = None,
    wait: Annotated[bool, typer.Option(help="Wait until it is healthy.")] = True,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Deploy a model to a route."""
    with open_api(user, roles) as api:
        entry = resolve(api, "models", model)
        body = {
            "modelId": entry["id"],
            "version": entry["version"],
            "environment": environment,
            "route": route,
            "minReplicas": 1,
            "maxReplicas": 1,
            "rollbackPlan": rollback_plan,
        }
        endpoint = api.post("/serving/endpoints", body)
        if wait:
            with bar(f"deploying {route}") as shown:
                endpoint = wait_healthy(api, endpoint["id"], shown)
                shown.done(endpoint["statusDetail"])
    show_json(endpoint) if as_json else console.print(f"{route} is {endpoint['status']}: {endpoint['id']}")


@app.command()
def show(endpoint: str, as_json: Json = False, user: User = None, roles: Roles = None) -> None:
    """Show an endpoint."""
    with open_api(user, roles) as api:
        found = api.get(f"/serving/endpoints/{endpoint}")
    if as_json:
        show_json(found)
        return
    fields = ("id", "route", "environment", "modelName", "version", "status", "statusDetail", "revision", "baseUrl")
    show_table(("field", "value"), [(field, found[field]) for field in fields])


@app.command("list")
def list_endpoints(as_json: Json = False, user: User = None, roles: Roles = None) -> None:
    """List endpoints."""
    with open_api(user, roles) as api:
        found = list(api.everything("/serving/endpoints"))
    if as_json:
        show_json(found)
        return
    rows = [(e["route"], e["environment"], f"{e['modelName']} {e['version']}", e["status"], e["id"]) for e in found]
    show_table(("route", "environment", "model", "status", "id"), rows)


def wait_healthy(api: Api, endpoint_id: str, shown: Bar, *, seconds: float = 300.0) -> Any:
    """Poll until the endpoint is healthy. Raises Refused when it failed, UpstreamTimeout when it takes too long."""
    started = time.monotonic()
    while True:
        endpoint = api.get(f"/serving/endpoints/{endpoint_id}")
        if endpoint["status"] == "healthy":
            return endpoint
        if endpoint["status"] == "failed":
            raise Refused(409, f"the endpoint failed: {endpoint['statusDetail']}", "See `llmops endpoints show`.")
        waited = time.monotonic() - started
        if waited > seconds:
            raise UpstreamTimeout(
                f"the endpoint is still {endpoint['status']} after {seconds:.0f} seconds: {endpoint['statusDetail']}",
                remedy="See `llmops status` and the logs of `endpoints`.",
            )
        shown.show(min(0.95, waited / 20), endpoint["statusDetail"] or endpoint["status"])
        time.sleep(0.5)
