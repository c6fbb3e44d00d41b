"""The ledger: what was spent, entry by entry. Entries are only added; a mistake is mended by one that corrects it."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Final
from uuid import UUID, uuid4

from pydantic import Field
from sqlalchemy import Date, SQLColumnExpression, cast, func, select, text

from llmops_resources.cost.tables import LedgerRow
from llmops_resources.database import Transaction
from llmops_resources.errors import NotFound
from llmops_resources.governance.permissions import Permission, require
from llmops_resources.values import Value, utc_now


class EntryKind(StrEnum):
    USAGE = "usage"
    CORRECTION = "correction"


class Entry(Value):
    """One amount. `at` is when the call began, UTC; `holder` the process whose lease of a budget it was spent from.

    A call of a model without a price has the amount 0 and no `price_id`.
    """

    id: UUID
    kind: EntryKind = EntryKind.USAGE
    at: datetime
    team: str
    key_id: UUID | None
    actor_id: str
    route: str
    model_id: UUID
    model: str
    prompt_tokens: int
    completion_tokens: int
    amount: Decimal
    currency: str
    price_id: UUID | None
    holder: UUID | None = None
    corrects: UUID | None = None
    reason: str = ""


class Dimension(StrEnum):
    """What spending can be summed by; days are UTC's."""

    TEAM = "team"
    ROUTE = "route"
    MODEL = "model"
    DAY = "day"


class Spending(Value):
    """Sums of one group; dimensions that were not asked for are None. `unpriced` calls had no price to be booked at."""

    team: str | None = None
    route: str | None = None
    model: str | None = None
    day: str | None = None
    calls: int
    prompt_tokens: int
    completion_tokens: int
    amount: Decimal
    currency: str
    unpriced: int


Reason = Annotated[str, Field(min_length=1, max_length=1000)]
_NAMES: Final = ", ".join(Entry.model_fields)
_OF_A_CALL: Final = {
    "kind": f"'{EntryKind.USAGE}'",
    "amount": "COALESCE(amount, 0)",
    "currency": "COALESCE(NULLIF(currency, ''), 'USD')",
    "corrects": "CAST(NULL AS uuid)",
    "reason": "''",
}
#: SQL: an entry for each of the gateway's `calls`, booked at :booked_at, unless there is one. A call without a price is
#: there with nothing to pay.
OF_CALLS: Final = (
    f"INSERT INTO ledger_entries ({_NAMES}, booked_at) "  # noqa: S608  our own names
    f"SELECT {', '.join(_OF_A_CALL.get(name, name) for name in Entry.model_fields)}, CAST(:booked_at AS timestamptz) "
    "FROM calls ON CONFLICT (id) DO NOTHING"
)
#: All entries as one parameter: a row each would cost the process that answers calls more than its answers do.
_BOOK: Final = text(
    f"WITH new AS (INSERT INTO ledger_entries ({_NAMES}, booked_at) "  # noqa: S608  our own names
    f"SELECT {_NAMES}, CAST(:booked_at AS timestamptz) "
    "FROM jsonb_populate_recordset(CAST(NULL AS ledger_entries), CAST(:rows AS jsonb)) "
    "ON CONFLICT (id) DO NOTHING RETURNING 1) "
    "SELECT count(*) FROM new"
)
_DAY: Final = cast(func.timezone("UTC", LedgerRow.at), Date)
_COLUMNS: Final[dict[Dimension, SQLColumnExpression[Any]]] = {
    Dimension.TEAM: LedgerRow.team,
    Dimension.ROUTE: LedgerRow.route,
    Dimension.MODEL: LedgerRow.model,
    Dimension.DAY: _DAY,
}


def append(tx: Transaction, entries: Sequence[Entry]) -> int:
    """Book entries; one that is booked already changes nothing. Returns how many were new."""
    if not entries:
        return 0
    rows = f"[{','.join(entry.model_dump_json() for entry in entries)}]"
    return tx.session.scalar(_BOOK, {"rows": rows, "booked_at": utc_now()}) or 0


def correct(tx: Transaction, entry_id: UUID, amount: Decimal, reason: str) -> Entry:
    """Restate an entry by adding the difference to it; what was booked stays. Raises Forbidden, NotFound.

    `amount` is added to what the entry says: negative when too much was booked.
    """
    require(tx.actor, Permission.BUDGET_WRITE)
    row = tx.session.get(LedgerRow, entry_id)
    if row is None or row.kind != EntryKind.USAGE:
        raise NotFound(f"there is no entry {entry_id} to correct", remedy="Name a usage entry of the ledger.")
    entry = _value(row).model_copy(
        update={
            "id": uuid4(), "kind": EntryKind.CORRECTION, "amount": amount, "corrects": entry_id, "reason": reason,
            "prompt_tokens": 0, "completion_tokens": 0, "holder": None,
        }
    )  # fmt: skip
    append(tx, [entry])
    tx.audit("ledger.correct", "ledger", entry_id, correction=str(entry.id), amount=str(amount), reason=reason)
    return entry


def spending(
    tx: Transaction,
    by: Sequence[Dimension],
    *,
    team: str | None = None,
    route: str | None = None,
    model: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Spending]:
    """Sums by each combination of the dimensions and the currency, in their order. Raises Forbidden."""
    require(tx.actor, Permission.USAGE_READ)
    usage = LedgerRow.kind == EntryKind.USAGE
    groups: list[Any] = [_COLUMNS[dimension].label(dimension.value) for dimension in dict.fromkeys(by)]
    query = select(
        *groups,
        LedgerRow.currency,
        func.count().filter(usage).label("calls"),
        func.sum(LedgerRow.prompt_tokens).label("prompt_tokens"),
        func.sum(LedgerRow.completion_tokens).label("completion_tokens"),
        func.sum(LedgerRow.amount).label("amount"),
        func.count().filter(usage, LedgerRow.price_id.is_(None)).label("unpriced"),
    ).group_by(*groups, LedgerRow.currency)
    for column, wanted in ((LedgerRow.team, team), (LedgerRow.route, route), (LedgerRow.model, model)):
        if wanted is not None:
            query = query.where(column == wanted)
    if since is not None:
        query = query.where(LedgerRow.at >= since)
    if until is not None:
        query = query.where(LedgerRow.at < until)
    rows = tx.session.execute(query.order_by(*groups, LedgerRow.currency)).mappings()
    return [Spending(**{**row, **({"day": row["day"].isoformat()} if "day" in row else {})}) for row in rows]


def _value(row: LedgerRow) -> Entry:
    return Entry(**{name: getattr(row, name) for name in Entry.model_fields})
