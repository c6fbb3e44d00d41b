"""From the spool to the database: a call's usage, what it cost and whom it showed what, in one transaction."""

from collections.abc import Sequence
from decimal import Decimal

from llmops_resources.cost import ledger
from llmops_resources.cost.ledger import Entry
from llmops_resources.database import Transaction
from llmops_resources.gateway import usage
from llmops_resources.gateway.usage import Outcome, UsageRecord
from llmops_resources.prompts.experiments import observations
from llmops_resources.prompts.experiments.observations import Exposure

_UNPRICED = "USD"


def book(tx: Transaction, records: Sequence[UsageRecord]) -> int:
    """Book records; one that is booked already changes nothing. Returns how many were new."""
    ledger.append(tx, [entry(record) for record in records])
    observations.expose(tx, [seen for record in records if (seen := exposure(record))])
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


def exposure(record: UsageRecord) -> Exposure | None:
    """What a call says to the experiment that chose its prompt; None where none did."""
    if record.experiment_id is None or record.variant is None or record.subject is None:
        return None
    return Exposure(
        experiment_id=record.experiment_id,
        subject=record.subject,
        allocation=record.allocation,
        variant=record.variant,
        exchange_id=record.id,
        at=record.at.isoformat(),
        failed=record.status is Outcome.FAILED,
        latency_ms=record.latency_ms if record.status is Outcome.SUCCEEDED else None,
        cost=float(record.amount) if record.amount is not None else None,
    )
