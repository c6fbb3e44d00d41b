"""What each team may hold of each pool at once, as rows that an operator writes; `*` stands for every other team."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated

from pydantic import Field
from sqlalchemy import select

from llmops_resources.database import Transaction
from llmops_resources.training.ranking import Quota
from llmops_resources.training.tables import QuotaRow
from llmops_resources.values import Value, utc_now

TeamName = Annotated[str, Field(min_length=1, max_length=128)]
PoolName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,31}$")]


class TeamQuota(Value):
    """At most `units` of a pool at once (GPUs of a type, or CPU slots of `cpu`; None: no limit of its own).

    A team of weight 2 is given twice the share of one of weight 1 while both have jobs waiting. Nothing is lent beyond
    a quota. Lowering one stops nothing that runs.
    """

    team: TeamName
    gpu_type: PoolName
    units: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    weight: Annotated[float, Field(ge=0.1, le=100)] = 1.0
    updated_by: str | None = None
    updated_at: datetime | None = None


def all_quotas(tx: Transaction) -> list[TeamQuota]:
    """Every quota, by team and pool."""
    return [
        TeamQuota(
            team=row.team, gpu_type=row.pool, units=row.units, weight=row.weight,
            updated_by=row.updated_by, updated_at=row.updated_at,
        )
        for row in tx.session.scalars(select(QuotaRow).order_by(QuotaRow.team, QuotaRow.pool))
    ]  # fmt: skip


def replace(tx: Transaction, wanted: Sequence[TeamQuota]) -> list[TeamQuota]:
    """The quotas are these from now on, and no others; of two for the same team and pool the later one counts."""
    kept = {(quota.team, quota.gpu_type): quota for quota in wanted}
    rows = {(row.team, row.pool): row for row in tx.session.scalars(select(QuotaRow).with_for_update())}
    before = {f"{team}/{pool}": row.units for (team, pool), row in rows.items()}
    for key, row in rows.items():
        if key not in kept:
            tx.session.delete(row)
    for (team, pool), quota in kept.items():
        row = rows.get((team, pool)) or QuotaRow(team=team, pool=pool, updated_by=tx.actor.id)
        tx.session.add(row)
        if (row.units, row.weight) != (quota.units, quota.weight):
            row.units, row.weight, row.updated_by, row.updated_at = quota.units, quota.weight, tx.actor.id, utc_now()
    after = {f"{team}/{pool}": quota.units for (team, pool), quota in kept.items()}
    tx.audit("training.quotas", "training_quota", "all", before=before, after=after)
    tx.session.flush()
    return all_quotas(tx)


def table(tx: Transaction) -> dict[tuple[str, str], Quota]:
    """The quotas as the queue reads them, by (team, pool)."""
    return {(row.team, row.pool): Quota(row.units, row.weight) for row in tx.session.scalars(select(QuotaRow))}


def limits_of(quotas: Mapping[tuple[str, str], Quota], team: str, pools: Sequence[str]) -> dict[str, int]:
    """The most units of each pool that the team may hold; pools without a limit are left out."""
    found = {pool: quotas.get((team, pool)) or quotas.get(("*", pool)) for pool in pools}
    return {pool: quota.units for pool, quota in found.items() if quota is not None and quota.units is not None}
