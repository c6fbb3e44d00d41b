"""Deployments: the work of making an endpoint's revision true, and going back to an earlier one."""

from typing import Any
from uuid import UUID

from sqlalchemy import select

from llmops_resources import work
from llmops_resources.catalog import approvals, lineage_events, versions
from llmops_resources.catalog.lineage_events import Artifact, Phase
from llmops_resources.database import Transaction
from llmops_resources.errors import NotFound
from llmops_resources.serving import endpoints
from llmops_resources.serving.endpoints import Endpoint
from llmops_resources.serving.tables import DeploymentRow, EndpointRow
from llmops_resources.values import Value
from llmops_resources.work import WorkItem, WorkState, WorkStatus

ROOM = "serving"


class Deployment(Value):
    """One revision of an endpoint and how its roll-out went."""

    id: UUID
    endpoint_id: UUID
    revision: int
    model_id: UUID
    model_digest: str
    min_replicas: int
    max_replicas: int
    config: dict[str, Any]
    state: WorkState


def of_endpoint(tx: Transaction, endpoint_id: UUID) -> list[Deployment]:
    """The deployment history, newest first."""
    query = select(DeploymentRow).filter_by(endpoint_id=endpoint_id).order_by(DeploymentRow.revision.desc())
    return [_value(row) for row in tx.session.scalars(query)]


def redeploy(tx: Transaction, endpoint_id: UUID | str) -> Endpoint:
    """Roll the endpoint's present settings out once more; a stopped one comes back with one replica."""
    row = endpoints.load(tx, endpoint_id)
    approvals.approved_model(tx, row.model_id)
    row.max_replicas = max(row.max_replicas, 1)
    row.min_replicas = max(row.min_replicas, 1)
    endpoints.add_revision(tx, row, "endpoint.redeploy")
    return endpoints.value(tx, row)


def rollback(tx: Transaction, endpoint_id: UUID | str) -> Endpoint:
    """Back to the revision before; with none, scale to zero and keep everything.

    Raises Conflict when the earlier model is no longer approved.
    """
    row = endpoints.load(tx, endpoint_id)
    earlier = tx.session.scalar(
        select(DeploymentRow)
        .filter_by(endpoint_id=row.id)
        .where(DeploymentRow.revision < row.revision, DeploymentRow.model_digest != row.model_digest)
        .order_by(DeploymentRow.revision.desc())
        .limit(1)
    )
    if earlier is None:
        row.min_replicas = row.max_replicas = 0
    else:
        approvals.approved_model(tx, earlier.model_id)
        row.model_id, row.model_digest, row.backend = earlier.model_id, earlier.model_digest, earlier.backend
        row.min_replicas, row.max_replicas, row.config = earlier.min_replicas, earlier.max_replicas, earlier.config
    endpoints.add_revision(tx, row, "endpoint.rollback")
    return endpoints.value(tx, row)


def redeploy_again(tx: Transaction, environment: str, route: str) -> Deployment:
    """The standing recipe of an endpoint: roll its present settings out once more."""
    found = endpoints.search(tx, environment=endpoints.Environment(environment), route=route).items
    if not found:
        raise NotFound(f"nothing is deployed at {environment}/{route}", remedy="Deploy a model there first.")
    redeploy(tx, found[0].id)
    return of_endpoint(tx, found[0].id)[0]


def active(tx: Transaction) -> list[WorkItem]:
    """Deployments that still need a run."""
    query = (
        select(DeploymentRow, EndpointRow)
        .join(EndpointRow, EndpointRow.id == DeploymentRow.endpoint_id)
        .where(DeploymentRow.status.in_(work.ACTIVE))
        .order_by(DeploymentRow.queued_at)
    )
    return [
        work.item(tx, row, ROOM, ("endpoints", endpoint.environment, endpoint.route))
        for row, endpoint in tx.session.execute(query)
    ]


def claim(tx: Transaction, deployment_id: UUID, *, attempt: int, run_id: str) -> Deployment:
    """Take the deployment for a run that holds its lease."""
    row = work.load(tx, DeploymentRow, deployment_id, "deployment")
    work.claim(row, attempt=attempt, run_id=run_id)
    tx.audit("deployment.start", "endpoint", row.endpoint_id, revision=row.revision, run=run_id)
    _tell(tx, row, Phase.START)
    return _value(row)


def finish(tx: Transaction, deployment_id: UUID, *, run_id: str) -> Deployment:
    """The revision is what was asked for: healthy, or stopped when zero replicas were wanted."""
    row = work.load(tx, DeploymentRow, deployment_id, "deployment")
    work.succeed(row, run_id=run_id)
    tx.audit("deployment.finish", "endpoint", row.endpoint_id, revision=row.revision)
    _tell(tx, row, Phase.COMPLETE)
    return _value(row)


def fail(tx: Transaction, deployment_id: UUID, error: str, *, run_id: str | None = None) -> None:
    """The revision did not come up in time, or was refused."""
    row = work.load(tx, DeploymentRow, deployment_id, "deployment")
    if run_id is not None:
        work.check_run(row, run_id)
    work.fail(row, error)
    tx.audit("deployment.fail", "endpoint", row.endpoint_id, revision=row.revision, error=error[:500])
    _tell(tx, row, Phase.FAIL, error=error)


def mark_cancelled(tx: Transaction, deployment_id: UUID) -> None:
    """A newer revision or a deletion overtook this one."""
    row = work.load(tx, DeploymentRow, deployment_id, "deployment")
    work.move(row, WorkStatus.CANCELLED)
    tx.audit("deployment.cancelled", "endpoint", row.endpoint_id, revision=row.revision)
    _tell(tx, row, Phase.ABORT)


def report_progress(tx: Transaction, deployment_id: UUID, fraction: float, message: str) -> bool:
    """Show how far the roll-out is, and learn whether it was overtaken."""
    work.report_progress(tx, DeploymentRow, deployment_id, fraction, message)
    return bool(tx.session.scalar(select(DeploymentRow.cancel_requested).where(DeploymentRow.id == deployment_id)))


def retry_dead(tx: Transaction, deployment_id: UUID, *, attempt: int, reason: str) -> bool:
    """Put a deployment whose process died back into the queue."""
    row = work.load(tx, DeploymentRow, deployment_id, "deployment")
    again = work.retry_dead(row, attempt=attempt, reason=reason)
    tx.audit("deployment.retry", "endpoint", row.endpoint_id, attempt=row.attempt, reason=reason)
    return again


def _tell(tx: Transaction, row: DeploymentRow, phase: Phase, *, error: str | None = None) -> None:
    endpoint = tx.session.get_one(EndpointRow, row.endpoint_id)
    served = Artifact(name=f"endpoints/{endpoint.environment}/{endpoint.route}", version=str(row.revision))
    lineage_events.tell(
        tx,
        phase,
        work="deployment",
        job=f"deploy.{endpoint.environment}.{endpoint.route}",
        row_id=row.id,
        attempt=row.attempt,
        inputs=[lineage_events.artifact(versions.remembered(tx, row.model_id))],
        outputs=[served] if phase is Phase.COMPLETE else [],
        error=error,
    )


def _value(row: DeploymentRow) -> Deployment:
    return Deployment(
        id=row.id,
        endpoint_id=row.endpoint_id,
        revision=row.revision,
        model_id=row.model_id,
        model_digest=row.model_digest,
        min_replicas=row.min_replicas,
        max_replicas=row.max_replicas,
        config=row.config,
        state=work.state(row),
    )
