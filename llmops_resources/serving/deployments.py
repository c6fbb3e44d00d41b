"""Deployments: the revisions of an endpoint, and the work of making each of them true."""

from typing import Any
from uuid import UUID

from sqlalchemy import select

from llmops_resources import pages, work
from llmops_resources.catalog import lineage_events, versions
from llmops_resources.catalog.lineage_events import Artifact, Phase
from llmops_resources.database import Transaction
from llmops_resources.errors import NotFound
from llmops_resources.pages import Page, Position
from llmops_resources.serving import endpoints, revisions, wishes
from llmops_resources.serving.environments import Environment
from llmops_resources.serving.tables import DeploymentRow, EndpointRow
from llmops_resources.serving.wishes import SettingChange
from llmops_resources.settings import Settings
from llmops_resources.values import Value
from llmops_resources.work import WorkItem, WorkState, WorkStatus

ROOM = "serving"


class Deployment(Value):
    """One revision of an endpoint and how its roll-out went.

    `action` is what made it: deploy, change, redeploy, rollback or stop. `restores` is the revision a rollback went
    back to. `usable`: exactly its bytes and its prompt have a live approval, so that the endpoint may go back to it.
    """

    id: UUID
    endpoint_id: UUID
    revision: int
    action: str
    restores: int | None
    note: str
    model_id: UUID
    model_name: str
    version: str
    model_digest: str
    backend: str
    runtime_image: str | None
    min_replicas: int
    max_replicas: int
    rollback_plan: str | None
    config: dict[str, Any]
    usable: bool
    state: WorkState


class RevisionDiff(Value):
    """What two revisions of an endpoint ask for differently, from `before` to `after`."""

    before: int
    after: int
    differences: tuple[SettingChange, ...]


def search(
    tx: Transaction, endpoint_id: UUID | str, *, after: Position | None = None, limit: int = 50
) -> Page[Deployment]:
    """The deployment history of a live endpoint, newest first. Raises NotFound."""
    query = select(DeploymentRow).filter_by(endpoint_id=endpoints.load(tx, endpoint_id, lock=False).id)
    order = (DeploymentRow.requested_at, DeploymentRow.id)
    return pages.fetch(tx, query, order, after=after, limit=limit, value=lambda row: _value(tx, row))


def contents(tx: Transaction, endpoint_id: UUID) -> set[tuple[UUID, str]]:
    """The models and digests that an endpoint ever had."""
    query = select(DeploymentRow.model_id, DeploymentRow.model_digest).filter_by(endpoint_id=endpoint_id).distinct()
    return {(model_id, digest) for model_id, digest in tx.session.execute(query)}


def diff(tx: Transaction, endpoint_id: UUID | str, before: int, after: int) -> RevisionDiff:
    """What revision `after` asks for otherwise than revision `before`. Raises NotFound."""
    endpoint = endpoints.load(tx, endpoint_id, lock=False)
    found = wishes.differences(_wishes(tx, endpoint, before), _wishes(tx, endpoint, after))
    return RevisionDiff(before=before, after=after, differences=tuple(found))


def redeploy_again(tx: Transaction, settings: Settings, environment: str, route: str) -> Deployment:
    """The standing recipe of an endpoint: roll its present settings out once more."""
    found = endpoints.search(tx, environment=Environment(environment), route=route).items
    if not found:
        raise NotFound(f"nothing is deployed at {environment}/{route}", remedy="Deploy a model there first.")
    again = revisions.redeploy(tx, settings, found[0].id)
    return _value(tx, _revision(tx, endpoints.load(tx, again.id), again.revision))


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
    return _value(tx, row)


def finish(tx: Transaction, deployment_id: UUID, *, run_id: str) -> Deployment:
    """The revision is what was asked for: healthy, or stopped when zero replicas were wanted."""
    row = work.load(tx, DeploymentRow, deployment_id, "deployment")
    work.succeed(row, run_id=run_id)
    tx.audit("deployment.finish", "endpoint", row.endpoint_id, revision=row.revision)
    _tell(tx, row, Phase.COMPLETE)
    return _value(tx, row)


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


def _revision(tx: Transaction, endpoint: EndpointRow, revision: int) -> DeploymentRow:
    row = tx.session.scalar(select(DeploymentRow).filter_by(endpoint_id=endpoint.id, revision=revision))
    if row is None:
        raise NotFound(f"/{endpoint.route} has no revision {revision}", remedy="GET …/deployments lists the revisions.")
    return row


def _wishes(tx: Transaction, endpoint: EndpointRow, revision: int) -> dict[str, Any]:
    row = _revision(tx, endpoint, revision)
    model = versions.remembered(tx, row.model_id)
    return {"model": f"{model.name} {model.version}"} | wishes.of_revision(
        digest=row.model_digest, backend=row.backend, replicas=(row.min_replicas, row.max_replicas),
        plan=row.rollback_plan, config=row.config,
    )  # fmt: skip


def _value(tx: Transaction, row: DeploymentRow) -> Deployment:
    model = versions.remembered(tx, row.model_id)
    return Deployment(
        id=row.id,
        endpoint_id=row.endpoint_id,
        revision=row.revision,
        action=row.action,
        restores=row.restores if row.action == "rollback" else None,
        note=row.note,
        model_id=row.model_id,
        model_name=model.name,
        version=model.version,
        model_digest=row.model_digest,
        backend=row.backend,
        runtime_image=row.config.get("servingRuntimeImage"),
        min_replicas=row.min_replicas,
        max_replicas=row.max_replicas,
        rollback_plan=row.rollback_plan,
        config=row.config,
        usable=revisions.is_usable(tx, row),
        state=work.state(row),
    )
