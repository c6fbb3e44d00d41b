"""What was used: the gateway's booked calls."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from llmops_resources.database import Actor
from llmops_resources.gateway import usage
from llmops_resources.gateway.usage import Usage, UsageSummary
from llmops_resources.governance.permissions import Permission
from serving_api import paging
from serving_api.dependencies import Cursor, Doors, Limit, Requires
from serving_api.envelope import Envelope, ok

router = APIRouter(prefix="/observability", tags=["observability"])
Reader = Annotated[Actor, Depends(Requires(Permission.USAGE_READ))]


@router.get("/usage")
def list_usage(
    platform: Doors,
    actor: Reader,
    response: Response,
    route: str | None = None,
    actor_id: Annotated[str | None, Query(alias="actorId")] = None,
    since: datetime | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Envelope[list[Usage]]:
    """Calls that reached a model server, newest first; booked within seconds of the answer."""
    key = platform.settings.signing_key()
    with platform.transaction(actor) as tx:
        page = usage.search(
            tx, route=route, actor_id=actor_id, since=since, after=paging.decode(cursor, key), limit=limit
        )
    return ok(paging.send(response, page, key))


@router.get("/usage/summary")
def summarize_usage(
    platform: Doors, actor: Reader, route: str | None = None, since: datetime | None = None
) -> Envelope[list[UsageSummary]]:
    """Calls, tokens and latency per route."""
    with platform.transaction(actor) as tx:
        return ok(usage.summary(tx, route=route, since=since))
