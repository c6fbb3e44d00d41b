"""Prices: what a million tokens of a model cost, from a moment on. A model of our own has the provider `internal`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Final
from uuid import UUID

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from llmops_resources import work
from llmops_resources.cost.tables import PriceRow
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, ValidationFailed, field_problem
from llmops_resources.governance.api_keys import CHANNEL
from llmops_resources.governance.permissions import Permission, require
from llmops_resources.values import Value, utc_now

INTERNAL: Final = "internal"
_MILLION: Final = Decimal(1_000_000)
PerMillion = Annotated[Decimal, Field(ge=0, le=1_000_000, max_digits=13, decimal_places=6)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Named = Annotated[str, Field(min_length=1, max_length=200)]


class PriceWish(Value):
    """`prompt` and `completion`: money per million tokens. `valid_from`: now when left out, and never in the past."""

    provider: Annotated[str, Field(min_length=1, max_length=64)] = INTERNAL
    model: Named
    prompt: PerMillion
    completion: PerMillion
    currency: Currency = "USD"
    valid_from: datetime | None = None


class Price(Value):
    """A dated price, in money per million tokens."""

    id: UUID
    provider: str
    model: str
    prompt: Decimal
    completion: Decimal
    currency: str
    valid_from: datetime
    created_by: str
    created_at: datetime

    def of(self, prompt_tokens: int, completion_tokens: int) -> Decimal:
        """What so many tokens cost, exactly."""
        return (self.prompt * prompt_tokens + self.completion * completion_tokens) / _MILLION


@dataclass(frozen=True)
class PriceList:
    """Every price in memory; of each model the newest first."""

    dated: Mapping[tuple[str, str], tuple[Price, ...]] = field(default_factory=lambda: MappingProxyType({}))

    def at(self, provider: str, model: str, when: datetime) -> Price | None:
        """The price that holds at a moment."""
        for price in self.dated.get((provider, model), ()):
            if price.valid_from <= when:
                return price
        return None


def declare(tx: Transaction, wish: PriceWish) -> Price:
    """Set a model's price from a moment on. Raises Forbidden, ValidationFailed for the past, Conflict for a second one.

    What was booked stays as it was; a mistake is mended by correcting entries.
    """
    require(tx.actor, Permission.BUDGET_WRITE)
    now = utc_now()
    starts = wish.valid_from or now
    if starts.tzinfo is None or starts < now:
        remedy = "Give a time to come with its zone, or leave it out for now; correct past entries of the ledger."
        raise ValidationFailed(
            "the price is not usable", details=[field_problem("validFrom", "is in the past, or has no zone", remedy)]
        )
    row = PriceRow(**wish.model_dump(exclude={"valid_from"}), valid_from=starts, created_by=tx.actor.id)
    try:
        with tx.session.begin_nested():
            tx.session.add(row)
    except IntegrityError as error:
        raise Conflict("the model has a price from that moment", remedy="Choose another moment.") from error
    tx.audit("price.declare", "price", row.id, **_value(row).json_dict())
    work.notify(tx, CHANNEL)
    return _value(row)


def history(tx: Transaction, *, provider: str | None = None, model: str | None = None) -> list[Price]:
    """Every price, by model, the newest first."""
    exact = {"provider": provider, "model": model}
    query = select(PriceRow).filter_by(**{name: wanted for name, wanted in exact.items() if wanted is not None})
    order = (PriceRow.provider, PriceRow.model, PriceRow.valid_from.desc())
    return [_value(row) for row in tx.session.scalars(query.order_by(*order))]


def load(tx: Transaction) -> PriceList:
    """Every price, for the gateway's memory."""
    dated: dict[tuple[str, str], tuple[Price, ...]] = {}
    for price in history(tx):
        key = price.provider, price.model
        dated[key] = (*dated.get(key, ()), price)
    return PriceList(MappingProxyType(dated))


def _value(row: PriceRow) -> Price:
    return Price(**{name: getattr(row, name) for name in Price.model_fields})
