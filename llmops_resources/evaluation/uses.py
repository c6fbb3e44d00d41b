"""Which evaluations a version of the catalog has, and which need it, for lineage, recalls and deletions."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select

from llmops_resources import work
from llmops_resources.catalog import lineage, versions
from llmops_resources.catalog.deletion import Blocker
from llmops_resources.database import Transaction
from llmops_resources.evaluation.tables import EvaluationRow
from llmops_resources.work import WorkStatus


def leaves(ids: Select[Any]) -> Select[Any]:
    """The evaluations of the models, and on the benchmarks, whose ids a query finds, as leaves of the lineage."""
    benchmark = versions.labels()
    columns = lineage.node(
        "evaluation",
        id=EvaluationRow.id,
        name=benchmark.c.name,
        version=benchmark.c.version,
        status=EvaluationRow.status,
        subject=EvaluationRow.model_id,
        benchmark=EvaluationRow.dataset_id,
    )
    touched = EvaluationRow.model_id.in_(ids) | EvaluationRow.dataset_id.in_(ids)
    return columns.join_from(EvaluationRow, benchmark, benchmark.c.id == EvaluationRow.dataset_id).where(touched)


def waiting_on(tx: Transaction, version_ids: Sequence[UUID]) -> list[UUID]:
    """Queued or running evaluations that use one of the versions."""
    return [row.id for row in tx.session.scalars(_active_on(version_ids))]


def stop_using(tx: Transaction, version_ids: Sequence[UUID]) -> list[UUID]:
    """Cancel the queued evaluations of recalled versions. A running one ends by itself: it hands nothing out."""
    rows = tx.session.scalars(_active_on(version_ids).with_for_update(skip_locked=True)).all()
    queued = [row for row in rows if row.status == WorkStatus.QUEUED]
    for row in queued:
        work.cancel(row)
    return [row.id for row in queued]


def blockers(tx: Transaction, version_id: UUID) -> list[Blocker]:
    """The evaluations that still need a version."""
    return [
        Blocker(
            type="evaluation",
            id=row.id,
            name=f"evaluation {row.id}",
            reason=f"is {row.status} and uses it",
            remedy="Wait for it to finish.",
        )
        for row in tx.session.scalars(_active_on([version_id]))
    ]


def _active_on(version_ids: Sequence[UUID]) -> Select[EvaluationRow]:
    uses = EvaluationRow.model_id.in_(version_ids) | EvaluationRow.dataset_id.in_(version_ids)
    return select(EvaluationRow).where(EvaluationRow.status.in_(work.ACTIVE), uses).order_by(EvaluationRow.requested_at)
