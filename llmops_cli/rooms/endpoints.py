"""`llmops endpoints`: deploy, look; what changes one and what looks back are in the modules beside this."""

import time
from typing import Annotated, Any

import typer

from llmops_cli.api import Api, Refused, given
from llmops_cli.context import Json, Roles, User, open_api
from llmops_cli.output import console, show_json, show_table
from llmops_cli.progress import Bar, bar
from llmops_cli.references import endpoint_of, resolve
from llmops_cli.rooms import endpoint_changes, endpoint_history, endpoint_policy
from llmops_cli.rooms.endpoint_changes import (
    Because,
    Bytes,
    Cores,
    EndpointName,
    Gpu,
    GpuCount,
    KserveMode,
    Plan,
    Prompt,
    PullPolicy,
    RuntimeImage,
    ScaleCalls,
    ScaleCpu,
    ScaleGpu,
    ScaleLatency,
    Why,
    prompt_id,
    reasons,
    scaling,
    span,
    wishes,
)
from llmops_resources.errors import UpstreamTimeout

SHOWN = (
    "id", "route", "environment", "modelName", "version", "status", "statusDetail", "revision", "backend", "baseUrl",
    "runtimeImage", "useGpu", "gpuCount", "kserveMode", "minReplicas", "maxReplicas", "rollbackPlan", "promptPolicyId",
    "lastHealthCheck",
)  # fmt: skip

app = typer.Typer(help="Endpoints: deploy approved models, change them, take them back.", no_args_is_help=True)
endpoint_changes.add_to(app)
endpoint_history.add_to(app)
endpoint_policy.add_to(app)


@app.command()
def deploy(
    model: Annotated[str, typer.Argument(help="An approved model: id, name, or name@version.")],
    route: Annotated[str, typer.Argument(help="Under which name it answers.")],
    environment: Annotated[str, typer.Option("--env", help="dev, stg or prod.")] = "dev",
    rollback_plan: Plan = None,
    backend: Annotated[str | None, typer.Option(help="Where it runs: local, kubernetes or kserve.")] = None,
    gpu: Gpu = None,
    gpus: GpuCount = None,
    image: RuntimeImage = None,
    pull_policy: PullPolicy = None,
    replicas: Annotated[str, typer.Option(help="How many: 2, or 1-4 to scale.")] = "1",
    cpu: Cores = None,
    memory: Bytes = None,
    scale_cpu: ScaleCpu = None,
    scale_gpu: ScaleGpu = None,
    scale_latency: ScaleLatency = None,
    scale_calls: ScaleCalls = None,
    kserve_mode: KserveMode = None,
    prompt_policy: Prompt = None,
    because: Because = None,
    why: Why = "",
    wait: Annotated[bool, typer.Option(help="Wait until it is healthy.")] = True,
    timeout: Annotated[float, typer.Option(help="Seconds to wait.")] = 300.0,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Deploy a model to a route."""
    least, most = span(replicas)
    asked = {
        "backend": backend, "imagePullPolicy": pull_policy, **wishes(gpu, gpus, image, cpu, memory),
        "autoscalePolicy": scaling(scale_cpu, scale_gpu, scale_latency, scale_calls), "kserveMode": kserve_mode,
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
            "parityReasons": reasons(because),
            "note": why,
            **given({**asked, "promptPolicyId": prompt_id(api, prompt_policy)}),
        }
        endpoint = api.post("/serving/endpoints", body)
        if wait:
            with bar(f"deploying {route}") as shown:
                endpoint = wait_healthy(api, endpoint["id"], shown, seconds=timeout)
                shown.done(endpoint["statusDetail"])
    show_json(endpoint) if as_json else console.print(f"{route} is {endpoint['status']}: {endpoint['id']}")


@app.command()
def show(endpoint: EndpointName, as_json: Json = False, user: User = None, roles: Roles = None) -> None:
    """Show an endpoint."""
    with open_api(user, roles) as api:
        found = endpoint_of(api, endpoint)
    if as_json:
        show_json(found)
        return
    show_table(("field", "value"), [(field, found[field]) for field in SHOWN])


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
def list_endpoints(
    environment: Annotated[str | None, typer.Option("--env", help="Of this environment alone.")] = None,
    status: Annotated[str | None, typer.Option(help="In this state alone.")] = None,
    route: Annotated[str | None, typer.Option(help="Whose route contains this.")] = None,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """List endpoints."""
    with open_api(user, roles) as api:
        asked = {"environment": environment, "status": status, "routeContains": route}
        found = list(api.everything("/serving/endpoints", **asked))
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
