"""The reviewers' inbox: what waits for a decision, of every kind."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from llmops_resources.catalog import versions
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Actor
from llmops_resources.governance.permissions import Permission
from serving_api import paging
from serving_api.dependencies import Cursor, Doors, Limit, Requires
from serving_api.envelope import Envelope, ok

router = APIRouter(prefix="/governance/approvals", tags=["governance"])
Reader = Annotated[Actor, Depends(Requires(Permission.CATALOG_READ))]


@router.get("")
def list_approvals(
    platform: Doors,
    actor: Reader,
    response: Response,
    kind: Kind | None = None,
    owner_team: Annotated[str | None, Query(alias="ownerTeam")] = None,
    mine: Annotated[bool | None, Query(description="true: submitted by me; false: by others")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Envelope[list[Version]]:
    """Versions under review, the last submitted first."""
    key = platform.settings.signing_key()
    with platform.transaction(actor) as tx:
        page = versions.waiting(
            tx,
            filters={"kind": kind, "owner_team": owner_team},
            submitted_by=actor.id if mine is True else None,
            not_submitted_by=actor.id if mine is False else None,
            after=paging.decode(cursor, key),
            limit=limit,
        )
    return ok(paging.send(response, page, key))
