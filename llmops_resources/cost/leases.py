"""Leases: each process spends from a part of a budget that it was granted, so that no call asks the database.

Escrow (O'Neil, "The escrow transactional method", 1986): the sum of what all processes were granted never exceeds the
budget, and each reserves from its own part alone. A process names the absolute part it wants, so that asking twice, or
an answer that was lost, does no harm. A process that has not renewed for STOP_AFTER spends no more; after DEAD_AFTER
every call it had begun is over and booked, and its part shrinks to what the ledger has of it; sooner where its death is
certain (`gateway/holders.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from llmops_resources.cost import budgets
from llmops_resources.cost.budgets import BEFORE
from llmops_resources.cost.tables import BudgetRow, LeaseRow
from llmops_resources.database import Transaction

STOP_AFTER: Final = timedelta(minutes=5)
DEAD_AFTER: Final = timedelta(minutes=20)


@dataclass(frozen=True)
class Claim:
    """The part of a period that a process wants. `least` is what it has spent or promised, and cannot give back."""

    budget_id: UUID
    starts: date
    wanted: Decimal
    least: Decimal


def renew(tx: Transaction, holder: UUID, claims: Sequence[Claim]) -> dict[tuple[UUID, date], Decimal]:
    """Grant what there is of each claim: as much as is wanted, or what others have left, but never less than `least`.

    A budget that is gone grants what is wanted: nobody checks it any more.
    """
    granted: dict[tuple[UUID, date], Decimal] = {}
    for claim in sorted(claims, key=lambda each: (each.budget_id, each.starts)):  # one order: no deadlock
        row = tx.session.scalar(select(BudgetRow).filter_by(id=claim.budget_id).with_for_update())
        if row is None or row.ended_at is not None:
            granted[claim.budget_id, claim.starts] = claim.wanted
            continue
        left = row.amount - _held(tx, claim, holder)
        if left < claim.wanted and _reclaim(tx, row, claim.starts):
            left = row.amount - _held(tx, claim, holder)
        part = max(claim.least, min(claim.wanted, left))
        _write(tx, claim, holder, part)
        granted[claim.budget_id, claim.starts] = part
    return granted


def release(tx: Transaction, holder: UUID) -> None:
    """Shrink the parts of a process to what the ledger has of it.

    Only for one that is known to be dead, and whose every call is booked: nobody may spend from them any more.
    """
    mine = select(LeaseRow).filter_by(holder=holder).order_by(LeaseRow.budget_id, LeaseRow.starts)
    for lease in tx.session.scalars(mine).all():
        row = tx.session.scalar(select(BudgetRow).filter_by(id=lease.budget_id).with_for_update())
        if row is not None:
            lease.granted = budgets.booked(tx, row, lease.starts, holder)
    tx.session.flush()


def _held(tx: Transaction, claim: Claim, holder: UUID) -> Decimal:
    """What all others hold."""
    query = select(func.coalesce(func.sum(LeaseRow.granted), 0)).filter_by(
        budget_id=claim.budget_id, starts=claim.starts
    )
    return Decimal(tx.session.scalar(query.where(LeaseRow.holder != holder)) or 0)


def _reclaim(tx: Transaction, row: BudgetRow, starts: date) -> bool:
    """Shrink the parts of dead processes to what was booked of them; whether there were any."""
    dead = select(LeaseRow).where(
        LeaseRow.budget_id == row.id,
        LeaseRow.starts == starts,
        LeaseRow.holder != BEFORE,
        LeaseRow.renewed_at < func.now() - DEAD_AFTER,
    )
    found = tx.session.scalars(dead).all()
    for lease in found:
        lease.granted = budgets.booked(tx, row, starts, lease.holder)
    tx.session.flush()
    return bool(found)


def _write(tx: Transaction, claim: Claim, holder: UUID, part: Decimal) -> None:
    values = {"granted": part, "renewed_at": func.now()}
    statement = insert(LeaseRow).values(budget_id=claim.budget_id, starts=claim.starts, holder=holder, **values)
    keys = ["budget_id", "starts", "holder"]
    tx.session.execute(statement.on_conflict_do_update(index_elements=keys, set_=values))
