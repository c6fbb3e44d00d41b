"""What was booked, against what clients were told."""

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from sqlalchemy import text

from benchmarks.soaking.clients import name_of
from llmops_resources import database
from llmops_resources.cost.prices import Price
from llmops_resources.gateway.spool import SUFFIX
from llmops_resources.settings import Settings

_USAGE = text("SELECT id, request_id, status, prompt_tokens, completion_tokens FROM usage_records")
_LEDGER = text("SELECT id, team, amount FROM ledger_entries")
_BUDGETS = text("SELECT team, amount FROM budgets WHERE ended_at IS NULL")


@dataclass(frozen=True)
class Books:
    """The comparison; every count but the first three should be 0, and `overspent` be empty.

    `lost` calls were answered and have no successful record, `doubled` ones have two records, `strange` records are of
    calls that nobody made, `unpaired` ones have no ledger entry or are one without a record, `wrong` ones cost
    something else than their tokens do. `besides` are records of calls whose clients got no whole answer.
    """

    answered: int
    records: int
    besides: int
    lost: int
    doubled: int
    strange: int
    unpaired: int
    wrong: int
    waiting: int
    overspent: tuple[str, ...]
    spent: Decimal

    @property
    def faults(self) -> list[str]:
        """What does not agree, in words."""
        named = ("lost", "doubled", "strange", "unpaired", "wrong", "waiting")
        return [f"{getattr(self, name)} {name}" for name in named if getattr(self, name)] + list(self.overspent)


def compare(settings: Settings, answered: Collection[int], asked: int, price: Price) -> Books:
    """Read the whole books; the gateway must have ended."""
    engine = database.connect(str(settings.database_url))
    try:
        with engine.connect() as connection:
            usage = connection.execute(_USAGE).all()
            ledger = {row.id: row for row in connection.execute(_LEDGER)}
            budgets = connection.execute(_BUDGETS).all()
    finally:
        engine.dispose()
    good = {row.request_id for row in usage if row.status == "succeeded"}
    named = [row.request_id for row in usage]
    spent: dict[str, Decimal] = {}
    for entry in ledger.values():
        spent[entry.team] = spent.get(entry.team, Decimal(0)) + entry.amount
    told = {name_of(number) for number in answered}
    made = {name_of(number) for number in range(asked)}
    return Books(
        answered=len(told),
        records=len(usage),
        besides=len(set(named) - told),
        lost=len(told - good),
        doubled=len(named) - len(set(named)),
        strange=len(set(named) - made),
        unpaired=len({row.id for row in usage} ^ set(ledger)),
        wrong=sum(
            row.id in ledger and ledger[row.id].amount != price.of(row.prompt_tokens, row.completion_tokens)
            for row in usage
        ),
        waiting=sum(1 for path in _spool(settings).glob("*") if path.suffix != SUFFIX or path.stat().st_size),
        overspent=tuple(
            f"{row.team} spent {spent[row.team]} of {row.amount}"
            for row in budgets if spent.get(row.team, Decimal(0)) > row.amount
        ),
        spent=sum(spent.values(), Decimal(0)),
    )  # fmt: skip


def _spool(settings: Settings) -> Path:
    return settings.home / "spool"
