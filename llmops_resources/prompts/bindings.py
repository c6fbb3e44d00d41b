"""Bindings: which prompt version the calls to a route are made with. Every change is a new entry; none is rewritten.

A binding goes before the prompt of the endpoint that answers (`serving/prompt_policy.py`).

A bound version must have a live approval, at binding and at every moment after: the gateway asks with every snapshot,
and refuses the route's calls when the approval is gone, as it does for a model.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, text

from llmops_resources import work
from llmops_resources.catalog import approvals, versions
from llmops_resources.catalog.approvals import ApprovedPrompt
from llmops_resources.catalog.deletion import Blocker
from llmops_resources.database import Actor, Transaction
from llmops_resources.errors import Conflict, ValidationFailed, field_problem
from llmops_resources.governance.api_keys import CHANNEL
from llmops_resources.governance.permissions import Permission, may, require
from llmops_resources.prompts.experiments.plan import State
from llmops_resources.prompts.tables import BindingRow, ExperimentRow
from llmops_resources.serving import endpoints, prompt_policy
from llmops_resources.serving.endpoints import normalize_route
from llmops_resources.values import Value

#: Whoever writes prompts or runs endpoints may say which prompt a route has.
BINDERS = (Permission.PROMPT_WRITE, Permission.SERVING_DEPLOY)


class Binding(Value):
    """What a route is bound to since `bound_at`; without a prompt, the endpoint's own decides, or calls pass unchanged.

    `restores` is the number of the entry that a rollback brought back, `experiment_id` the experiment that decided.
    """

    route: str
    number: int
    prompt_id: UUID | None
    prompt_name: str | None
    prompt_version: str | None
    digest: str | None
    restores: int | None
    experiment_id: UUID | None
    reason: str
    bound_by: str
    bound_at: datetime


def bind(tx: Transaction, route: str, prompt_id: UUID | str, *, reason: str = "") -> Binding:
    """Make calls to a route with an approved prompt version from now on; the one that it has already changes nothing.

    Raises Forbidden, NotFound, ValidationFailed for a route that nobody serves, Conflict for a version that is not
    approved or while an experiment runs there.
    """
    return _bind(tx, begin(tx, route), prompt_id, reason, None)


def adopt(tx: Transaction, route: str, prompt_id: UUID | str, *, reason: str, experiment_id: UUID) -> Binding:
    """Bind what an experiment found; the reviewer's decision is what permits it. Raises as `bind`."""
    require(tx.actor, Permission.VERSION_APPROVE)
    return _bind(tx, _free(tx, hold(tx, route)), prompt_id, reason, experiment_id)


def _bind(tx: Transaction, name: str, prompt_id: UUID | str, reason: str, experiment_id: UUID | None) -> Binding:
    approved = approvals.approved_prompt(tx, prompt_id)
    now = _current(tx, name)
    if now is not None and now.prompt_id == approved.version.id:
        return _value(tx, now)
    return _next(tx, name, now, approved, "prompt.bind", reason=reason, experiment_id=experiment_id)


def unbind(tx: Transaction, route: str, *, reason: str = "") -> Binding | None:
    """Leave calls to the endpoint's own prompt, if any; None when nothing was bound. Raises Forbidden, Conflict."""
    name = begin(tx, route, served=False)
    now = _current(tx, name)
    if now is None or now.prompt_id is None:
        return _value(tx, now) if now else None
    return _next(tx, name, now, None, "prompt.unbind", reason=reason)


def restore(tx: Transaction, route: str, *, reason: str = "") -> Binding:
    """Back to what the route was bound to before; again, and it goes one further back.

    Raises Conflict when there is nothing before, or the earlier version is no longer approved.
    """
    name = begin(tx, route, served=False)
    now = _current(tx, name)
    earlier = _before(tx, now) if now else None
    if now is None or (earlier is None and now.prompt_id is None):
        raise Conflict(f"{name} has no earlier prompt", remedy="Bind one: PUT …/serving/routes/{route}/prompt.")
    approved = approvals.approved_prompt(tx, earlier.prompt_id) if earlier and earlier.prompt_id else None
    return _next(tx, name, now, approved, "prompt.rollback", reason=reason, restores=earlier.number if earlier else 0)


def begin(tx: Transaction, route: str, *, served: bool = True) -> str:
    """Hold a route's binding for this transaction; its bare name.

    Raises Forbidden, ValidationFailed when it has to be served and is not, Conflict while an experiment runs there.
    """
    require_any(tx.actor, *BINDERS)
    name = hold(tx, route)
    if served and not endpoints.search(tx, route=name, limit=1).items:
        problem = field_problem("route", f"there is no route {name!r}", "Deploy a model to it first.")
        raise ValidationFailed("nothing is served there", details=[problem])
    return _free(tx, name)


def _free(tx: Transaction, name: str) -> str:
    if running := tx.session.scalar(select(ExperimentRow).filter_by(route=name, state=State.RUNNING)):
        raise Conflict(
            f"the experiment {running.name} runs at {name}", remedy="Stop or conclude it first; until then it decides."
        )
    return name


def hold(tx: Transaction, route: str) -> str:
    """Let nobody else change what a route does until this transaction ends; its bare name."""
    name = normalize_route(route)
    tx.session.execute(text("SELECT pg_advisory_xact_lock(hashtext('prompt_bindings'), hashtext(:route))"),
                       {"route": name})  # fmt: skip
    return name


def require_any(actor: Actor, *permissions: Permission) -> None:
    """Raises Forbidden unless one of the permissions is the actor's."""
    if not any(may(actor, permission) for permission in permissions):
        require(actor, permissions[0])


def current(tx: Transaction, route: str) -> Binding | None:
    """What a route is bound to; None when it never was."""
    row = _current(tx, normalize_route(route))
    return _value(tx, row) if row else None


def history(tx: Transaction, route: str, *, limit: int = 50) -> list[Binding]:
    """The latest bindings of a route, newest first."""
    query = select(BindingRow).filter_by(route=normalize_route(route)).order_by(BindingRow.number.desc()).limit(limit)
    return [_value(tx, row) for row in tx.session.scalars(query)]


def every(tx: Transaction, *, name: str | None = None) -> list[Binding]:
    """What every route with a prompt is bound to, by route; `name`: only versions of this prompt."""
    latest = select(BindingRow.route, func.max(BindingRow.number)).group_by(BindingRow.route).subquery()
    query = select(BindingRow).join(latest, (BindingRow.route == latest.c.route) & (BindingRow.number == latest.c[1]))
    rows = tx.session.scalars(query.where(BindingRow.prompt_id.is_not(None)).order_by(BindingRow.route))
    found = [_value(tx, row) for row in rows]
    return [binding for binding in found if name is None or binding.prompt_name == name]


def blockers(tx: Transaction, prompt_id: UUID) -> list[Blocker]:
    """The routes and endpoints that have a prompt version, and the experiments that still need it."""
    experiments = tx.session.scalars(
        select(ExperimentRow)
        .where(ExperimentRow.state.in_((State.DRAFT, State.RUNNING)))
        .where(ExperimentRow.plan.contains({"variants": [{"promptId": str(prompt_id)}]}))
        .order_by(ExperimentRow.created_at)
    )
    bound = [row for row in every(tx) if row.prompt_id == prompt_id]
    bind_another, stop = "Bind another version there, or none.", "Stop or conclude the experiment."
    return [
        *(Blocker(type="route", id=prompt_id, name=row.route, reason="is bound to it", remedy=bind_another)
          for row in bound),
        *prompt_policy.blockers(tx, prompt_id),
        *(Blocker(type="experiment", id=row.id, name=row.name, reason=f"is {row.state} and compares it", remedy=stop)
          for row in experiments),
    ]  # fmt: skip


def _next(
    tx: Transaction,
    route: str,
    now: BindingRow | None,
    approved: ApprovedPrompt | None,
    action: str,
    *,
    reason: str,
    restores: int | None = None,
    experiment_id: UUID | None = None,
) -> Binding:
    row = BindingRow(
        route=route,
        number=(now.number if now else 0) + 1,
        prompt_id=approved.version.id if approved else None,
        digest=approved.digest if approved else None,
        restores=restores,
        experiment_id=experiment_id,
        reason=reason,
        bound_by=tx.actor.id,
    )
    tx.session.add(row)
    tx.session.flush()
    tx.audit(
        action, "route", route, number=row.number, prompt=str(row.prompt_id or ""), digest=row.digest, reason=reason,
        before=str(now.prompt_id or "") if now else "", experiment=str(experiment_id or ""),
    )  # fmt: skip
    work.notify(tx, CHANNEL)
    return _value(tx, row)


def _current(tx: Transaction, route: str) -> BindingRow | None:
    return tx.session.scalar(select(BindingRow).filter_by(route=route).order_by(BindingRow.number.desc()).limit(1))


def _before(tx: Transaction, now: BindingRow) -> BindingRow | None:
    """The latest entry with another prompt before this one, or before the one that this one restored."""
    below = now.restores if now.restores is not None else now.number
    query = select(BindingRow).filter_by(route=now.route).where(BindingRow.number < below)
    query = query.where(BindingRow.prompt_id.is_distinct_from(now.prompt_id))
    return tx.session.scalar(query.order_by(BindingRow.number.desc()).limit(1))


def _value(tx: Transaction, row: BindingRow) -> Binding:
    prompt = versions.remembered(tx, row.prompt_id) if row.prompt_id else None
    return Binding(
        route=row.route,
        number=row.number,
        prompt_id=row.prompt_id,
        prompt_name=prompt.name if prompt else None,
        prompt_version=prompt.version if prompt else None,
        digest=row.digest,
        restores=row.restores,
        experiment_id=row.experiment_id,
        reason=row.reason,
        bound_by=row.bound_by,
        bound_at=row.bound_at,
    )
