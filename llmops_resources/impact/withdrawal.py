"""Taking a version back or away, with everything in every room that this touches, in one transaction."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from uuid import UUID

from llmops_resources import work
from llmops_resources.blobs import Blobs
from llmops_resources.catalog import deletion, imports, recalls, versions
from llmops_resources.catalog.deletion import Blocker
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.recalls import Recall
from llmops_resources.catalog.versions import Version
from llmops_resources.checks import comparisons, validations
from llmops_resources.database import Transaction
from llmops_resources.errors import PlatformError
from llmops_resources.evaluation import uses as evaluations
from llmops_resources.impact.graph import Impact, impact
from llmops_resources.prompts import bindings
from llmops_resources.serving import endpoints
from llmops_resources.training import uses
from llmops_resources.values import Value

logger = logging.getLogger(__name__)


class RecallReport(Value):
    """What a recall touches; `recall` is None for a dry run. Work that was stopped is named by id."""

    recall: Recall | None
    impact: Impact
    stopped_jobs: tuple[UUID, ...]
    stopped_evaluations: tuple[UUID, ...]


def recall(tx: Transaction, root: UUID, reason: str, *, dry_run: bool = False) -> RecallReport:
    """Put a version and all that came from it into quarantine, and stop the work that uses any of it.

    The gateway refuses their endpoints within a second, and the backend stops them at its next look. Doing it again
    touches only what has come since. Raises NotFound, or ValidationFailed without a reason.
    """
    if dry_run:
        found = impact(tx, root)
        ids = _version_ids(found)
        return RecallReport(
            recall=None,
            impact=found,
            stopped_jobs=tuple(uses.using(tx, ids)),
            stopped_evaluations=tuple(evaluations.waiting_on(tx, ids)),
        )
    opened, fresh = recalls.recall(tx, root, reason)
    stopped_jobs = uses.stop_using(tx, opened.version_ids)
    stopped_evaluations = evaluations.stop_using(tx, opened.version_ids)
    found = impact(tx, root)
    tx.audit(
        f"{found.version.kind}.recall", found.version.kind, root, recall=str(opened.id), reason=reason,
        quarantined=[str(version) for version in fresh],
        endpoints=[f"{node.version}/{node.name} {node.id}" for node in found.endpoints],
        evaluations=[str(node.id) for node in found.evaluations],
        stopped=[str(row) for row in (*stopped_jobs, *stopped_evaluations)],
    )  # fmt: skip
    work.notify(tx, endpoints.CHANNEL)
    return RecallReport(
        recall=opened,
        impact=found,
        stopped_jobs=tuple(stopped_jobs),
        stopped_evaluations=tuple(stopped_evaluations),
    )


def lift(tx: Transaction, root: UUID, notes: str) -> Recall:
    """Lift a recall; what no other recall holds may be used again as before. Raises Conflict or Forbidden."""
    lifted, freed = recalls.lift(tx, root, notes)
    version = versions.get(tx, root)
    waived = "SINGLE_USER=true lets the recaller lift it" if lifted.recalled_by == tx.actor.id else None
    tx.audit(
        f"{version.kind}.recall_lift", version.kind, root, recall=str(lifted.id), notes=notes, waived=waived,
        freed=[str(entry) for entry in freed],
    )  # fmt: skip
    work.notify(tx, endpoints.CHANNEL)
    return lifted


def blockers(tx: Transaction, version_id: UUID) -> list[Blocker]:
    """Everything in every room that needs a version. Raises NotFound."""
    version = versions.get(tx, version_id)
    return [
        *endpoints.blockers(tx, version.id),
        *uses.blockers(tx, version.id),
        *evaluations.blockers(tx, version.id),
        *validations.blockers(tx, version.id),
        *comparisons.blockers(tx, version.id),
        *bindings.blockers(tx, version.id),
        *_import(tx, version),
        *deletion.blockers(tx, version),
    ]


def delete(tx: Transaction, version_id: UUID) -> Version:
    """Take a version out of the catalog when nothing needs it; its files go afterwards, by `remove_files`.

    Raises NotFound, or Conflict that lists each blocker.
    """
    versions.load(tx, version_id)  # from here on nothing new can refer to it
    gone = deletion.delete(tx, version_id, blockers(tx, version_id))
    comparisons.forget(tx, version_id)
    return gone


def clean_up(blobs: Blobs, begin: Callable[[], AbstractContextManager[Transaction]], only: UUID | None = None) -> int:
    """Remove the files of deleted versions as far as that succeeds; what fails is left for the next call.

    `begin` opens a transaction, `only` names one version. Returns how many versions were cleaned up.
    """
    with begin() as tx:
        found = [left for left in deletion.leftovers(tx) if only is None or left.version_id == only]
    cleaned = 0
    for leftover in found:
        try:
            files = blobs.delete(leftover.prefix)
            with begin() as tx:
                deletion.files_removed(tx, leftover.version_id, files)
            cleaned += 1
        except PlatformError as error:
            logger.warning("the files at %s could not be removed, they are tried again: %s", leftover.prefix, error)
    return cleaned


def _import(tx: Transaction, version: Version) -> list[Blocker]:
    """The import that still brings a model's files."""
    found = imports.find(tx, version.id) if version.kind is Kind.MODEL else None
    if found is None or found.state.status not in work.ACTIVE:
        return []
    reason, remedy = f"is {found.state.status}", "Cancel it, or wait for it to finish."
    return [Blocker(type="import", id=found.id, name="its import", reason=reason, remedy=remedy)]


def _version_ids(found: Impact) -> tuple[UUID, ...]:
    return tuple(node.id for node in (found.version, *found.models, *found.datasets, *found.others))
