"""Deletion of a version: refused while something needs it; its row stays for history, its files go afterwards."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from llmops_resources.catalog import lineage, secrets, versions
from llmops_resources.catalog.lifecycle import Status
from llmops_resources.catalog.tables import VersionRow
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, FieldProblem
from llmops_resources.values import Value, utc_now


class Blocker(Value):
    """Something that needs a version: what it is, which one, why, and what to do about it."""

    type: str
    id: UUID
    name: str
    reason: str
    remedy: str


class Obstacle(FieldProblem):
    """A blocker among the details of an error."""

    type: str
    id: str
    name: str


class Leftover(Value):
    """The files of a deleted version that are still in the object store."""

    version_id: UUID
    prefix: str
    deleted_at: datetime


def blockers(tx: Transaction, version: Version) -> list[Blocker]:
    """What the catalog itself has against deleting a version."""
    found = [
        Blocker(
            type=child.kind,
            id=child.id,
            name=f"{child.name} {child.version}",
            reason="was made from it",
            remedy="Delete it first; lineage must not lose its beginning.",
        )
        for child in lineage.children(tx, version.id)
    ]
    if version.status is Status.UNDER_REVIEW:
        found.append(
            Blocker(
                type="approval",
                id=version.id,
                name=f"{version.name} {version.version}",
                reason="waits for a decision",
                remedy="Reject it or request changes first.",
            )
        )
    return found


def delete(tx: Transaction, version_id: UUID, in_the_way: Sequence[Blocker]) -> Version:
    """Take a version out of the catalog. The caller holds its lock and has asked every room what needs it.

    Raises Conflict that lists each blocker.
    """
    row = versions.load(tx, version_id)
    gone = versions.value(row)
    if in_the_way:
        raise Conflict(
            f"{gone.kind} {gone.name} {gone.version} cannot be deleted, {_count(len(in_the_way))}",
            remedy="Clear what is listed, then delete it again.",
            details=[_detail(blocker) for blocker in in_the_way],
        )
    row.deleted_at = utc_now()
    secrets.erase(tx, row.id)
    if row.storage_prefix is None:
        row.files_removed_at = row.deleted_at
    tx.audit(
        f"{row.kind}.delete", row.kind, row.id, name=row.name, version=row.version, digest=row.digest,
        files=len(row.files), bytes=row.size_bytes, storage=row.storage_uri,
    )  # fmt: skip
    return gone


def leftovers(tx: Transaction, *, limit: int = 20) -> list[Leftover]:
    """Deleted versions whose files are still there, the longest deleted first."""
    query = select(VersionRow).where(VersionRow.deleted_at.is_not(None), VersionRow.files_removed_at.is_(None))
    return [
        Leftover(version_id=row.id, prefix=row.storage_prefix, deleted_at=row.deleted_at)
        for row in tx.session.scalars(query.order_by(VersionRow.deleted_at).limit(limit))
        if row.storage_prefix is not None and row.deleted_at is not None
    ]


def files_removed(tx: Transaction, version_id: UUID, files: int) -> None:
    """The files of a deleted version are gone."""
    row = tx.session.get_one(VersionRow, version_id, with_for_update=True)
    if row.files_removed_at is None:
        row.files_removed_at = utc_now()
        tx.audit(f"{row.kind}.files_removed", row.kind, row.id, files=files)


def _detail(blocker: Blocker) -> Obstacle:
    return {
        "path": f"{blocker.type}/{blocker.id}",
        "problem": f"{blocker.name} {blocker.reason}",
        "remedy": blocker.remedy,
        "type": blocker.type,
        "id": str(blocker.id),
        "name": blocker.name,
    }


def _count(number: int) -> str:
    return "one thing needs it" if number == 1 else f"{number} things need it"
