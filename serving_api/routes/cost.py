"""What calls cost: prices, spending by team, route, model and day, corrections; and budgets with their standing."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field

from llmops_resources.cost import budgets, ledger, prices
from llmops_resources.cost.budgets import Budget, BudgetStanding, BudgetWish, Period
from llmops_resources.cost.ledger import Dimension, Entry, Reason, Spending
from llmops_resources.cost.prices import INTERNAL, Currency, Named, PerMillion, Price, PriceWish
from llmops_resources.database import Actor
from llmops_resources.governance.api_keys import Name
from llmops_resources.governance.permissions import Permission
from serving_api.dependencies import Doors, IdempotencyKey, Requires, create_once
from serving_api.envelope import Envelope, ok
from serving_api.schemas import Body

router = APIRouter(tags=["cost"])
Reader = Annotated[Actor, Depends(Requires(Permission.USAGE_READ))]
Keeper = Annotated[Actor, Depends(Requires(Permission.BUDGET_WRITE))]


class PriceCreate(Body):
    """Money per million tokens; a model of our own has the provider `internal`. `validFrom` left out: now."""

    provider: Annotated[str, Field(min_length=1, max_length=64)] = INTERNAL
    model: Named
    prompt: PerMillion
    completion: PerMillion
    currency: Currency = "USD"
    valid_from: datetime | None = None


class CorrectionCreate(Body):
    """`amount` is added to the entry: negative when too much was booked."""

    amount: Annotated[Decimal, Field(ge=-1_000_000_000, le=1_000_000_000, max_digits=21, decimal_places=12)]
    reason: Reason


class BudgetCreate(Body):
    """A team's budget, or one of its keys'. The same scope and period again changes the amount."""

    team: Name
    key_id: UUID | None = None
    period: Period
    amount: Annotated[Decimal, Field(ge=0, le=1_000_000_000, max_digits=15, decimal_places=6)]
    currency: Currency = "USD"


@router.get("/cost/usage")
def sum_spending(
    platform: Doors,
    actor: Reader,
    group_by: Annotated[list[Dimension] | None, Query(alias="groupBy", description="repeat it")] = None,
    team: str | None = None,
    route: str | None = None,
    model: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Envelope[list[Spending]]:
    """Calls, tokens and money, summed by team, route, model and day as asked, corrections included."""
    with platform.transaction(actor) as tx:
        by = group_by or list(Dimension)
        return ok(ledger.spending(tx, by, team=team, route=route, model=model, since=since, until=until))


@router.post("/cost/entries/{entry_id}/corrections")
def correct_entry(
    platform: Doors, actor: Keeper, request: Request, entry_id: UUID, body: CorrectionCreate, key: IdempotencyKey = None
) -> Envelope[Entry]:
    """Restate an entry of the ledger by one that is added to it."""
    answer = create_once(
        platform, actor, request, key, body.model_dump_json(),
        lambda tx: ledger.correct(tx, entry_id, body.amount, body.reason),
    )  # fmt: skip
    return ok(answer, "the entry is corrected")


@router.get("/cost/prices")
def list_prices(
    platform: Doors, actor: Reader, provider: str | None = None, model: str | None = None
) -> Envelope[list[Price]]:
    """Every price there was, is and will be, by model, the newest first."""
    with platform.transaction(actor) as tx:
        return ok(prices.history(tx, provider=provider, model=model))


@router.post("/cost/prices")
def declare_price(
    platform: Doors, actor: Keeper, request: Request, body: PriceCreate, key: IdempotencyKey = None
) -> Envelope[Price]:
    """Set a model's price from a moment on; what was booked before stays."""
    wish = PriceWish(**body.model_dump())
    answer = create_once(platform, actor, request, key, body.model_dump_json(), lambda tx: prices.declare(tx, wish))
    return ok(answer, "the price is declared")


@router.get("/governance/budgets")
def list_budgets(platform: Doors, actor: Reader) -> Envelope[list[BudgetStanding]]:
    """Every budget with what is spent and held of its present period."""
    with platform.transaction(actor) as tx:
        return ok(budgets.standings(tx))


@router.post("/governance/budgets")
def declare_budget(
    platform: Doors, actor: Keeper, request: Request, body: BudgetCreate, key: IdempotencyKey = None
) -> Envelope[Budget]:
    """Set a budget; calls that could overspend it are refused from within a second on."""
    wish = BudgetWish(**body.model_dump())
    answer = create_once(platform, actor, request, key, body.model_dump_json(), lambda tx: budgets.declare(tx, wish))
    return ok(answer, "the budget is declared")


@router.delete("/governance/budgets/{budget_id}")
def withdraw_budget(platform: Doors, actor: Keeper, budget_id: UUID) -> Envelope[Budget]:
    with platform.transaction(actor) as tx:
        return ok(budgets.withdraw(tx, budget_id), "the budget is withdrawn")
