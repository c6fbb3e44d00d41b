"""Which jobs need a version of the catalog, for recalls and deletions."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Select, select

from llmops_resources import work
from llmops_resources.catalog.deletion import Blocker
from llmops_resources.database import Transaction
from llmops_resources.training.tables import JobRow


def using(tx: Transaction, version_ids: Sequence[UUID]) -> list[UUID]:
    """Queued or running jobs that use one of the versions."""
    return [row.id for row in tx.session.scalars(_active_on(version_ids))]


def stop_using(tx: Transaction, version_ids: Sequence[UUID]) -> list[UUID]:
    """Stop the jobs that use recalled versions. One that finishes all the same registers its model in quarantine."""
    rows = tx.session.scalars(_active_on(version_ids).with_for_update(skip_locked=True)).all()
    for row in rows:
        work.cancel(row)
    return [row.id for row in rows]


def blockers(tx: Transaction, version_id: UUID) -> list[Blocker]:
    """The jobs that still need a version."""
    return [
        Blocker(
            type="training_job",
            id=row.id,
            name=f"training of {row.output_model_name} {row.output_version}",
            reason=f"is {row.status} and uses it",
            remedy="Cancel it, or wait for it to finish.",
        )
        for row in tx.session.scalars(_active_on([version_id]))
    ]


def _active_on(version_ids: Sequence[UUID]) -> Select[JobRow]:
    uses = JobRow.dataset_id.in_(version_ids) | JobRow.model_id.in_(version_ids)
    return select(JobRow).where(JobRow.status.in_(work.ACTIVE), uses).order_by(JobRow.requested_at)
