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
    backend: Annotated[str | None, typer.Option(help="Where it runs: local, kubernetes or kserve.")] = None,
    gpu: Annotated[bool | None, typer.Option(help="Serve with a GPU (in a cluster).")] = None,
    image: Annotated[str | None, typer.Option(help="The runtime's image; `llmops endpoints runtimes` lists.")] = None,
    replicas: Annotated[str, typer.Option(help="How many: 2, or 1-4 to scale.")] = "1",
    cpu: Annotated[str | None, typer.Option(help="Cores reserved and allowed: 2, or 2-4.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory reserved and allowed: 8Gi, or 8Gi-16Gi.")] = None,
    wait: Annotated[bool, typer.Option(help="Wait until it is healthy.")] = True,
    timeout: Annotated[float, typer.Option(help="Seconds to wait.")] = 300.0,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Deploy a model to a route."""
    least, most = _range(replicas)
    cpu_request, cpu_limit = _range(cpu)
    memory_request, memory_limit = _range(memory)
    asked = {
        "backend": backend, "useGpu": gpu, "servingRuntimeImage": image, "cpuRequest": cpu_request,
        "cpuLimit": cpu_limit, "memoryRequest": memory_request, "memoryLimit": memory_limit,
    }  # fmt: skip
    with open_api(user, roles) as api:
        entry = resolve(api, "models", model)
        body = {
            "modelId": entry["id"],
            "version": entry["version"],
            "environment": environment,
            "route": route,
            "minReplicas": least,
            "maxReplicas": most,
            "rollbackPlan": rollback_plan,
            **{name: value for name, value in asked.items() if value is not None},
        }
        endpoint = api.post("/serving/endpoints", body)
        if wait:
            with bar(f"deploying {route}") as shown:
                endpoint = wait_healthy(api, endpoint["id"], shown, seconds=timeout)
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


@app.command("events")
def list_events(endpoint: str, as_json: Json = False, user: User = None, roles: Roles = None) -> None:
    """Show what was seen of an endpoint, the latest first."""
    with open_api(user, roles) as api:
        found = api.get(f"/serving/endpoints/{endpoint}/events")
    if as_json:
        show_json(found)
        return
    rows = [(event["at"], event["revision"], event["status"], event["detail"]) for event in found]
    show_table(("at", "revision", "status", "detail"), rows)


@app.command("runtimes")
def list_runtimes(as_json: Json = False, user: User = None, roles: Roles = None) -> None:
    """List the runtime images that an endpoint in a cluster may have."""
    with open_api(user, roles) as api:
        found = api.get("/serving/runtimes")
    if as_json:
        show_json(found)
        return
    rows = [(r["image"], r["runtime"], "yes" if r["useGpu"] else "no", r["note"]) for r in found]
    show_table(("image", "runtime", "gpu", "note"), rows)


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


def _range(text: str | None) -> tuple[str | None, str | None]:
    """`2` and `1-4` as the least and the most."""
    least, dash, most = (text or "").partition("-")
    return least or None, (most if dash else least) or None


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
