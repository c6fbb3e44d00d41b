"""What experiments see: each user once, with their first call, as calls are booked; and their first rating.

Whoever sees a variant first is counted as its user, whatever they see later: that keeps users independent of each
other, which the tests rest on.
"""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select, update

from llmops_resources.database import Transaction
from llmops_resources.prompts.experiments.looks import Period, Seen
from llmops_resources.prompts.experiments.plan import Plan, State
from llmops_resources.prompts.tables import AllocationRow, ExperimentRow, ExposureRow
from llmops_resources.values import utc_now

_COUNTING: Final = (State.RUNNING, State.STOPPED)
#: SQL: the users of the gateway's `calls` who were not counted before. A latency counts only of a call that succeeded,
#: a cost only where there is a price; calls without an experiment say nothing here.
OF_CALLS: Final = (
    "INSERT INTO prompt_exposures"
    " (experiment_id, subject, allocation, variant, exchange_id, exposed_at, failed, latency_ms, cost)"
    " SELECT c.experiment_id, c.subject, c.allocation, c.variant, c.id, c.at, c.status = 'failed',"
    " CASE WHEN c.status = 'succeeded' THEN c.latency_ms END, CAST(c.amount AS float8)"
    " FROM calls c JOIN prompt_experiments e ON e.id = c.experiment_id AND e.state IN ('running', 'stopped')"
    " WHERE c.subject IS NOT NULL AND c.variant IS NOT NULL"
    " ORDER BY c.at, c.id ON CONFLICT (experiment_id, subject) DO NOTHING"
)


def rate(tx: Transaction, experiment_id: UUID, subject: str, variant: str, value: float) -> bool:
    """Note a user's first rating of the variant that they are counted for; whether it counts.

    It does not when they rated before, saw another variant first, or the experiment is decided.
    """
    counting = select(ExperimentRow.id).where(ExperimentRow.id == experiment_id, ExperimentRow.state.in_(_COUNTING))
    noted = tx.session.execute(
        update(ExposureRow)
        .where(ExposureRow.experiment_id.in_(counting), ExposureRow.subject == subject)
        .where(ExposureRow.variant == variant, ExposureRow.rating.is_(None))
        .values(rating=value, rated_at=utc_now())
        .returning(ExposureRow.number)
    )
    return noted.first() is not None


def read(tx: Transaction, experiment_id: UUID, plan: Plan) -> tuple[dict[str, Seen], list[Period]]:
    """Everything seen so far, for a look."""
    return _seen(tx, experiment_id, plan), _periods(tx, experiment_id)


def size(tx: Transaction, experiment_id: UUID) -> tuple[int, int]:
    """How many users were counted, and how many of them rated."""
    counts = select(func.count(), func.count(ExposureRow.rating)).where(ExposureRow.experiment_id == experiment_id)
    users, ratings = tx.session.execute(counts).one()
    return users, ratings


def _seen(tx: Transaction, experiment_id: UUID, plan: Plan) -> dict[str, Seen]:
    seen = {variant.name: Seen() for variant in plan.variants}
    row, mine = ExposureRow, ExposureRow.experiment_id == experiment_id
    calls = select(row.variant, row.failed, row.latency_ms, row.cost).where(mine).order_by(row.number)
    for variant, failed, latency_ms, cost in tx.session.execute(calls):
        one = seen[variant]
        one.failed.append(float(failed))
        if latency_ms is not None:
            one.latency_ms.append(latency_ms)
        if cost is not None:
            one.cost.append(cost)
    ratings = select(row.variant, row.rating).where(mine, row.rating.is_not(None)).order_by(row.rated_at, row.number)
    for variant, rating in tx.session.execute(ratings):
        seen[variant].ratings.append(float(rating or 0.0))
    return seen


def _periods(tx: Transaction, experiment_id: UUID) -> list[Period]:
    counts: dict[int, dict[str, int]] = {}
    row = ExposureRow
    grouped = select(row.allocation, row.variant, func.count()).where(row.experiment_id == experiment_id)
    for number, variant, users in tx.session.execute(grouped.group_by(row.allocation, row.variant)):
        counts.setdefault(number, {})[variant] = users
    allocations = tx.session.scalars(
        select(AllocationRow).filter_by(experiment_id=experiment_id).order_by(AllocationRow.number)
    )
    return [Period(_shares(each.shares), counts.get(each.number, {})) for each in allocations]


def _shares(stored: dict[str, Any]) -> dict[str, float]:
    return {name: float(share) for name, share in stored.items()}
