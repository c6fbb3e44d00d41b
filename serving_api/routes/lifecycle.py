"""What happens to a version after its approval: another is made current, it is recalled, it is deleted."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path

from llmops_resources.catalog import approvals, versions
from llmops_resources.catalog.deletion import Blocker
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.recalls import Recall
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Actor
from llmops_resources.governance.permissions import Permission
from llmops_resources.impact import graph, withdrawal
from llmops_resources.impact.graph import Impact
from llmops_resources.impact.withdrawal import RecallReport
from serving_api.dependencies import Doors, Requires, audited_refusal
from serving_api.envelope import Envelope, ok
from serving_api.schemas import Body


class RollbackBody(Body):
    """The version of the same name that is to be current again."""

    to_version: str
    notes: str = ""


class RecallBody(Body):
    """Why; a dry run only tells what would be touched."""

    reason: str
    dry_run: bool = False


class LiftBody(Body):
    """Why a recall is lifted."""

    notes: str = ""


def add_lifecycle_routes(router: APIRouter, kind: Kind, *, writer: Permission, deleter: Permission) -> None:
    """Rollback, impact, recall and deletion below `/{<kind>_id}`; `writer` or a reviewer may roll back."""
    entry = f"/{{{kind}_id}}"
    reads, moves = Requires(Permission.CATALOG_READ), Requires(writer, Permission.VERSION_APPROVE)
    recalls, lifts = Requires(Permission.VERSION_RECALL), Requires(Permission.VERSION_APPROVE)
    deletes = Requires(deleter)
    identified = Path(alias=f"{kind}_id")

    @router.post(f"{entry}/rollback")
    def roll_back(
        platform: Doors,
        actor: Annotated[Actor, Depends(moves)],
        entry_id: Annotated[UUID, identified],
        body: RollbackBody,
    ) -> Envelope[Version]:
        """Make an approved version of the same name the current one."""
        with audited_refusal(platform, actor, f"{kind}.rollback", str(entry_id)), platform.transaction(actor) as tx:
            target = versions.of_entry(tx, entry_id, kind, body.to_version)
            current = approvals.make_current(tx, target.id, body.notes)
        return ok(current, f"{current.name} {current.version} is the current version")

    @router.get(f"{entry}/impact")
    def get_impact(
        platform: Doors, actor: Annotated[Actor, Depends(reads)], entry_id: Annotated[UUID, identified]
    ) -> Envelope[Impact]:
        """Every version, evaluation and endpoint that came from this version."""
        with platform.transaction(actor) as tx:
            return ok(graph.impact(tx, versions.get(tx, entry_id, kind).id))

    @router.post(f"{entry}/recall")
    def recall(
        platform: Doors,
        actor: Annotated[Actor, Depends(recalls)],
        entry_id: Annotated[UUID, identified],
        body: RecallBody,
    ) -> Envelope[RecallReport]:
        """Put this version and all that came from it into quarantine."""
        with audited_refusal(platform, actor, f"{kind}.recall", str(entry_id)), platform.transaction(actor) as tx:
            versions.get(tx, entry_id, kind)
            report = withdrawal.recall(tx, entry_id, body.reason, dry_run=body.dry_run)
        return ok(report, "nothing was changed" if body.dry_run else "nothing that came from it can be used any more")

    @router.post(f"{entry}/recall/lift")
    def lift_recall(
        platform: Doors, actor: Annotated[Actor, Depends(lifts)], entry_id: Annotated[UUID, identified], body: LiftBody
    ) -> Envelope[Recall]:
        """End this version's recall; somebody else than the recaller does so."""
        with audited_refusal(platform, actor, f"{kind}.recall_lift", str(entry_id)), platform.transaction(actor) as tx:
            versions.get(tx, entry_id, kind)
            return ok(withdrawal.lift(tx, entry_id, body.notes), "the recall is lifted")

    @router.get(f"{entry}/blockers")
    def list_blockers(
        platform: Doors, actor: Annotated[Actor, Depends(reads)], entry_id: Annotated[UUID, identified]
    ) -> Envelope[list[Blocker]]:
        """What stands in the way of deleting this version."""
        with platform.transaction(actor) as tx:
            return ok(withdrawal.blockers(tx, versions.get(tx, entry_id, kind).id))

    @router.delete(entry)
    def delete(
        platform: Doors, actor: Annotated[Actor, Depends(deletes)], entry_id: Annotated[UUID, identified]
    ) -> Envelope[Version]:
        """Delete this version and its files; a 409 lists everything that needs it."""
        with audited_refusal(platform, actor, f"{kind}.delete", str(entry_id)), platform.transaction(actor) as tx:
            versions.get(tx, entry_id, kind)
            gone = withdrawal.delete(tx, entry_id)
        cleaned = withdrawal.clean_up(platform.blobs, lambda: platform.transaction(actor), entry_id)
        later = gone.storage_uri is not None and not cleaned
        return ok(gone, "deleted; its files are removed as soon as the store allows" if later else "deleted")
