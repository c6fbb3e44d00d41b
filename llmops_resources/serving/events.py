"""Events of endpoints: each change of what a backend saw, so that what has passed can still be read."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import delete, select

from llmops_resources.database import Transaction
from llmops_resources.serving import endpoints
from llmops_resources.serving.endpoints import EndpointStatus
from llmops_resources.serving.tables import EventRow
from llmops_resources.values import Value

KEPT: Final = 200  # of one endpoint


class EndpointEvent(Value):
    """What was seen of a revision from a moment on, until the next event."""

    revision: int
    status: EndpointStatus
    detail: str
    at: datetime


def of_endpoint(tx: Transaction, endpoint_id: UUID) -> list[EndpointEvent]:
    """The latest events of a live endpoint, newest first. Raises NotFound."""
    endpoints.load(tx, endpoint_id, lock=False)
    query = select(EventRow).filter_by(endpoint_id=endpoint_id).order_by(EventRow.at.desc()).limit(KEPT)
    return [
        EndpointEvent(revision=row.revision, status=EndpointStatus(row.status), detail=row.detail, at=row.at)
        for row in tx.session.scalars(query)
    ]


def forget(tx: Transaction, endpoint_id: UUID) -> None:
    """Remove all but the latest KEPT events of an endpoint."""
    kept = select(EventRow.id).filter_by(endpoint_id=endpoint_id).order_by(EventRow.at.desc()).limit(KEPT)
    tx.session.execute(delete(EventRow).where(EventRow.endpoint_id == endpoint_id, EventRow.id.not_in(kept)))
