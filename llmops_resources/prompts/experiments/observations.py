"""What experiments see: each user once, with their first call, as calls are booked; and their first rating.

Whoever sees a variant first is counted as its user, whatever they see later: that keeps users independent of each
other, which the tests rest on.
"""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import func, select, text, update

from llmops_resources.database import Transaction
from llmops_resources.prompts.experiments.looking import Period, Seen
from llmops_resources.prompts.experiments.plan import Plan, State
from llmops_resources.prompts.tables import AllocationRow, ExperimentRow, ExposureRow
from llmops_resources.values import Value, utc_now

_COUNTING: Final = (State.RUNNING, State.STOPPED)
_EXPOSE: Final = text(
    "INSERT INTO prompt_exposures"
    " (experiment_id, subject, allocation, variant, exchange_id, exposed_at, failed, latency_ms, cost)"
    " SELECT c.experiment_id, c.subject, c.allocation, c.variant, c.exchange_id, c.at, c.failed, c.latency_ms, c.cost"
    " FROM jsonb_to_recordset(CAST(:calls AS jsonb)) AS c(experiment_id uuid, subject text, allocation int,"
    " variant text, exchange_id uuid, at timestamptz, failed boolean, latency_ms float8, cost float8)"
    " JOIN prompt_experiments e ON e.id = c.experiment_id AND e.state IN ('running', 'stopped')"
    " ORDER BY c.at, c.exchange_id ON CONFLICT (experiment_id, subject) DO NOTHING"
)


class Exposure(Value):
    """A call that was answered with a variant. `latency_ms` only of one that succeeded; `cost` if it has a price."""

    experiment_id: UUID
    subject: str
    allocation: int
    variant: str
    exchange_id: UUID
    at: str
    failed: bool
    latency_ms: float | None
    cost: float | None


def expose(tx: Transaction, calls: Sequence[Exposure]) -> None:
    """Count the users of these calls who were not counted before; the same calls again change nothing."""
    if calls:
        tx.session.execute(_EXPOSE, {"calls": orjson.dumps([call.model_dump(mode="json") for call in calls]).decode()})


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
