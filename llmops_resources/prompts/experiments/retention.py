"""Who took part in an experiment is kept for a while; what it came to, for ever.

Of an experiment that ended long ago its users go, each with their call and rating, and every look but the last. That
one, the allocations, and a conclusion with its evidence stay, so it is still shown, and still concluded from what was
known at its end.
"""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import and_, delete, exists, or_, select
from sqlalchemy.orm import aliased

from llmops_resources.database import Transaction
from llmops_resources.prompts.experiments import running
from llmops_resources.prompts.experiments.library import load
from llmops_resources.prompts.tables import ExperimentRow, ExposureRow, LookRow
from llmops_resources.values import utc_now


def outlived(tx: Transaction, age: timedelta, *, limit: int = 100) -> Sequence[UUID]:
    """Experiments that ended longer ago than `age` and still have users or earlier looks; the oldest end first."""
    earlier, later = aliased(LookRow), aliased(LookRow)
    users = exists().where(ExposureRow.experiment_id == ExperimentRow.id)
    looks = exists().where(
        earlier.experiment_id == ExperimentRow.id,
        exists().where(and_(later.experiment_id == earlier.experiment_id, later.at > earlier.at)),
    )
    query = select(ExperimentRow.id).where(ExperimentRow.stopped_at < utc_now() - age, or_(users, looks))
    return tx.session.scalars(query.order_by(ExperimentRow.stopped_at, ExperimentRow.id).limit(limit)).all()


def forget(tx: Transaction, experiment_id: UUID, age: timedelta) -> int:
    """Remove the users and earlier looks of such an experiment; how many rows. Telemetry: not audited.

    All at once, so that nobody ever looks at a part of the users.
    """
    row = load(tx, experiment_id)
    if row.stopped_at is None or row.stopped_at >= utc_now() - age:
        return 0
    if row.started_at is not None:
        running.keep(tx, row, running.look(tx, row))
    last = select(LookRow.at).filter_by(experiment_id=row.id).order_by(LookRow.at.desc()).limit(1).scalar_subquery()
    return sum(
        tx.erase(statement)
        for statement in (
            delete(ExposureRow).where(ExposureRow.experiment_id == row.id),
            delete(LookRow).where(LookRow.experiment_id == row.id, LookRow.at < last),
        )
    )
