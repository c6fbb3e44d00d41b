"""Work is a row, not a message.

Everything that takes longer than a request is requested by writing a row, turned into exactly one run by an intake
sensor (run key = row id and attempt), claimed by that run under a lease, and finished by another verb. The lease is a
session-level PostgreSQL advisory lock: when the process that holds it dies in any way, the server drops the lock, and
the intake knows at once that the row's work is dead and may be tried again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from typing import TypeVar
from uuid import UUID, uuid4

from sqlalchemy import Engine, String, func, select, text, update
from sqlalchemy.orm import Mapped, mapped_column

from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, NotFound
from llmops_resources.values import Value, utc_now


class WorkStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


#: running → queued is the retry of work whose process died.
MOVES: dict[WorkStatus, frozenset[WorkStatus]] = {
    WorkStatus.QUEUED: frozenset({WorkStatus.RUNNING, WorkStatus.CANCELLED, WorkStatus.FAILED}),
    WorkStatus.RUNNING: frozenset(
        {WorkStatus.QUEUED, WorkStatus.SUCCEEDED, WorkStatus.FAILED, WorkStatus.CANCELLED}
    ),
    WorkStatus.SUCCEEDED: frozenset(),
    WorkStatus.FAILED: frozenset(),
    WorkStatus.CANCELLED: frozenset(),
}

ACTIVE = (WorkStatus.QUEUED, WorkStatus.RUNNING)
#: From here a person may ask for another attempt, in rooms that offer it.
REOPENED = frozenset({WorkStatus.FAILED, WorkStatus.CANCELLED})
MAX_ATTEMPTS = 3


class WorkRow:
    """Columns every kind of work shares. `attempt` counts from 1 and is part of the run key."""

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    status: Mapped[WorkStatus] = mapped_column(String(16), default=WorkStatus.QUEUED, index=True)
    attempt: Mapped[int] = mapped_column(default=1)
    requested_by: Mapped[str]
    requested_at: Mapped[datetime] = mapped_column(default=utc_now)
    queued_at: Mapped[datetime] = mapped_column(default=utc_now)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    progress: Mapped[float] = mapped_column(default=0.0)
    progress_message: Mapped[str] = mapped_column(default="")
    run_id: Mapped[str | None]
    error: Mapped[str | None]
    cancel_requested: Mapped[bool] = mapped_column(default=False)


RowT = TypeVar("RowT", bound=WorkRow)


class WorkItem(Value):
    """A row that still needs a run, as the intake sees it. `dead`: it is running, but its process is gone."""

    id: UUID
    room: str
    asset_key: tuple[str, ...]
    status: WorkStatus
    attempt: int
    run_key: str
    run_id: str | None
    queued_at: datetime
    cancel_requested: bool
    dead: bool


class WorkState(Value):
    """Where a piece of work stands; times are UTC, `progress` runs from 0 to 1."""

    status: WorkStatus
    attempt: int
    requested_by: str
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    progress: float
    progress_message: str
    run_id: str | None
    error: str | None
    cancel_requested: bool


def state(row: WorkRow) -> WorkState:
    """The shared part of every work value."""
    return WorkState(
        status=WorkStatus(row.status),
        attempt=row.attempt,
        requested_by=row.requested_by,
        requested_at=row.requested_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        progress=row.progress,
        progress_message=row.progress_message,
        run_id=row.run_id,
        error=row.error,
        cancel_requested=row.cancel_requested,
    )


def item(tx: Transaction, row: WorkRow, room: str, asset_key: tuple[str, ...]) -> WorkItem:
    """The intake's view of a row."""
    return WorkItem(
        id=row.id,
        room=room,
        asset_key=asset_key,
        status=WorkStatus(row.status),
        attempt=row.attempt,
        run_key=run_key(row),
        run_id=row.run_id,
        queued_at=row.queued_at,
        cancel_requested=row.cancel_requested,
        dead=row.status == WorkStatus.RUNNING and is_dead(tx, row),
    )


def run_key(row: WorkRow) -> str:
    """The name under which Dagster starts at most one run for this attempt."""
    return f"{row.id}:{row.attempt}"


def load(tx: Transaction, kind: type[RowT], row_id: UUID | str, noun: str) -> RowT:
    """The row, locked until the transaction ends. Raises NotFound."""
    return _fetch(tx, kind, row_id, noun, lock=True)


def read(tx: Transaction, kind: type[RowT], row_id: UUID | str, noun: str) -> RowT:
    """The row as it is, without a lock. Raises NotFound."""
    return _fetch(tx, kind, row_id, noun, lock=False)


def _fetch(tx: Transaction, kind: type[RowT], row_id: UUID | str, noun: str, *, lock: bool) -> RowT:
    try:
        key = UUID(str(row_id))
    except ValueError:
        raise NotFound(f"there is no {noun} {row_id!r}", remedy=f"List the {noun}s to find its id.") from None
    row = tx.session.get(kind, key, with_for_update=lock or None)
    if row is None:
        raise NotFound(f"there is no {noun} {row_id}", remedy=f"List the {noun}s to find its id.")
    return row


def move(row: WorkRow, to: WorkStatus) -> None:
    """Change the status if the table of moves allows it. Raises Conflict."""
    status = WorkStatus(row.status)
    if to not in MOVES[status]:
        raise Conflict(f"work that is {status} cannot become {to}", remedy="Reload to see its current state.")
    row.status = to
    now = utc_now()
    if to is WorkStatus.RUNNING:
        row.started_at = now
    if to is WorkStatus.QUEUED:
        row.queued_at = now
    if not MOVES[to]:
        row.finished_at = now


def cancel(row: WorkRow) -> None:
    """Ask for the work to stop: queued work ends at once, running work when its run notices."""
    row.cancel_requested = True
    if row.status == WorkStatus.QUEUED:
        move(row, WorkStatus.CANCELLED)
    elif row.status != WorkStatus.RUNNING:
        raise Conflict(f"work that is {row.status} cannot be cancelled", remedy="Only queued or running work can be.")


def claim(row: WorkRow, *, attempt: int, run_id: str) -> None:
    """Take the row for this run. The caller must hold its lease.

    Raises Conflict when the attempt is no longer the current one, so a late run of an abandoned attempt stops.
    """
    if row.attempt != attempt:
        raise Conflict(f"attempt {attempt} was given up; attempt {row.attempt} is current", remedy="Nothing to do.")
    move(row, WorkStatus.RUNNING)
    row.run_id = run_id
    row.progress, row.progress_message, row.error = 0.0, "started", None


def check_run(row: WorkRow, run_id: str) -> None:
    """Raises Conflict when the row belongs to another run by now: this one was given up while it still lived."""
    if row.run_id != run_id:
        raise Conflict(f"run {run_id} was given up; its work belongs to another run", remedy="Nothing to do.")


def succeed(row: WorkRow, *, run_id: str) -> None:
    """Mark the work as done by the run that claimed it. Raises Conflict when that is another run by now."""
    check_run(row, run_id)
    move(row, WorkStatus.SUCCEEDED)
    row.progress, row.progress_message = 1.0, "done"


def fail(row: WorkRow, error: str) -> None:
    """Mark the work as failed, with a sentence for people (at most 4,000 characters are kept)."""
    move(row, WorkStatus.FAILED)
    row.error = error[:4000]


def report_progress(tx: Transaction, kind: type[RowT], row_id: UUID, fraction: float, message: str) -> None:
    """Show how far running work is (0 to 1); telemetry, so it needs no audit event."""
    tx.session.connection().execute(
        update(kind)
        .where(kind.id == row_id, kind.status == WorkStatus.RUNNING)
        .values(progress=min(max(fraction, 0.0), 1.0), progress_message=message[:500])
    )


def retry_dead(row: WorkRow, *, attempt: int, reason: str, last_attempt: int = MAX_ATTEMPTS) -> bool:
    """Put work whose process died back into the queue under the next attempt; past `last_attempt` it fails.

    `attempt` is the one that died; when the row has moved on since, nothing happens. Returns whether it will be
    tried again.
    """
    if row.attempt != attempt or row.status not in ACTIVE:
        return False
    if row.cancel_requested:
        move(row, WorkStatus.CANCELLED)
        return False
    if row.attempt >= last_attempt:
        fail(row, f"{reason}; given up after {row.attempt} attempts")
        return False
    requeue(row, reason)
    return True


def requeue(row: WorkRow, reason: str) -> None:
    """Queue the next attempt of work that is queued or running."""
    if row.status == WorkStatus.RUNNING:
        move(row, WorkStatus.QUEUED)
    _next_attempt(row, reason)


def reopen(row: WorkRow, reason: str) -> None:
    """Queue another attempt of work that failed or was cancelled. Raises Conflict for any other."""
    if row.status not in REOPENED:
        raise Conflict(f"work that is {row.status} cannot be retried", remedy="Only failed or cancelled work can be.")
    row.status, row.finished_at, row.error, row.cancel_requested = WorkStatus.QUEUED, None, None, False
    _next_attempt(row, reason)


def _next_attempt(row: WorkRow, reason: str) -> None:
    row.attempt += 1
    row.queued_at = utc_now()
    row.run_id = row.started_at = None
    row.progress, row.progress_message = 0.0, f"{reason}; attempt {row.attempt} is queued"


@contextmanager
def lease(engine: Engine, row_id: UUID | str) -> Iterator[None]:
    """Hold the row's lease while the block runs. Raises Conflict when another process holds it."""
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:
        held = connection.execute(select(func.pg_try_advisory_lock(_lease_key(row_id)))).scalar_one()
        if not held:
            raise Conflict(f"another process works on {row_id}", remedy="Wait for it to finish.")
        yield
    finally:
        connection.invalidate()  # closes the session, and with it the lock, even if the block broke it
        connection.close()


def is_dead(tx: Transaction, row: WorkRow) -> bool:
    """Whether nobody holds the lease of this row (for a running row: its process died).

    It looks at the server's list of locks; trying the lock would hold it, and fail the run that takes it next.
    """
    key = _lease_key(row.id)
    held = text(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid::bigint = :high "
        "AND objid::bigint = :low AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    holders: int = tx.session.execute(held, {"high": key >> 32, "low": key & 0xFFFFFFFF}).scalar_one()
    return holders == 0


def _lease_key(row_id: UUID | str) -> int:
    return UUID(str(row_id)).int >> 65  # 63 bits: fits a positive bigint


def notify(tx: Transaction, channel: str) -> None:
    """Wake listeners of `channel` when this transaction commits."""
    tx.session.execute(text("SELECT pg_notify(:channel, '')"), {"channel": channel})
