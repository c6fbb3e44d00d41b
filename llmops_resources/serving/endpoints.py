"""Endpoints: the desired state, its revisions, and what was observed of it."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Select, and_, func, select
from sqlalchemy.dialects.postgresql import insert

from llmops_resources import pages, work
from llmops_resources.catalog import approvals, lineage, versions
from llmops_resources.catalog.deletion import Blocker
from llmops_resources.catalog.lifecycle import ModelType
from llmops_resources.database import Transaction
from llmops_resources.errors import NotFound, ValidationFailed, field_problem
from llmops_resources.pages import Page, Position
from llmops_resources.serving import parity, prompt_policy, wishes
from llmops_resources.serving.environments import NEED_A_PLAN, Environment
from llmops_resources.serving.options import AutoscalePolicy, Options
from llmops_resources.serving.tables import DeploymentRow, EndpointRow, EventRow, ObservedRow
from llmops_resources.settings import KserveMode
from llmops_resources.values import Value, utc_now

CHANNEL = "llmops_routes"
#: The backend of models that run elsewhere, at a provider.
EXTERNAL = "external"
ROUTE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_FULL_ROUTE = "/llm-ops/v1/serve/"
#: After so long without anybody looking, nothing is known of the time between.
UNWATCHED = timedelta(seconds=60)
UNKNOWN = "unknown"


class EndpointStatus(StrEnum):
    DEPLOYING = "deploying"
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    FAILED = "failed"
    STOPPED = "stopped"


class Replicas(Value):
    total: int
    ready: int
    available: int


class Endpoint(Value):
    """An endpoint as wanted and as last observed."""

    id: UUID
    environment: Environment
    route: str
    model_id: UUID
    model_name: str
    version: str
    model_digest: str
    backend: str
    min_replicas: int
    max_replicas: int
    rollback_plan: str | None
    revision: int
    status: EndpointStatus
    status_detail: str
    base_url: str | None
    replicas: Replicas
    last_health_check: datetime | None
    runtime_image: str | None
    use_gpu: bool | None
    gpu_count: int | None
    image_pull_policy: str | None
    cpu_request: str | None
    cpu_limit: str | None
    memory_request: str | None
    memory_limit: str | None
    autoscale_policy: AutoscalePolicy | None
    kserve_mode: KserveMode | None
    prompt_policy_id: UUID | None
    created_by: str
    created_at: datetime
    dagster_asset_key: tuple[str, ...]


class Observation(Value):
    """What a backend saw of one endpoint's revision."""

    endpoint_id: UUID
    revision: int
    status: EndpointStatus
    detail: str = ""
    base_url: str | None = None
    ready: int = 0
    total: int = 0


def normalize_route(route: str) -> str:
    """The bare name of a route given bare, as an absolute path or in full. Raises ValidationFailed."""
    name = route.strip().removeprefix(_FULL_ROUTE).strip("/")
    if not ROUTE.fullmatch(name):
        remedy = "Use 1–63 lower-case letters, digits or '-', such as support-chat."
        raise ValidationFailed(
            "the route is not usable", details=[field_problem("route", f"{route!r} is not a route", remedy)]
        )
    return name


def route_for(model: versions.Version, route: str | None) -> str:
    """The bare name of the route that a model is asked to be served at. Raises ValidationFailed."""
    return normalize_route(route or model.name.replace("_", "-"))


def deploy(
    tx: Transaction,
    *,
    model_id: UUID | str,
    environment: Environment,
    backend: str,
    route: str | None = None,
    version: str | None = None,
    min_replicas: int = 1,
    max_replicas: int = 1,
    rollback_plan: str | None = None,
    config: dict[str, Any] | None = None,
    reasons: Mapping[str, str] | None = None,
    note: str = "",
) -> Endpoint:
    """Ask for an approved model to be served at a route; a live route gets a new revision.

    `backend` is where a model with files runs; an external one runs at its provider. `reasons` say why settings differ
    from the environment below (`parity.py`). Raises Conflict when the model or the prompt is not approved or a
    difference is not documented, ValidationFailed for bad fields.
    """
    model = approvals.approved_model(tx, model_id)
    if model.version.type is ModelType.EXTERNAL:  # a provider has no use for an image, a GPU or a limit of ours
        backend, config = EXTERNAL, {key: value for key, value in (config or {}).items() if key == prompt_policy.FIELD}
    name = route_for(model.version, route)
    _check_version(model.version, version)
    check_wishes(environment, min_replicas, max_replicas, rollback_plan)
    tx.session.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"endpoints/{name}"))))  # nobody else makes it
    row = tx.session.scalar(_live().filter_by(environment=environment, route=name).with_for_update())
    config = config or (row.config if row else {})
    prompt_policy.check(tx, config)
    parity.require(tx, environment, name, wishes.of_environment(backend, config), reasons or {})
    if row is None:
        row = EndpointRow(environment=environment, route=name, created_by=tx.actor.id, backend=backend)
        tx.session.add(row)
    row.model_id, row.model_digest, row.backend = model.version.id, model.digest, backend
    row.min_replicas, row.max_replicas = min_replicas, max_replicas
    row.rollback_plan, row.config = rollback_plan or row.rollback_plan, config
    add_revision(tx, row, "deploy", note=note)
    return value(tx, row)


def get(tx: Transaction, endpoint_id: UUID | str) -> Endpoint:
    """One endpoint that was not deleted. Raises NotFound."""
    return value(tx, load(tx, endpoint_id, lock=False))


def search(
    tx: Transaction,
    *,
    environment: Environment | None = None,
    model_id: UUID | None = None,
    route: str | None = None,
    route_contains: str | None = None,
    status: EndpointStatus | None = None,
    after: Position | None = None,
    limit: int = 50,
) -> Page[Endpoint]:
    """Live endpoints, newest first."""
    exact = {"environment": environment, "model_id": model_id, "route": route}
    query = _live().filter_by(**{name: wanted for name, wanted in exact.items() if wanted is not None})
    if route_contains:
        query = query.where(EndpointRow.route.contains(route_contains.strip().strip("/").lower(), autoescape=True))
    if status is not None:
        shown = func.coalesce(ObservedRow.status, EndpointStatus.DEPLOYING.value)
        same_revision = and_(ObservedRow.endpoint_id == EndpointRow.id, ObservedRow.revision == EndpointRow.revision)
        query = query.outerjoin(ObservedRow, same_revision).where(shown == status)
    order = (EndpointRow.created_at, EndpointRow.id)
    return pages.fetch(tx, query, order, after=after, limit=limit, value=lambda row: value(tx, row))


def delete(tx: Transaction, endpoint_id: UUID | str) -> Endpoint:
    """Take an endpoint away; its backend stops it, its history stays."""
    row = load(tx, endpoint_id)
    gone = value(tx, row)
    row.deleted_at = utc_now()
    for deployment in tx.session.scalars(
        select(DeploymentRow).filter_by(endpoint_id=row.id).where(DeploymentRow.status.in_(work.ACTIVE))
    ):
        work.cancel(deployment)
    work.notify(tx, CHANNEL)
    tx.audit("endpoint.delete", "endpoint", row.id, route=row.route, environment=row.environment)
    return gone


def observe(tx: Transaction, seen: Observation) -> None:
    """Write down what the backend saw; telemetry, not audited. Wakes the gateway when the status changed.

    What comes late, of a revision before the one seen last, is left out. A time in which nobody looked is an event too.
    """
    before = tx.session.get(ObservedRow, seen.endpoint_id)
    if before is not None and before.revision > seen.revision:
        return
    now = utc_now()
    unwatched = before is not None and now - before.checked_at > UNWATCHED
    if before is not None and unwatched:
        _unwatched(tx, before)
    changed = before is None or (before.status, before.base_url, before.revision) != (
        seen.status,
        seen.base_url,
        seen.revision,
    )
    same = before and (before.status, before.detail, before.revision) == (seen.status, seen.detail, seen.revision)
    if not same or unwatched:
        event = EventRow(
            endpoint_id=seen.endpoint_id, revision=seen.revision, status=seen.status, detail=seen.detail, at=now
        )
        tx.session.add(event)
    values = {**seen.model_dump(), "checked_at": now}
    statement = insert(ObservedRow).values(values)
    tx.session.execute(statement.on_conflict_do_update(index_elements=["endpoint_id"], set_=values))
    if changed:
        work.notify(tx, CHANNEL)


def add_revision(
    tx: Transaction, row: EndpointRow, action: str, *, restores: int | None = None, note: str = ""
) -> None:
    """Record the endpoint's present wishes as its next revision and request the work of making them true."""
    row.revision = (row.revision or 0) + 1
    tx.session.flush()
    for older in tx.session.scalars(
        select(DeploymentRow).filter_by(endpoint_id=row.id).where(DeploymentRow.status.in_(work.ACTIVE))
    ):
        work.cancel(older)
    deployment = DeploymentRow(
        endpoint_id=row.id,
        revision=row.revision,
        backend=row.backend,
        model_id=row.model_id,
        model_digest=row.model_digest,
        min_replicas=row.min_replicas,
        max_replicas=row.max_replicas,
        config=row.config,
        rollback_plan=row.rollback_plan,
        action=action,
        restores=restores,
        note=note.strip(),
        requested_by=tx.actor.id,
    )
    tx.session.add(deployment)
    tx.session.flush()
    work.notify(tx, CHANNEL)
    details = {"restores": restores, "note": note.strip()}
    tx.audit(
        f"endpoint.{action}", "endpoint", row.id, revision=row.revision, model=str(row.model_id),
        digest=row.model_digest, route=row.route, environment=row.environment,
        **{name: told for name, told in details.items() if told},
    )  # fmt: skip


def load(tx: Transaction, endpoint_id: UUID | str, *, lock: bool = True) -> EndpointRow:
    """The row of a live endpoint, for this room's verbs. Raises NotFound."""
    try:
        query = _live().filter_by(id=UUID(str(endpoint_id)))
    except ValueError:
        query = None
    row = tx.session.scalar(query.with_for_update() if lock else query) if query is not None else None
    if row is None:
        raise NotFound(f"there is no endpoint {endpoint_id}", remedy="List the endpoints to find its id.")
    return row


def value(tx: Transaction, row: EndpointRow) -> Endpoint:
    """The public value of a row, with what was last observed of its present revision."""
    model = versions.get(tx, row.model_id)
    seen = tx.session.get(ObservedRow, row.id)
    current = seen if seen is not None and seen.revision == row.revision else None
    status = EndpointStatus(current.status) if current else EndpointStatus.DEPLOYING
    ready, total = (current.ready, current.total) if current else (0, row.min_replicas)
    options = _options(row.config)
    return Endpoint(
        id=row.id,
        environment=Environment(row.environment),
        route=row.route,
        model_id=model.id,
        model_name=model.name,
        version=model.version,
        model_digest=row.model_digest,
        backend=row.backend,
        min_replicas=row.min_replicas,
        max_replicas=row.max_replicas,
        rollback_plan=row.rollback_plan,
        revision=row.revision,
        status=status,
        status_detail=current.detail if current else "waiting for the backend",
        base_url=current.base_url if current else None,
        replicas=Replicas(total=total, ready=ready, available=ready),
        last_health_check=current.checked_at if current else None,
        runtime_image=options.serving_runtime_image,
        **options.model_dump(exclude={"serving_runtime_image"}),
        created_by=row.created_by,
        created_at=row.created_at,
        dagster_asset_key=("endpoints", row.environment, row.route),
    )


def leaves(ids: Select[Any]) -> Select[Any]:
    """The live endpoints of the models whose ids a query finds, as leaves of the lineage."""
    columns = lineage.node(
        "endpoint",
        id=EndpointRow.id,
        name=EndpointRow.route,
        version=EndpointRow.environment,
        status=func.coalesce(ObservedRow.status, EndpointStatus.DEPLOYING.value),
        subject=EndpointRow.model_id,
    )
    seen = and_(ObservedRow.endpoint_id == EndpointRow.id, ObservedRow.revision == EndpointRow.revision)
    joined = columns.select_from(EndpointRow).outerjoin(ObservedRow, seen)
    return joined.where(EndpointRow.deleted_at.is_(None), EndpointRow.model_id.in_(ids))


def blockers(tx: Transaction, model_id: UUID) -> list[Blocker]:
    """The live endpoints that serve a model."""
    return [
        Blocker(
            type="endpoint",
            id=row.id,
            name=f"{row.environment}/{row.route}",
            reason="serves it",
            remedy="Delete the endpoint, or deploy another model to it.",
        )
        for row in tx.session.scalars(_live().filter_by(model_id=model_id).order_by(EndpointRow.created_at))
    ]


def _live() -> Select[EndpointRow]:
    return select(EndpointRow).where(EndpointRow.deleted_at.is_(None))


def _options(config: Mapping[str, Any]) -> Options:
    """For showing; whoever deploys from an unreadable configuration is told of it."""
    try:
        return Options.of(config)
    except ValidationFailed:
        return Options()


def _unwatched(tx: Transaction, before: ObservedRow) -> None:
    """An event of the time in which nobody looked, from the last time that somebody did."""
    why = "nobody looked: the agent was not running, or could not reach the database"
    since = {"at": before.checked_at + timedelta(milliseconds=1), "status": UNKNOWN, "detail": why}
    tx.session.add(EventRow(endpoint_id=before.endpoint_id, revision=before.revision, **since))


def check_wishes(environment: Environment, min_replicas: int, max_replicas: int, rollback_plan: str | None) -> None:
    """Raises ValidationFailed for what no endpoint of this environment may be asked for."""
    problems = []
    if not 0 <= min_replicas <= max_replicas or max_replicas > 100:
        remedy = "Use 0 ≤ minReplicas ≤ maxReplicas ≤ 100."
        problems.append(field_problem("minReplicas", f"{min_replicas} to {max_replicas} is not a range", remedy))
    if environment in NEED_A_PLAN and not (rollback_plan or "").strip():
        remedy = "Say how this deployment is undone, or link the runbook."
        problems.append(field_problem("rollbackPlan", f"is required in {environment}", remedy))
    if problems:
        raise ValidationFailed("the deployment request is not complete", details=problems)


def _check_version(model: versions.Version, version: str | None) -> None:
    if version is not None and version != model.version:
        remedy = f"Leave it out, or give {model.version}, the version this modelId names."
        problem = field_problem("version", f"{version!r} is not the model's version", remedy)
        raise ValidationFailed("the deployment request is not complete", details=[problem])
