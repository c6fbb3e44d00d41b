"""Events of endpoints: each change of what a backend saw, so that what has passed can still be read; and the health
history that they add up to.

Kept are the latest KEPT of an endpoint, and none for longer than RETENTION_DAYS. A time in which nobody looked is
`unknown`: it counts neither as healthy nor as failed.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import delete, select

from llmops_resources.database import Transaction
from llmops_resources.errors import ValidationFailed, field_problem
from llmops_resources.serving import endpoints
from llmops_resources.serving.endpoints import UNKNOWN, UNWATCHED, EndpointStatus
from llmops_resources.serving.tables import EventRow, ObservedRow
from llmops_resources.values import Value, utc_now

KEPT: Final = 1_000  # of one endpoint
SHOWN: Final = 200
LONGEST: Final = timedelta(days=366)
BATCH: Final = 10_000

#: A status, or that nobody looked.
Seen = EndpointStatus | Literal["unknown"]


class EndpointEvent(Value):
    """What was seen of a revision from a moment on, until the next event."""

    revision: int
    status: Seen
    detail: str
    at: datetime


class HealthSpan(Value):
    """A time in which the same was seen of an endpoint, and the reason that was given."""

    status: Seen
    reason: str
    revision: int
    since: datetime
    until: datetime
    seconds: float


class HealthHistory(Value):
    """The spans of a window, oldest first. `seconds` has each status that was seen; `availability` is the share of the
    watched time in which the endpoint answered (healthy or degraded), None when nobody watched."""

    since: datetime
    until: datetime
    spans: tuple[HealthSpan, ...]
    seconds: dict[str, float]
    availability: float | None


def of_endpoint(tx: Transaction, endpoint_id: UUID) -> list[EndpointEvent]:
    """The latest events of a live endpoint, newest first. Raises NotFound."""
    endpoints.load(tx, endpoint_id, lock=False)
    query = select(EventRow).filter_by(endpoint_id=endpoint_id).order_by(EventRow.at.desc()).limit(SHOWN)
    return [_event(row) for row in tx.session.scalars(query)]


def health(
    tx: Transaction, endpoint_id: UUID, *, since: datetime | None = None, until: datetime | None = None
) -> HealthHistory:
    """What was seen of a live endpoint in a window, by default the last 24 hours. Raises NotFound, ValidationFailed."""
    endpoints.load(tx, endpoint_id, lock=False)
    now = utc_now()
    end = min(until or now, now)
    begin = since or end - timedelta(days=1)
    if not begin < end <= begin + LONGEST:
        remedy = f"Give a moment before `until`, at most {LONGEST.days} days earlier, with its time zone."
        problem = field_problem("since", f"{begin.isoformat()} to {end.isoformat()} is no such window", remedy)
        raise ValidationFailed("the window cannot be read", details=[problem])
    mine = select(EventRow).filter_by(endpoint_id=endpoint_id)
    first = tx.session.scalar(mine.where(EventRow.at <= begin).order_by(EventRow.at.desc()).limit(1))
    rest = tx.session.scalars(mine.where(EventRow.at > begin, EventRow.at < end).order_by(EventRow.at)).all()
    looked = tx.session.get(ObservedRow, endpoint_id)
    events = [_event(row) for row in ([first] if first else []) + list(rest)]
    return history(events, begin, end, looked.checked_at if looked else None)


def history(
    events: Sequence[EndpointEvent], since: datetime, until: datetime, looked_at: datetime | None
) -> HealthHistory:
    """Events, oldest first, as spans within a window. Pure.

    What was seen last holds until `looked_at`; when that is long before the window's end, the rest is unknown.
    """
    marks = list(events)
    if marks and looked_at is not None and until - looked_at > UNWATCHED and looked_at > marks[-1].at:
        last = marks[-1].revision
        marks.append(EndpointEvent(revision=last, status="unknown", detail="nobody has looked since", at=looked_at))
    spans: list[HealthSpan] = []
    for event, next_at in zip(marks, [*(mark.at for mark in marks), until][1:], strict=True):
        begins, ends = max(event.at, since), min(next_at, until)
        if begins < ends:
            spans.append(_span(event, begins, ends))
    seconds: dict[str, float] = {}
    for span in spans:
        seconds[span.status] = seconds.get(span.status, 0.0) + span.seconds
    watched = sum(each for status, each in seconds.items() if status != UNKNOWN)
    answered = seconds.get(EndpointStatus.HEALTHY, 0.0) + seconds.get(EndpointStatus.DEGRADED, 0.0)
    return HealthHistory(
        since=since, until=until, spans=tuple(spans), seconds=seconds,
        availability=answered / watched if watched else None,
    )  # fmt: skip


def forget(tx: Transaction, endpoint_id: UUID) -> None:
    """Remove all but the latest KEPT events of an endpoint."""
    kept = select(EventRow.id).filter_by(endpoint_id=endpoint_id).order_by(EventRow.at.desc()).limit(KEPT)
    tx.session.execute(delete(EventRow).where(EventRow.endpoint_id == endpoint_id, EventRow.id.not_in(kept)))


def forget_old(tx: Transaction, age: timedelta, *, batch: int = BATCH) -> int:
    """Remove at most `batch` events older than `age`; how many. What is seen now is not an event and stays."""
    old = select(EventRow.id).where(EventRow.at < utc_now() - age).limit(batch)
    return tx.erase(delete(EventRow).where(EventRow.id.in_(old)))


def _event(row: EventRow) -> EndpointEvent:
    return EndpointEvent(revision=row.revision, status=_seen(row.status), detail=row.detail, at=row.at)


def _seen(status: str) -> Seen:
    return "unknown" if status == UNKNOWN else EndpointStatus(status)


def _span(event: EndpointEvent, since: datetime, until: datetime) -> HealthSpan:
    return HealthSpan(
        status=event.status, reason=event.detail, revision=event.revision, since=since, until=until,
        seconds=(until - since).total_seconds(),
    )  # fmt: skip
