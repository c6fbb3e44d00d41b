"""Running experiments: started, looked at, and ended by a rule or a person.

Ending one sends everybody back to what the route is bound to. A route's lock is always taken before its experiment's.
"""

from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, select

from llmops_resources import work
from llmops_resources.catalog import approvals
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict
from llmops_resources.governance.api_keys import CHANNEL
from llmops_resources.governance.permissions import Permission, require
from llmops_resources.prompts import bindings
from llmops_resources.prompts.bindings import BINDERS, Binding
from llmops_resources.prompts.experiments import looking, observations, thompson
from llmops_resources.prompts.experiments.library import Experiment, approved, load, value
from llmops_resources.prompts.experiments.looks import Ending, Look
from llmops_resources.prompts.experiments.plan import AllocationKind, Plan, State, check_move
from llmops_resources.prompts.tables import AllocationRow, ExperimentRow, LookRow
from llmops_resources.values import utc_now

#: A look is kept when there are so many more users and ratings than at the last one, and this share more.
_MORE: Final = 5
_GROWN: Final = 0.01
#: How often weights may follow the ratings, and after how many new ones.
_REALLOCATE_AFTER: Final = timedelta(minutes=5)
_NEW_RATINGS: Final = 20


def start(tx: Transaction, experiment_id: UUID | str) -> Experiment:
    """Let the route's users take part, from now on and within a second; doing it again changes nothing.

    Raises Forbidden, NotFound, Conflict when a variant is not approved or another experiment runs at the route.
    """
    require(tx.actor, Permission.PROMPT_WRITE)
    row = held(tx, experiment_id)
    if row.state == State.RUNNING:
        return value(tx, row)
    check_move(row.name, State(row.state), State.RUNNING)
    bindings.begin(tx, row.route)
    plan = Plan.model_validate(row.plan)
    for variant in plan.variants:
        found = approvals.approved_prompt(tx, variant.prompt_id)
        if found.digest != variant.digest:
            raise Conflict(
                f"{variant.prompt_name} {variant.prompt_version} has changed since the experiment was planned",
                remedy="Plan a new experiment with it.",
            )
    row.state, row.started_by, row.started_at = State.RUNNING, tx.actor.id, utc_now()
    _allocate(tx, row, plan.weights(), {})
    tx.audit("experiment.start", "experiment", row.id, route=row.route, shares=plan.weights())
    work.notify(tx, CHANNEL)
    return value(tx, row)


def stop(tx: Transaction, experiment_id: UUID | str, reason: str = "") -> Experiment:
    """End it; a draft is given up. What was seen stays, for a conclusion. Raises Forbidden, NotFound, Conflict."""
    bindings.require_any(tx.actor, *BINDERS)
    row = load(tx, experiment_id)
    if row.state == State.STOPPED:
        return value(tx, row)
    end(tx, row, Ending.PERSON, reason)
    return value(tx, row)


def rollback(tx: Transaction, route: str, reason: str = "") -> Binding | None:
    """Undo the last change at a route: end the experiment that runs there, or else go back to the binding before.

    Returns what the route is bound to now. Raises Forbidden, Conflict when there is nothing to go back to.
    """
    bindings.require_any(tx.actor, *BINDERS)
    name = bindings.hold(tx, route)
    running = tx.session.scalar(_running().filter_by(route=name).with_for_update())
    if running is None:
        return bindings.restore(tx, name, reason=reason)
    end(tx, running, Ending.PERSON, reason or "rolled back")
    return bindings.current(tx, name)


def present(tx: Transaction, experiment_id: UUID | str) -> Look | None:
    """What a look finds now, without keeping it; None before the start. Raises NotFound."""
    row = load(tx, experiment_id, lock=False)
    if row.evidence is not None:
        return Look.model_validate(row.evidence["look"])
    return look(tx, row) if row.started_at is not None else None


def running(tx: Transaction) -> list[UUID]:
    """The experiments that run."""
    return [row.id for row in tx.session.scalars(_running().order_by(ExperimentRow.started_at))]


def look_at(tx: Transaction, experiment_id: UUID) -> bool:
    """Look at a running experiment, keep what was found, move weights; whether a rule ended it now.

    One that somebody else has under way, or that does not run any more, is left alone.
    """
    row = tx.session.scalar(_running().filter_by(id=experiment_id).with_for_update(skip_locked=True))
    return row is not None and _tick(tx, row)


def look(tx: Transaction, row: ExperimentRow) -> Look:
    """What is known of an experiment that was started; what was known at its end, when its users are forgotten."""
    if row.stopped_at is not None and observations.size(tx, row.id)[0] == 0 and (last := _last(tx, row)):
        return last
    plan = Plan.model_validate(row.plan)
    seen, periods = observations.read(tx, row.id, plan)
    now = row.stopped_at or utc_now()
    return looking.look(plan, seen, periods, started=row.started_at or now, now=now)


def held(tx: Transaction, experiment_id: UUID | str) -> ExperimentRow:
    """The row of an experiment whose route and itself nobody else changes until this transaction ends."""
    bindings.hold(tx, load(tx, experiment_id, lock=False).route)
    return load(tx, experiment_id)


def end(tx: Transaction, row: ExperimentRow, ending: Ending, reason: str) -> None:
    """Stop an experiment whose row is held. Raises Conflict when it is neither planned nor running."""
    check_move(row.name, State(row.state), State.STOPPED)
    if row.started_at is not None:
        keep(tx, row, look(tx, row))
    row.state, row.stopped_by, row.stopped_at = State.STOPPED, tx.actor.id, utc_now()
    row.ending, row.ending_reason = ending, reason
    tx.audit("experiment.stop", "experiment", row.id, route=row.route, ending=ending, reason=reason)
    work.notify(tx, CHANNEL)
    tx.session.flush()


def _tick(tx: Transaction, row: ExperimentRow) -> bool:
    plan = Plan.model_validate(row.plan)
    if not approved(tx, plan):
        end(tx, row, Ending.WITHDRAWN, "a variant is no longer approved")
        return True
    found = look(tx, row)
    if found.ending is not None:
        end(tx, row, found.ending, "")
        return True
    last = _last(tx, row)
    if last is None or _grown(found, last):
        keep(tx, row, found)
    if plan.allocation is AllocationKind.THOMPSON:
        _follow(tx, row, plan)
    return False


def keep(tx: Transaction, row: ExperimentRow, found: Look) -> None:
    """Keep what a look found, for the charts and for when the users are forgotten."""
    tx.session.merge(LookRow(experiment_id=row.id, at=found.at, found=found.json_dict()))
    tx.session.flush()


def _last(tx: Transaction, row: ExperimentRow) -> Look | None:
    kept = tx.session.scalar(select(LookRow).filter_by(experiment_id=row.id).order_by(LookRow.at.desc()).limit(1))
    return Look.model_validate(kept.found) if kept else None


def _grown(found: Look, last: Look) -> bool:
    if (found.advice, found.balanced) != (last.advice, last.balanced):
        return True
    now, before = (one.users + sum(each.ratings for each in one.figures) for one in (found, last))
    return now - before >= max(_MORE, _GROWN * before)


def _follow(tx: Transaction, row: ExperimentRow, plan: Plan) -> None:
    """Give every variant the share that its ratings earn it, when there are enough new ones."""
    held = tx.session.get_one(AllocationRow, (row.id, row.allocation))
    seen, _periods = observations.read(tx, row.id, plan)
    ratings = {name: (len(each.ratings), sum(each.ratings)) for name, each in seen.items()}
    new = sum(count for count, _ in ratings.values()) - sum(count for count, _ in held.ratings.values())
    if new < _NEW_RATINGS or utc_now() - held.at < _REALLOCATE_AFTER:
        return
    shares = thompson.weights(ratings, seed=row.allocation + 1)
    _allocate(tx, row, shares, ratings)
    tx.audit("experiment.allocate", "experiment", row.id, number=row.allocation, shares=shares)
    work.notify(tx, CHANNEL)


def _allocate(
    tx: Transaction, row: ExperimentRow, shares: dict[str, float], ratings: dict[str, tuple[int, float]]
) -> None:
    row.allocation += 1
    kept: dict[str, Any] = {name: list(sums) for name, sums in ratings.items()}
    tx.session.add(AllocationRow(experiment_id=row.id, number=row.allocation, shares=dict(shares), ratings=kept))
    tx.session.flush()


def _running() -> Select[ExperimentRow]:
    return select(ExperimentRow).filter_by(state=State.RUNNING)
