"""The review of a version: the same five routes for every kind the catalog governs."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path

from llmops_resources.catalog import approvals, versions
from llmops_resources.catalog.approvals import Approval
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Actor
from llmops_resources.governance.permissions import Permission
from serving_api.dependencies import Doors, Requires, audited_refusal, demand
from serving_api.envelope import Envelope, ok
from serving_api.schemas import DecisionBody, StatusChange, permission_to_move


def add_review_routes(router: APIRouter, kind: Kind, *, writer: Permission) -> None:
    """Versions, approvals, submit, status and decision below `/{<kind>_id}`; `writer` may submit and withdraw."""
    entry = f"/{{{kind}_id}}"
    reads, writes = Requires(Permission.CATALOG_READ), Requires(writer)
    moves, decides = Requires(writer, Permission.VERSION_APPROVE), Requires(Permission.VERSION_APPROVE)
    identified = Path(alias=f"{kind}_id")

    @router.get(f"{entry}/versions")
    def list_versions(
        platform: Doors, actor: Annotated[Actor, Depends(reads)], entry_id: Annotated[UUID, identified]
    ) -> Envelope[list[Version]]:
        with platform.transaction(actor) as tx:
            return ok(versions.of_name(tx, kind, versions.get(tx, entry_id, kind).name))

    @router.get(f"{entry}/approvals")
    def list_approvals(
        platform: Doors, actor: Annotated[Actor, Depends(reads)], entry_id: Annotated[UUID, identified]
    ) -> Envelope[list[Approval]]:
        with platform.transaction(actor) as tx:
            return ok(approvals.history(tx, versions.get(tx, entry_id, kind).id))

    @router.post(f"{entry}/submit", name=f"submit_{kind}")
    def submit(
        platform: Doors, actor: Annotated[Actor, Depends(writes)], entry_id: Annotated[UUID, identified]
    ) -> Envelope[Version]:
        with platform.transaction(actor) as tx:
            versions.get(tx, entry_id, kind)
            return ok(approvals.submit(tx, entry_id), "the version is under review")

    @router.patch(f"{entry}/status")
    def change_status(
        platform: Doors,
        actor: Annotated[Actor, Depends(moves)],
        entry_id: Annotated[UUID, identified],
        body: StatusChange,
    ) -> Envelope[Version]:
        demand(platform, actor, permission_to_move(body.status, writer), str(entry_id))
        with audited_refusal(platform, actor, f"{kind}.status", str(entry_id)), platform.transaction(actor) as tx:
            versions.get(tx, entry_id, kind)
            return ok(approvals.change_status(tx, entry_id, body.status, body.notes))

    @router.post(f"{entry}/versions/{{version}}/approve")
    def decide(
        platform: Doors,
        actor: Annotated[Actor, Depends(decides)],
        entry_id: Annotated[UUID, identified],
        version: str,
        body: DecisionBody,
    ) -> Envelope[Version]:
        with audited_refusal(platform, actor, f"{kind}.approve", str(entry_id)), platform.transaction(actor) as tx:
            target = versions.of_entry(tx, entry_id, kind, version)
            return ok(approvals.decide(tx, target.id, body.decision, digest=body.digest, notes=body.notes))
