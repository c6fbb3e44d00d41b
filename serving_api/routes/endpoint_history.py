"""What has become of an endpoint: its revisions, what was seen of it, what it says, and how its environments differ."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import AwareDatetime, Field

from llmops_resources.database import Actor
from llmops_resources.errors import Conflict
from llmops_resources.governance.permissions import Permission
from llmops_resources.serving import deployments, endpoints, events, log_tails, parity
from llmops_resources.serving.deployments import Deployment, RevisionDiff
from llmops_resources.serving.events import EndpointEvent, HealthHistory
from llmops_resources.serving.log_tails import LogTail
from llmops_resources.serving.parity import Parity
from serving_api import paging
from serving_api.dependencies import Cursor, Doors, Limit, Requires
from serving_api.envelope import Envelope, ok
from serving_api.schemas import Body

router = APIRouter(prefix="/serving/endpoints/{endpoint_id}", tags=["serving"])
Reader = Annotated[Actor, Depends(Requires(Permission.SERVING_READ))]
Deployer = Annotated[Actor, Depends(Requires(Permission.SERVING_DEPLOY))]
Moment = Annotated[AwareDatetime | None, Query(description="with its time zone, such as 2026-01-31T12:00:00Z")]


class ParityReasons(Body):
    """Why settings differ from the environment below, by setting."""

    reasons: Annotated[dict[str, Annotated[str, Field(max_length=2_000)]], Field(min_length=1, max_length=20)]


@router.get("/deployments")
def list_deployments(
    platform: Doors, actor: Reader, response: Response, endpoint_id: UUID, limit: Limit = 50, cursor: Cursor = None
) -> Envelope[list[Deployment]]:
    """Every revision, newest first."""
    key = platform.settings.signing_key()
    with platform.transaction(actor) as tx:
        page = deployments.search(tx, endpoint_id, after=paging.decode(cursor, key), limit=limit)
    return ok(paging.send(response, page, key))


@router.get("/deployments/{revision}/diff")
def diff_deployments(
    platform: Doors, actor: Reader, endpoint_id: UUID, revision: int, against: int | None = None
) -> Envelope[RevisionDiff]:
    """What the endpoint would ask for otherwise at `revision` than at `against`, by default the present one."""
    with platform.transaction(actor) as tx:
        before = endpoints.get(tx, endpoint_id).revision if against is None else against
        return ok(deployments.diff(tx, endpoint_id, before, revision))


@router.get("/events")
def list_events(platform: Doors, actor: Reader, endpoint_id: UUID) -> Envelope[list[EndpointEvent]]:
    """The latest changes of what was seen, newest first."""
    with platform.transaction(actor) as tx:
        return ok(events.of_endpoint(tx, endpoint_id))


@router.get("/health-history")
def health_history(
    platform: Doors, actor: Reader, endpoint_id: UUID, since: Moment = None, until: Moment = None
) -> Envelope[HealthHistory]:
    """What was seen in a window, by default the last 24 hours, with reasons and the share of time it answered."""
    with platform.transaction(actor) as tx:
        return ok(events.health(tx, endpoint_id, since=since, until=until))


@router.get("/logs")
def read_log(platform: Doors, actor: Deployer, endpoint_id: UUID) -> Envelope[LogTail]:
    """The last lines of the runtime. They are brought while somebody asks: ask again every few seconds."""
    with platform.transaction(actor) as tx:
        return ok(log_tails.read(tx, endpoint_id))


@router.get("/parity")
def list_parity(platform: Doors, actor: Reader, endpoint_id: UUID) -> Envelope[list[Parity]]:
    """Each environment that serves the endpoint's route, compared with the one below it."""
    with platform.transaction(actor) as tx:
        return ok(list(parity.of_route(tx, endpoints.get(tx, endpoint_id).route)))


@router.post("/parity")
def document_parity(
    platform: Doors, actor: Deployer, endpoint_id: UUID, body: ParityReasons
) -> Envelope[list[Parity]]:
    """Write down why settings of the endpoint differ from the environment below. Writing it again replaces it."""
    with platform.transaction(actor) as tx:
        endpoint = endpoints.get(tx, endpoint_id)
        found = {it.environment: it for it in parity.of_route(tx, endpoint.route)}.get(endpoint.environment)
        if found is None or found.against is None:
            raise Conflict(
                f"no environment below {endpoint.environment} serves /{endpoint.route}", remedy="Nothing to do."
            )
        parity.document(tx, found, endpoint.route, body.reasons)
        return ok(list(parity.of_route(tx, endpoint.route)), "the reasons are written down")
