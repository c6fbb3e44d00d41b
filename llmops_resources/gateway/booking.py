"""From the spool to the database: a call's usage, what it cost and whom it showed what, in one transaction.

The records go there as the JSON that they are in the spool, all as one parameter, and the database makes the rows of
each room from them: the process that books also answers calls, and would answer fewer if it made objects of each.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from msgspec.structs import FieldInfo, fields
from sqlalchemy import text

from llmops_resources.cost import ledger
from llmops_resources.database import Transaction
from llmops_resources.errors import InvalidInput
from llmops_resources.gateway import usage
from llmops_resources.gateway.usage import Outcome, UsageRecord
from llmops_resources.prompts.experiments import observations
from llmops_resources.values import utc_now

_TYPES: Final[dict[Any, str]] = {
    str: "text", Outcome: "text", bool: "boolean", int: "integer", float: "double precision",
    Decimal: "numeric", UUID: "uuid", datetime: "timestamp with time zone",
}  # fmt: skip


def _column(field: FieldInfo) -> str:
    """A field's column and type; `X | None` is X."""
    python = next((each for each in getattr(field.type, "__args__", ()) if each in _TYPES), field.type)
    return f"{field.name} {_TYPES[python]}"


def _value(field: FieldInfo) -> str:
    """A field's value, or its default where a record of an earlier version has none."""
    default = {"": "''", 0: "0"}.get(field.default) if field.default is not None else None
    return field.name if default is None else f"COALESCE({field.name}, {default}) AS {field.name}"


_VALUES: Final = ", ".join(map(_value, fields(UsageRecord)))
_COLUMNS: Final = ", ".join(map(_column, fields(UsageRecord)))
_OUTCOMES: Final = ", ".join(f"'{each}'" for each in Outcome)
_BOOK: Final = text(
    f"WITH calls AS MATERIALIZED (SELECT {_VALUES} "  # noqa: S608  our own names
    f"FROM jsonb_to_recordset(CAST(:calls AS jsonb)) AS c({_COLUMNS})), "
    f"entries AS ({ledger.OF_CALLS}), exposures AS ({observations.OF_CALLS}), new AS ({usage.OF_CALLS} RETURNING 1) "
    f"SELECT (SELECT count(*) FROM calls WHERE status IN ({_OUTCOMES})), (SELECT count(*) FROM new)"
)


def book(tx: Transaction, records: Sequence[bytes]) -> int:
    """Book records as `usage.encode` makes them; one that is booked already changes nothing. Returns how many were new.

    Raises InvalidInput or the database's DataError or IntegrityError when one of them is no record or cannot be stored:
    then none of this transaction may be committed.
    """
    try:
        calls = (b"[%b]" % b",".join(records)).decode()
    except UnicodeDecodeError as error:
        raise _no_record() from error
    found, new = tx.session.execute(_BOOK, {"calls": calls, "booked_at": utc_now()}).one()
    if found != len(records):
        raise _no_record()
    return int(new)


def _no_record() -> InvalidInput:
    return InvalidInput("not every line is the record of a call", remedy="Book them one by one to find which is not.")
