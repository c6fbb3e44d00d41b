"""From the spool to the database: a call's usage and what it cost, in one transaction."""

from collections.abc import Sequence
from decimal import Decimal

from llmops_resources.cost import ledger
from llmops_resources.cost.ledger import Entry
from llmops_resources.database import Transaction
from llmops_resources.gateway import usage
from llmops_resources.gateway.usage import UsageRecord

_UNPRICED = "USD"


def book(tx: Transaction, records: Sequence[UsageRecord]) -> int:
    """Book records; one that is booked already changes nothing. Returns how many were new."""
    ledger.append(tx, [entry(record) for record in records])
    return usage.record_batch(tx, records)


def entry(record: UsageRecord) -> Entry:
    """The ledger's entry of a call; one without a price is there with nothing to pay."""
    return Entry(
        id=record.id,
        at=record.at,
        team=record.team,
        key_id=record.key_id,
        actor_id=record.actor_id,
        route=record.route,
        model_id=record.model_id,
        model=record.model,
        prompt_tokens=record.prompt_tokens,
        completion_tokens=record.completion_tokens,
        amount=record.amount or Decimal(0),
        currency=record.currency or _UNPRICED,
        price_id=record.price_id,
        holder=record.holder,
    )
