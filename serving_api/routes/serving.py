"""Endpoints: deployed, watched, rolled back, taken away."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from llmops_resources.database import Actor
from llmops_resources.governance.permissions import Permission
from llmops_resources.serving import deployments, endpoints, events
from llmops_resources.serving.deployments import Deployment
from llmops_resources.serving.endpoints import Endpoint, EndpointStatus, Environment
from llmops_resources.serving.events import EndpointEvent
from llmops_resources.serving.options import AutoscalePolicy, Options, decide
from llmops_resources.settings import Cpu, Image, Memory, PullPolicy, ServingBackend
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


class Deploy(Body):
    model_id: UUID
    environment: Environment
    route: str | None = None
    version: str | None = None
    min_replicas: int = 1
    max_replicas: int = 1
    rollback_plan: str | None = None
    backend: ServingBackend | None = None
    use_gpu: bool | None = None
    serving_runtime_image: Image | None = None
    image_pull_policy: PullPolicy | None = None
    cpu_request: Cpu | None = None
    cpu_limit: Cpu | None = None
    memory_request: Memory | None = None
    memory_limit: Memory | None = None
    autoscale_policy: AutoscalePolicy | None = None
    prompt_policy_id: str | None = None


@router.get("")
def list_endpoints(
    platform: Doors,
    actor: Reader,
    response: Response,
    environment: Environment | None = None,
    model_id: Annotated[UUID | None, Query(alias="modelId")] = None,
    status: EndpointStatus | None = None,
    route: str | None = None,
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
            status=status,
            after=paging.decode(cursor, key),
            limit=limit,
        )
    return ok(paging.send(response, page, key))


@router.post("")
def deploy(
    platform: Doors, actor: Deployer, request: Request, body: Deploy, key: IdempotencyKey = None
) -> Envelope[Endpoint]:
    fields: dict[str, Any] = body.model_dump()
    options = Options(**{name: fields.pop(name) for name in Options.model_fields})
    backend = str(fields.pop("backend") or platform.settings.endpoint_backend)
    with audited_refusal(platform, actor, "endpoint.deploy", str(body.model_id)):
        config = decide(platform.settings, backend, options).config
        answer = create_once(
            platform,
            actor,
            request,
            key,
            body.model_dump_json(),
            lambda tx: endpoints.deploy(tx, backend=backend, config=config, **fields),
        )
    return ok(answer, "the deployment is requested")


@router.get("/{endpoint_id}")
def get_endpoint(platform: Doors, actor: Reader, endpoint_id: UUID) -> Envelope[Endpoint]:
    with platform.transaction(actor) as tx:
        return ok(endpoints.get(tx, endpoint_id))


@router.get("/{endpoint_id}/deployments")
def list_deployments(platform: Doors, actor: Reader, endpoint_id: UUID) -> Envelope[list[Deployment]]:
    with platform.transaction(actor) as tx:
        return ok(deployments.of_endpoint(tx, endpoints.get(tx, endpoint_id).id))


@router.get("/{endpoint_id}/events")
def list_events(platform: Doors, actor: Reader, endpoint_id: UUID) -> Envelope[list[EndpointEvent]]:
    with platform.transaction(actor) as tx:
        return ok(events.of_endpoint(tx, endpoint_id))


@router.post("/{endpoint_id}/redeploy")
def redeploy(platform: Doors, actor: Deployer, endpoint_id: UUID) -> Envelope[Endpoint]:
    with platform.transaction(actor) as tx:
        return ok(deployments.redeploy(tx, endpoint_id), "the deployment is requested")


@router.post("/{endpoint_id}/rollback")
def rollback(platform: Doors, actor: Deployer, endpoint_id: UUID) -> Envelope[Endpoint]:
    with platform.transaction(actor) as tx:
        endpoint = deployments.rollback(tx, endpoint_id)
    stopped = endpoint.max_replicas == 0
    message = "there is no earlier model, so the endpoint is scaled to zero; redeploy brings it back" if stopped else (
        f"the endpoint goes back to {endpoint.model_name} {endpoint.version}"
    )
    return ok(endpoint, message)


@router.delete("/{endpoint_id}")
def delete_endpoint(platform: Doors, actor: Deployer, endpoint_id: UUID) -> Envelope[Endpoint]:
    with platform.transaction(actor) as tx:
        return ok(endpoints.delete(tx, endpoint_id), "the endpoint is being taken away")
