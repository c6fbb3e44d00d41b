"""The step between what is wanted and what is observed: a pure function to a list of actions.

`reconcile` is for backends that run processes on one machine; `converging.py` is the same step in a cluster. What may
run is decided here too: only a digest whose approval is live, so withdrawing an approval stops it at the next pass.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import select

from llmops_resources.catalog import approvals, versions
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Transaction
from llmops_resources.serving.tables import EndpointRow
from llmops_resources.values import Value

#: Seconds before the first restart, doubled for each further one, and its bound.
FIRST_BACKOFF = 1.0
LONGEST_BACKOFF = 30.0


class Desired(Value):
    """One endpoint as the backend should run it. `approved` says whether its digest has a live approval now.

    `replicas` is one at least, unless it is stopped; `least` is what was asked for, none where Knative wakes them.
    """

    endpoint_id: UUID
    environment: str
    route: str
    backend: str
    revision: int
    replicas: int
    least: int
    max_replicas: int
    config: dict[str, Any]
    approved: bool
    model: Version


@dataclass(frozen=True)
class Running:
    """One process as the backend sees it; `exited_at` is the monotonic time in seconds at which it ended, if it did.

    `failures` counts ends in a row without having been ready in between.
    """

    endpoint_id: UUID
    revision: int
    digest: str
    ready: bool
    failures: int = 0
    exited_at: float | None = None


class Verb(StrEnum):
    START = "start"
    STOP = "stop"
    RESTART = "restart"


@dataclass(frozen=True)
class Action:
    """Start, stop or start again the process of one endpoint, and why."""

    verb: Verb
    endpoint_id: UUID
    reason: str


def desired(tx: Transaction, *backends: str) -> list[Desired]:
    """Every live endpoint of these backends."""
    query = select(EndpointRow).where(EndpointRow.deleted_at.is_(None), EndpointRow.backend.in_(backends))
    return [
        Desired(
            endpoint_id=row.id,
            environment=row.environment,
            route=row.route,
            backend=row.backend,
            revision=row.revision,
            replicas=max(row.min_replicas, min(row.max_replicas, 1)),
            least=row.min_replicas,
            max_replicas=row.max_replicas,
            config=row.config,
            approved=approvals.is_live(tx, row.model_id, row.model_digest),
            model=versions.get(tx, row.model_id),
        )
        for row in tx.session.scalars(query.order_by(EndpointRow.created_at))
    ]


def reconcile(wanted: list[Desired], running: list[Running], *, now: float) -> list[Action]:
    """What to do so that what runs becomes what is wanted; `now` is monotonic seconds."""
    by_id = {process.endpoint_id: process for process in running}
    ids = {endpoint.endpoint_id for endpoint in wanted}
    actions = [
        Action(Verb.STOP, process.endpoint_id, "the endpoint was deleted")
        for process in running
        if process.endpoint_id not in ids
    ]
    for endpoint in wanted:
        action = _one(endpoint, by_id.get(endpoint.endpoint_id), now)
        if action is not None:
            actions.append(action)
    return actions


def backoff(failures: int) -> float:
    """Seconds to wait before the next start after so many failures in a row."""
    return min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** max(failures - 1, 0)) if failures else 0.0


def _one(endpoint: Desired, process: Running | None, now: float) -> Action | None:
    should_run = endpoint.replicas > 0 and endpoint.approved
    if process is None:
        return Action(Verb.START, endpoint.endpoint_id, "it is not running") if should_run else None
    if not should_run:
        reason = "it is scaled to zero" if endpoint.approved else "its model's approval was withdrawn"
        return Action(Verb.STOP, endpoint.endpoint_id, reason)
    if process.digest != endpoint.model.digest or process.revision != endpoint.revision:
        return Action(Verb.RESTART, endpoint.endpoint_id, f"revision {endpoint.revision} is wanted")
    if process.exited_at is not None and now - process.exited_at >= backoff(process.failures):
        return Action(Verb.RESTART, endpoint.endpoint_id, "it ended by itself")
    return None
