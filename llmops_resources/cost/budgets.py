"""Budgets: what a team, or one of its keys, may spend in a day or a month of UTC."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Final
from uuid import UUID

from pydantic import Field
from sqlalchemy import Select, func, select

from llmops_resources import work
from llmops_resources.cost.prices import Currency, Price
from llmops_resources.cost.tables import BudgetRow, LeaseRow, LedgerRow
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, NotFound
from llmops_resources.governance.api_keys import CHANNEL, Name
from llmops_resources.governance.permissions import Permission, require
from llmops_resources.values import Value, utc_now

#: The holder of what was spent before a budget was declared.
BEFORE: Final = UUID(int=0)


class Period(StrEnum):
    DAY = "day"
    MONTH = "month"

    def start(self, at: datetime) -> date:
        """The first day of the period that `at` is in."""
        day = at.astimezone(UTC).date()
        return day if self is Period.DAY else day.replace(day=1)

    def end(self, at: datetime) -> datetime:
        """When the period that `at` is in is over."""
        first = self.start(at)
        following = first + timedelta(days=1) if self is Period.DAY else (first + timedelta(days=32)).replace(day=1)
        return datetime.combine(following, time(), UTC)


class BudgetWish(Value):
    """A budget of a team, or of one key of it. An amount of 0 lets nothing through that costs something."""

    team: Name
    key_id: UUID | None = None
    period: Period
    amount: Annotated[Decimal, Field(ge=0, le=1_000_000_000, max_digits=15, decimal_places=6)]
    currency: Currency = "USD"


class Budget(Value):
    """A budget in force."""

    id: UUID
    team: str
    key_id: UUID | None
    period: Period
    amount: Decimal
    currency: str
    updated_by: str
    updated_at: datetime


class BudgetStanding(Value):
    """A budget and its present period: `spent` as booked, `held` as booked or set aside for calls under way."""

    budget: Budget
    starts: date
    spent: Decimal
    held: Decimal


def declare(tx: Transaction, wish: BudgetWish) -> Budget:
    """Set a budget, or change the amount of the one that this team or key has for the period. Raises Forbidden."""
    require(tx.actor, Permission.BUDGET_WRITE)
    query = _in_force().filter_by(team=wish.team, key_id=wish.key_id, period=wish.period)
    row = tx.session.scalar(query.with_for_update())
    before = None if row is None else str(row.amount)
    if row is not None and row.currency != wish.currency:
        row.ended_at, row, before = utc_now(), None, None  # what was leased was in another currency
        tx.session.flush()
    if row is None:
        row = BudgetRow(**wish.model_dump(exclude={"amount"}))
        tx.session.add(row)
    row.amount, row.updated_by, row.updated_at = wish.amount, tx.actor.id, utc_now()
    tx.session.flush()
    if before is None:
        _take_note_of_the_past(tx, row)
    tx.audit("budget.declare", "budget", row.id, before=before, **wish.json_dict())
    work.notify(tx, CHANNEL)
    return _value(row)


def withdraw(tx: Transaction, budget_id: UUID) -> Budget:
    """End a budget. Raises Forbidden, NotFound."""
    require(tx.actor, Permission.BUDGET_WRITE)
    row = tx.session.scalar(_in_force().filter_by(id=budget_id).with_for_update())
    if row is None:
        raise NotFound(f"there is no budget {budget_id}", remedy="List the budgets to find its id.")
    row.ended_at = utc_now()
    tx.audit("budget.withdraw", "budget", row.id, team=row.team)
    work.notify(tx, CHANNEL)
    return _value(row)


def in_force(tx: Transaction) -> list[Budget]:
    """Every budget, by team."""
    return [_value(row) for row in tx.session.scalars(_in_force().order_by(BudgetRow.team, BudgetRow.id))]


def standings(tx: Transaction) -> list[BudgetStanding]:
    """Every budget with what is gone of its present period. Raises Forbidden."""
    require(tx.actor, Permission.USAGE_READ)
    now, found = utc_now(), []
    for row in tx.session.scalars(_in_force().order_by(BudgetRow.team, BudgetRow.id)).all():
        starts = Period(row.period).start(now)
        held = select(func.coalesce(func.sum(LeaseRow.granted), 0)).filter_by(budget_id=row.id, starts=starts)
        found.append(
            BudgetStanding(
                budget=_value(row), starts=starts, spent=booked(tx, row, starts), held=tx.session.scalar(held) or 0
            )
        )
    return found


def spent_by(tx: Transaction, budget_id: UUID, starts: date, holder: UUID) -> Decimal:
    """What a holder's entries took of a period since the budget was declared; the holder BEFORE has what was earlier.

    Raises NotFound.
    """
    row = tx.session.get(BudgetRow, budget_id)
    if row is None:
        raise NotFound(f"there is no budget {budget_id}", remedy="List the budgets to find its id.")
    past = select(LeaseRow.renewed_at).filter_by(budget_id=budget_id, starts=starts, holder=BEFORE)
    return booked(tx, row, starts, holder, since=tx.session.scalar(past))


def check_priced(price: Price | None, named: tuple[str, str], in_force: Sequence[Budget]) -> Price:
    """The price that budgets are kept by, of a provider's model. Raises Conflict without one in their currency."""
    provider, model = named
    if price is None:
        raise Conflict(
            f"the model {model} of {provider} has no price, so no budget can be kept for it",
            remedy="Declare its price: POST /llm-ops/v1/cost/prices; a price of 0 is one.",
        )
    for budget in in_force:
        if budget.currency != price.currency:
            raise Conflict(
                f"the model {model} is priced in {price.currency}, and the budget is in {budget.currency}",
                remedy="Declare both in the same currency.",
            )
    return price


def booked(
    tx: Transaction, row: BudgetRow, starts: date, holder: UUID | None = None, since: datetime | None = None
) -> Decimal:
    """What the ledger has for a budget's period, of one holder and booked after a moment if given."""
    first = datetime.combine(starts, time(), UTC)
    query = select(func.coalesce(func.sum(LedgerRow.amount), 0)).where(
        LedgerRow.team == row.team,
        LedgerRow.currency == row.currency,
        LedgerRow.at >= first,
        LedgerRow.at < Period(row.period).end(first),
    )
    if row.key_id is not None:
        query = query.where(LedgerRow.key_id == row.key_id)
    if holder is not None:
        query = query.where(LedgerRow.holder == holder)
    if since is not None:
        query = query.where(LedgerRow.booked_at > since)
    return Decimal(tx.session.scalar(query) or 0)


def _take_note_of_the_past(tx: Transaction, row: BudgetRow) -> None:
    now = utc_now()
    starts = Period(row.period).start(now)
    past = booked(tx, row, starts)
    tx.session.add(LeaseRow(budget_id=row.id, starts=starts, holder=BEFORE, granted=past, renewed_at=now))
    tx.session.flush()


def _in_force() -> Select[BudgetRow]:
    return select(BudgetRow).where(BudgetRow.ended_at.is_(None))


def _value(row: BudgetRow) -> Budget:
    return Budget(**{name: getattr(row, name) for name in Budget.model_fields})
