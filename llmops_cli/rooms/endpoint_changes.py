"""`llmops endpoints`: change, roll out again, take back, stop, start, delete."""

from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from llmops_cli.api import Api, given
from llmops_cli.context import Json, Roles, User, open_api
from llmops_cli.output import console, show_json
from llmops_cli.references import endpoint_of, resolve
from llmops_resources.errors import ValidationFailed, field_problem

EndpointName = Annotated[str, typer.Argument(help="Its id, or environment/route such as stg/chat.")]
Why = Annotated[str, typer.Option("--why", help="Kept with the revision and in the audit log.")]
Because = Annotated[
    list[str] | None,
    typer.Option("--because", help="Why a setting differs from the environment below: useGpu='no GPUs in dev'."),
]
Seen = Annotated[int | None, typer.Option("--revision", help="Refuse when another revision is current by now.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Gpu = Annotated[bool | None, typer.Option("--gpu/--no-gpu", help="Serve with a GPU (in a cluster).")]
GpuCount = Annotated[int | None, typer.Option("--gpus", help="GPUs of one replica, which share the model.")]
RuntimeImage = Annotated[str | None, typer.Option("--image", help="The image; `llmops endpoints runtimes` lists.")]
Cores = Annotated[str | None, typer.Option(help="Cores reserved and allowed: 2, or 2-4.")]
Bytes = Annotated[str | None, typer.Option(help="Memory reserved and allowed: 8Gi, or 8Gi-16Gi.")]
Prompt = Annotated[
    str | None, typer.Option("--prompt-policy", help="Its prompt while its route has none: name, name@version or id.")
]
PullPolicy = Annotated[str | None, typer.Option(help="When nodes pull the image: IfNotPresent, Always or Never.")]
Plan = Annotated[str | None, typer.Option("--rollback-plan", help="How this is undone. Required in stg and prod.")]
ScaleCpu = Annotated[int | None, typer.Option(help="Add replicas above so much CPU, in percent.")]
ScaleGpu = Annotated[int | None, typer.Option(help="Add replicas above so much GPU, in percent.")]
ScaleCalls = Annotated[int | None, typer.Option(help="With Knative: add replicas above so many calls at once each.")]
KserveMode = Annotated[str | None, typer.Option(help="How KServe runs it: raw, or knative, which scales to zero.")]
ScaleLatency = Annotated[int | None, typer.Option(help="Add replicas above such a latency, in milliseconds.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands that make revisions, and the one that ends an endpoint."""
    for command in (change, redeploy, rollback, stop, start, delete):
        app.command()(command)


def change(
    endpoint: EndpointName,
    replicas: Annotated[str | None, typer.Option(help="How many: 2, or 1-4 to scale.")] = None,
    rollback_plan: Plan = None,
    gpu: Gpu = None,
    gpus: GpuCount = None,
    image: RuntimeImage = None,
    pull_policy: PullPolicy = None,
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
    revision: Seen = None,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Change what is named, as a new revision; the rest stays."""
    least, most = span(replicas)
    body = {
        "minReplicas": least, "maxReplicas": most, "rollbackPlan": rollback_plan, "imagePullPolicy": pull_policy,
        **wishes(gpu, gpus, image, cpu, memory),
        "autoscalePolicy": scaling(scale_cpu, scale_gpu, scale_latency, scale_calls), "kserveMode": kserve_mode,
        "parityReasons": reasons(because), "note": why, "revision": revision,
    }  # fmt: skip
    with open_api(user, roles) as api:
        found = endpoint_of(api, endpoint)
        body["promptPolicyId"] = prompt_id(api, prompt_policy)
        _tell(api.patch(f"/serving/endpoints/{found['id']}", given(body)), as_json)


def redeploy(
    endpoint: EndpointName,
    gpu: Gpu = None,
    gpus: GpuCount = None,
    image: RuntimeImage = None,
    cpu: Cores = None,
    memory: Bytes = None,
    because: Because = None,
    why: Why = "",
    revision: Seen = None,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Roll the present settings out once more, or with another GPU, image or resources."""
    query = wishes(gpu, gpus, image, cpu, memory)
    body = {"parityReasons": reasons(because), "note": why, "revision": revision}
    with open_api(user, roles) as api:
        found = endpoint_of(api, endpoint)
        _tell(api.post(f"/serving/endpoints/{found['id']}/redeploy?{urlencode(query)}", body), as_json)


def rollback(
    endpoint: EndpointName,
    to: Annotated[int | None, typer.Option(help="Which revision; without it the one before.")] = None,
    why: Why = "",
    revision: Seen = None,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Go back to an earlier revision, with its model, image, settings, prompt and replicas."""
    with open_api(user, roles) as api:
        found = endpoint_of(api, endpoint)
        body = {"to": to, "note": why, "revision": revision}
        _tell(api.post(f"/serving/endpoints/{found['id']}/rollback", body), as_json)


def stop(
    endpoint: EndpointName, why: Why = "", as_json: Json = False, user: User = None, roles: Roles = None
) -> None:
    """Scale an endpoint to zero; it keeps its settings."""
    with open_api(user, roles) as api:
        _tell(_ask(api, endpoint, "stopped", why), as_json)


def start(
    endpoint: EndpointName, why: Why = "", as_json: Json = False, user: User = None, roles: Roles = None
) -> None:
    """Bring a stopped endpoint back with the replicas it had."""
    with open_api(user, roles) as api:
        _tell(_ask(api, endpoint, "deploying", why), as_json)


def delete(endpoint: EndpointName, yes: Yes = False, user: User = None, roles: Roles = None) -> None:
    """Take an endpoint away, with everything that runs for it."""
    with open_api(user, roles) as api:
        found = endpoint_of(api, endpoint)
        if not yes:
            typer.confirm(f"Delete /{found['route']} in {found['environment']}?", abort=True)
        api.delete(f"/serving/endpoints/{found['id']}")
    console.print(f"/{found['route']} in {found['environment']} is being taken away.")


def prompt_id(api: Api, reference: str | None) -> str | None:
    """The id of the prompt version that somebody means; None when nothing was said. Raises NotFound."""
    return str(resolve(api, "prompts", reference)["id"]) if reference else None


def wishes(
    gpu: bool | None, gpus: int | None, image: str | None, cpu: str | None, memory: str | None
) -> dict[str, Any]:
    """The options that were said, as the API spells them."""
    (cpu_request, cpu_limit), (memory_request, memory_limit) = span(cpu), span(memory)
    return given({
        "useGpu": gpu, "gpuCount": gpus, "servingRuntimeImage": image, "cpuRequest": cpu_request,
        "cpuLimit": cpu_limit, "memoryRequest": memory_request, "memoryLimit": memory_limit,
    })  # fmt: skip


def scaling(cpu: int | None, gpu: int | None, latency: int | None, calls: int | None) -> dict[str, int] | None:
    """When replicas are added; None when nothing was said."""
    asked = {"cpuUtilization": cpu, "gpuUtilization": gpu, "targetLatencyMs": latency, "concurrency": calls}
    return given(asked) or None


def reasons(because: list[str] | None) -> dict[str, str]:
    """`setting=reason`, each. Raises ValidationFailed for what is not."""
    pairs = [text.partition("=") for text in because or []]
    if wrong := [field for field, equals, reason in pairs if not (field and equals and reason)]:
        problem = field_problem("--because", f"{wrong[0]!r} is no reason", "Write useGpu='no GPUs in dev'.")
        raise ValidationFailed("a reason cannot be read", details=[problem])
    return {field: reason for field, _, reason in pairs}


def span(text: str | None) -> tuple[str | None, str | None]:
    """`2` and `1-4` as the least and the most."""
    least, dash, most = (text or "").partition("-")
    return least or None, (most if dash else least) or None


def _ask(api: Api, endpoint: str, status: str, why: str) -> Any:
    return api.patch(f"/serving/endpoints/{endpoint_of(api, endpoint)['id']}", {"status": status, "note": why})


def _tell(endpoint: Any, as_json: bool) -> None:
    if as_json:
        show_json(endpoint)
        return
    replicas = f"{endpoint['minReplicas']}-{endpoint['maxReplicas']} replicas" if endpoint["maxReplicas"] else "stopped"
    what = f"{endpoint['modelName']} {endpoint['version']}, {replicas}"
    console.print(f"/{endpoint['route']} in {endpoint['environment']} is at revision {endpoint['revision']}: {what}")
