"""Who I am, the audit log, and usage."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from llmops_resources.database import Actor
from llmops_resources.governance import audit
from llmops_resources.governance.audit import AuditEntry, ChainVerdict
from llmops_resources.governance.permissions import Permission, may
from llmops_resources.values import Value
from serving_api.dependencies import Doors, Limit, Requires
from serving_api.envelope import Envelope, ok

router = APIRouter(tags=["governance"])
Anyone = Annotated[Actor, Depends(Requires(Permission.SELF_READ))]
Auditor = Annotated[Actor, Depends(Requires(Permission.AUDIT_READ))]


class Me(Value):
    """The caller, as the platform sees them."""

    user_id: str
    roles: tuple[str, ...]
    permissions: tuple[str, ...]
    auth_mode: str
    single_user: bool


@router.get("/governance/me")
def get_me(platform: Doors, actor: Anyone) -> Envelope[Me]:
    granted = tuple(permission for permission in Permission if may(actor, permission))
    settings = platform.settings
    return ok(
        Me(
            user_id=actor.id,
            roles=tuple(sorted(actor.roles)),
            permissions=granted,
            auth_mode=settings.auth_mode,
            single_user=settings.single_user,
        )
    )


@router.get("/audit/logs")
def list_audit(
    platform: Doors,
    actor: Auditor,
    response: Response,
    actor_id: Annotated[str | None, Query(alias="actorId")] = None,
    resource_type: Annotated[str | None, Query(alias="resourceType")] = None,
    resource_id: Annotated[str | None, Query(alias="resourceId")] = None,
    action: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: Limit = 50,
    cursor: Annotated[int | None, Query(ge=1, description="X-Next-Cursor of the page before")] = None,
) -> Envelope[list[AuditEntry]]:
    with platform.transaction(actor) as tx:
        entries = audit.search(
            tx,
            actor_id=actor_id,
            resource_type=resource_type,
            resource_id=resource_id,
            action=action,
            since=since,
            until=until,
            before_id=cursor,
            limit=limit + 1,
        )
    if len(entries) > limit:
        response.headers["X-Next-Cursor"] = str(entries[limit - 1].id)
    return ok(entries[:limit])


@router.get("/audit/verify")
def verify_audit(
    platform: Doors,
    actor: Auditor,
    noted: Annotated[
        str | None, Query(pattern="^[0-9a-f]{64}$", description="a `lastHash` of earlier, kept elsewhere")
    ] = None,
) -> Envelope[ChainVerdict]:
    """Recompute the hash chain of the whole audit log, and look for a hash that was noted earlier."""
    with platform.transaction(actor) as tx:
        return ok(audit.verify(tx.session, noted))
