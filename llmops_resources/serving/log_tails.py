"""The end of what an endpoint's runtime says. It lies where the runtime is; the agent there brings it while somebody
looks, so that nobody's prompts are copied into the database without need.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from llmops_resources.database import Transaction
from llmops_resources.serving import endpoints
from llmops_resources.serving.endpoints import EXTERNAL
from llmops_resources.serving.tables import LogTailRow
from llmops_resources.values import Value, utc_now

LINES: Final = 300
LONGEST: Final = 1_000  # characters of a line
#: How long after the last look a tail is still brought.
WANTED: Final = timedelta(seconds=30)
#: How long a tail is kept that nobody looks at.
KEPT: Final = timedelta(minutes=10)


class LogTail(Value):
    """The last lines, oldest first. `taken_at` is None until the agent has brought them; `available` is False where
    there is no runtime of ours to listen to."""

    lines: tuple[str, ...]
    revision: int
    taken_at: datetime | None
    available: bool


def read(tx: Transaction, endpoint_id: UUID) -> LogTail:
    """The tail as it was brought last, and the wish for a newer one. Telemetry: not audited. Raises NotFound."""
    endpoint = endpoints.load(tx, endpoint_id, lock=False)
    if endpoint.backend == EXTERNAL:
        return LogTail(lines=(), revision=endpoint.revision, taken_at=None, available=False)
    now = utc_now()
    tx.session.execute(delete(LogTailRow).where(LogTailRow.wanted_until < now - KEPT))
    until = now + WANTED
    wish = insert(LogTailRow).values(endpoint_id=endpoint.id, wanted_until=until, revision=0, text="")
    tx.session.execute(wish.on_conflict_do_update(index_elements=["endpoint_id"], set_={"wanted_until": until}))
    row = tx.session.get_one(LogTailRow, endpoint.id)
    lines = tuple(row.text.split("\n")) if row.text else ()
    return LogTail(lines=lines, revision=row.revision, taken_at=row.taken_at, available=True)


def wanted(tx: Transaction) -> frozenset[UUID]:
    """Whose tail somebody looks at now."""
    return frozenset(tx.session.scalars(select(LogTailRow.endpoint_id).where(LogTailRow.wanted_until > utc_now())))


def keep(tx: Transaction, endpoint_id: UUID, revision: int, text: str) -> None:
    """Put a tail, without secrets, in the place of the last one; longer ones and longer lines are cut."""
    lines = [line if len(line) <= LONGEST else line[: LONGEST - 1] + "…" for line in text.splitlines()[-LINES:]]
    values = {"text": "\n".join(lines).replace("\0", ""), "revision": revision, "taken_at": utc_now()}
    row = insert(LogTailRow).values(endpoint_id=endpoint_id, wanted_until=utc_now(), **values)
    tx.session.execute(row.on_conflict_do_update(index_elements=["endpoint_id"], set_=values))
