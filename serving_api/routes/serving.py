"""Endpoints: deployed, watched, rolled back, taken away."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from llmops_resources.catalog import approvals
from llmops_resources.catalog.lifecycle import ModelType
from llmops_resources.database import Actor
from llmops_resources.governance.permissions import Permission
from llmops_resources.platform import Platform
from llmops_resources.serving import endpoints, parity, revisions, wishes
from llmops_resources.serving.endpoints import EXTERNAL, Endpoint, EndpointStatus
from llmops_resources.serving.environments import Environment
from llmops_resources.serving.options import AutoscalePolicy, GpuCount, Options, decide
from llmops_resources.serving.parity import Parity
from llmops_resources.settings import Cpu, Image, KserveMode, Memory, PullPolicy, ServingBackend
from serving_api import paging
from serving_api.dependencies import (
    Cursor,
    Doors,
    IdempotencyKey,
    Limit,
    Requires,
    audited_refusal,
    create_once,
)
from serving_api.envelope import Envelope, ok
from serving_api.schemas import Body

router = APIRouter(prefix="/serving/endpoints", tags=["serving"])
Reader = Annotated[Actor, Depends(Requires(Permission.SERVING_READ))]
Deployer = Annotated[Actor, Depends(Requires(Permission.SERVING_DEPLOY))]


Reason = Annotated[str, Field(max_length=2_000)]
Note = Annotated[str, Field(max_length=2_000, description="why this is done; kept with the revision")]
Plan = Annotated[str, Field(max_length=10_000)]
Reasons = Annotated[
    dict[str, Reason], Field(max_length=20, description="why a setting differs from the environment below, by setting")
]
Seen = Annotated[int, Field(ge=1, description="the revision you looked at: 409 when it is another one by now")]

PromptId = Annotated[
    UUID, Field(description="an approved prompt version: what calls are made with while the route has no prompt bound")
]


class Wished(Body):
    """What may be asked of an endpoint beside its model and replicas."""

    use_gpu: bool | None = None
    gpu_count: GpuCount | None = None
    serving_runtime_image: Image | None = None
    image_pull_policy: PullPolicy | None = None
    cpu_request: Cpu | None = None
    cpu_limit: Cpu | None = None
    memory_request: Memory | None = None
    memory_limit: Memory | None = None
    autoscale_policy: AutoscalePolicy | None = None
    kserve_mode: KserveMode | None = None
    prompt_policy_id: PromptId | None = None


class Deploy(Wished):
    model_id: UUID
    environment: Environment
    route: str | None = None
    version: str | None = None
    min_replicas: int = 1
    max_replicas: int = 1
    rollback_plan: Plan | None = None
    backend: ServingBackend | None = None
    parity_reasons: Reasons = Field(default_factory=dict)
    note: Note = ""


class EndpointChange(Wished):
    """What is left out stays; null goes back to the installation's default."""

    min_replicas: int = 1
    max_replicas: int = 1
    rollback_plan: Plan | None = None
    status: EndpointStatus = Field(EndpointStatus.DEPLOYING, description="stopped, or deploying to start it again")
    parity_reasons: Reasons = Field(default_factory=dict)
    note: Note = ""
    revision: Seen | None = None


class RedeployQuery(Body):
    """Settings that the redeployment changes; what is left out stays."""

    use_gpu: bool | None = None
    gpu_count: GpuCount | None = None
    serving_runtime_image: Image | None = None
    cpu_request: Cpu | None = None
    cpu_limit: Cpu | None = None
    memory_request: Memory | None = None
    memory_limit: Memory | None = None


class Redeployment(Body):
    parity_reasons: Reasons = Field(default_factory=dict)
    note: Note = ""
    revision: Seen | None = None


class EndpointRollback(Body):
    """Where to go back to; without it to the revision before."""

    to: Annotated[int, Field(ge=1)] | None = None
    note: Note = ""
    revision: Seen | None = None


@router.get("")
def list_endpoints(
    platform: Doors,
    actor: Reader,
    response: Response,
    environment: Environment | None = None,
    model_id: Annotated[UUID | None, Query(alias="modelId")] = None,
    status: EndpointStatus | None = None,
    route: str | None = None,
    route_contains: Annotated[str | None, Query(alias="routeContains", max_length=100)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Envelope[list[Endpoint]]:
    key = platform.settings.signing_key()
    with platform.transaction(actor) as tx:
        page = endpoints.search(
            tx,
            environment=environment,
            model_id=model_id,
            route=endpoints.normalize_route(route) if route else None,
            route_contains=route_contains,
            status=status,
            after=paging.decode(cursor, key),
            limit=limit,
        )
    return ok(paging.send(response, page, key))


@router.post("")
def deploy(
    platform: Doors, actor: Deployer, request: Request, body: Deploy, key: IdempotencyKey = None
) -> Envelope[Endpoint]:
    backend, options = _decided(platform, body)
    fields = body.model_dump(exclude={*Options.model_fields, "backend", "parity_reasons"})
    with audited_refusal(platform, actor, "endpoint.deploy", str(body.model_id)):
        config = decide(platform.settings, backend, options).config
        answer = create_once(
            platform,
            actor,
            request,
            key,
            body.model_dump_json(),
            lambda tx: endpoints.deploy(tx, backend=backend, config=config, reasons=body.parity_reasons, **fields),
        )
    return ok(answer, "the deployment is requested")


@router.post("/parity")
def check_parity(platform: Doors, actor: Deployer, body: Deploy) -> Envelope[Parity]:
    """What would keep this deployment from being made, without making it: differences from the environment below."""
    backend, options = _decided(platform, body)
    with platform.transaction(actor) as tx:
        model = approvals.approved_model(tx, body.model_id).version
        external = model.type is ModelType.EXTERNAL
        config = options.config if external else decide(platform.settings, backend, options).config
        wanted = wishes.of_environment(EXTERNAL if external else backend, config)
        return ok(parity.compare(tx, body.environment, endpoints.route_for(model, body.route), wanted))


@router.get("/{endpoint_id}")
def get_endpoint(platform: Doors, actor: Reader, endpoint_id: UUID) -> Envelope[Endpoint]:
    with platform.transaction(actor) as tx:
        return ok(endpoints.get(tx, endpoint_id))


@router.patch("/{endpoint_id}")
def change_endpoint(platform: Doors, actor: Deployer, endpoint_id: UUID, body: EndpointChange) -> Envelope[Endpoint]:
    """Change settings; each change is a revision that can be gone back from."""
    given = body.model_dump(exclude_unset=True, exclude={"parity_reasons", "note", "revision"})
    with audited_refusal(platform, actor, "endpoint.change", str(endpoint_id)), platform.transaction(actor) as tx:
        changed = revisions.change(
            tx, platform.settings, endpoint_id, given, seen=body.revision, note=body.note, reasons=body.parity_reasons
        )
    return ok(changed, f"the endpoint is at revision {changed.revision}")


@router.post("/{endpoint_id}/redeploy")
def redeploy(
    platform: Doors,
    actor: Deployer,
    request: Request,
    endpoint_id: UUID,
    query: Annotated[RedeployQuery, Query()],
    body: Redeployment | None = None,
    key: IdempotencyKey = None,
) -> Envelope[Endpoint]:
    given, asked = query.model_dump(exclude_unset=True), body or Redeployment()
    with audited_refusal(platform, actor, "endpoint.redeploy", str(endpoint_id)):
        answer = create_once(
            platform,
            actor,
            request,
            key,
            query.model_dump_json() + asked.model_dump_json(),
            lambda tx: revisions.redeploy(
                tx, platform.settings, endpoint_id, given, seen=asked.revision, note=asked.note,
                reasons=asked.parity_reasons,
            ),
        )  # fmt: skip
    return ok(answer, "the deployment is requested")


@router.post("/{endpoint_id}/rollback")
def rollback(
    platform: Doors,
    actor: Deployer,
    request: Request,
    endpoint_id: UUID,
    body: EndpointRollback | None = None,
    key: IdempotencyKey = None,
) -> Envelope[Endpoint]:
    asked = body or EndpointRollback()
    with audited_refusal(platform, actor, "endpoint.rollback", str(endpoint_id)):
        answer = create_once(
            platform,
            actor,
            request,
            key,
            asked.model_dump_json(),
            lambda tx: revisions.rollback(
                tx, platform.settings, endpoint_id, revision=asked.to, seen=asked.revision, note=asked.note
            ),
        )
    endpoint = Endpoint.model_validate(answer)
    message = "there is no earlier revision, so the endpoint is scaled to zero; redeploy brings it back"
    if endpoint.max_replicas:
        message = f"the endpoint goes back to {endpoint.model_name} {endpoint.version}"
    return ok(answer, message)


@router.delete("/{endpoint_id}")
def delete_endpoint(platform: Doors, actor: Deployer, endpoint_id: UUID) -> Envelope[Endpoint]:
    with platform.transaction(actor) as tx:
        return ok(endpoints.delete(tx, endpoint_id), "the endpoint is being taken away")


def _decided(platform: Platform, body: Deploy) -> tuple[str, Options]:
    """Where a deployment runs, and its optional part."""
    options = Options(**{name: getattr(body, name) for name in Options.model_fields})
    return str(body.backend or platform.settings.endpoint_backend), options
