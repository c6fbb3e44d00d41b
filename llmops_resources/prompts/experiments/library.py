"""Experiments as they are kept: planned, found, read."""

import secrets
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field
from sqlalchemy import func, select

from llmops_resources import pages
from llmops_resources.catalog import approvals, versions
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.database import Transaction
from llmops_resources.errors import FieldProblem, NotFound, ValidationFailed, field_problem
from llmops_resources.governance.permissions import Permission, require
from llmops_resources.pages import Page, Position
from llmops_resources.prompts.experiments.looks import Ending, Look
from llmops_resources.prompts.experiments.plan import (
    MOST_VARIANTS,
    AllocationKind,
    GuardRails,
    Label,
    Measure,
    Plan,
    State,
    StopRules,
    Variant,
)
from llmops_resources.prompts.tables import AllocationRow, ExperimentRow, LookRow
from llmops_resources.serving import endpoints
from llmops_resources.serving.endpoints import normalize_route
from llmops_resources.values import Value

_SALT_BYTES = 16


class VariantWish(Value):
    """A variant as it is asked for: a name, a prompt version, and a weight beside the others'."""

    name: Label
    prompt_id: UUID
    weight: Annotated[int, Field(ge=1, le=1000)] = 1


class ExperimentWish(Value):
    """What somebody wants to find out; the first variant is the control."""

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^\S(.*\S)?$")]
    route: Annotated[str, Field(min_length=1, max_length=200)]
    hypothesis: Annotated[str, Field(max_length=2_000)] = ""
    metric: Measure = Measure.THUMBS
    allocation: AllocationKind = AllocationKind.FIXED
    minimum_effect: Annotated[float, Field(gt=0, le=0.5)] = 0.02
    variants: Annotated[tuple[VariantWish, ...], Field(min_length=2, max_length=MOST_VARIANTS)]
    guard_rails: GuardRails = GuardRails()
    stop_rules: StopRules = StopRules()


class Conclusion(Value):
    """How it was decided: by whom, why, and on what evidence, a look that `evidence_digest` names.

    `winner` None leaves the route as it was; `binding` is the number under which the winner was bound. `waived` says
    why the one who started it could decide.
    """

    winner: str | None
    notes: str
    concluded_by: str
    concluded_at: datetime
    evidence: Look
    evidence_digest: str
    followed_advice: bool
    waived: str
    binding: int | None


class Experiment(Value):
    """An experiment as it stands."""

    id: UUID
    name: str
    route: str
    hypothesis: str
    plan: Plan
    state: State
    shares: dict[str, float]
    created_by: str
    created_at: datetime
    started_by: str | None
    started_at: datetime | None
    stopped_by: str | None
    stopped_at: datetime | None
    ending: Ending | None
    ending_reason: str
    outcome: Conclusion | None


class Allocation(Value):
    """The shares from a moment on, and the ratings (how many, their sum) that they were drawn from."""

    number: int
    at: datetime
    shares: dict[str, float]
    ratings: dict[str, tuple[int, float]]


def create(tx: Transaction, wish: ExperimentWish) -> Experiment:
    """Plan an experiment. Raises Forbidden, NotFound for a prompt, ValidationFailed with every wrong field."""
    require(tx.actor, Permission.PROMPT_WRITE)
    route = normalize_route(wish.route)
    problems = list(_problems(tx, wish, route))
    found = [versions.get(tx, each.prompt_id, Kind.PROMPT) for each in wish.variants]
    if problems:
        raise ValidationFailed("the experiment cannot be planned like this", details=problems)
    variants = tuple(
        Variant(
            name=each.name, prompt_id=prompt.id, prompt_name=prompt.name, prompt_version=prompt.version,
            digest=prompt.digest or "", weight=each.weight,
        )
        for each, prompt in zip(wish.variants, found, strict=True)
    )  # fmt: skip
    chosen = wish.model_dump(exclude={"name", "route", "hypothesis", "variants"})
    row = ExperimentRow(
        name=wish.name,
        route=route,
        hypothesis=wish.hypothesis,
        plan=Plan(variants=variants, **chosen).json_dict(),
        salt=secrets.token_bytes(_SALT_BYTES),
        state=State.DRAFT,
        created_by=tx.actor.id,
    )
    tx.session.add(row)
    tx.session.flush()
    tx.audit("experiment.create", "experiment", row.id, name=row.name, route=route, plan=row.plan)
    return value(tx, row)


def get(tx: Transaction, experiment_id: UUID | str) -> Experiment:
    """One experiment. Raises NotFound."""
    return value(tx, load(tx, experiment_id, lock=False))


def search(
    tx: Transaction,
    *,
    route: str | None = None,
    state: State | None = None,
    name: str | None = None,
    after: Position | None = None,
    limit: int = 50,
) -> Page[Experiment]:
    """Experiments, newest first; `name` is a part of it."""
    exact = {"route": normalize_route(route) if route else None, "state": state}
    query = select(ExperimentRow).filter_by(**{field: wanted for field, wanted in exact.items() if wanted is not None})
    if name:
        query = query.where(func.lower(ExperimentRow.name).contains(name.lower(), autoescape=True))
    order = (ExperimentRow.created_at, ExperimentRow.id)
    return pages.fetch(tx, query, order, after=after, limit=limit, value=lambda row: value(tx, row))


def allocations(tx: Transaction, experiment_id: UUID) -> list[Allocation]:
    """Every allocation of an experiment, the first one first."""
    query = select(AllocationRow).filter_by(experiment_id=experiment_id).order_by(AllocationRow.number)
    return [
        Allocation(number=row.number, at=row.at, shares=row.shares, ratings=row.ratings)
        for row in tx.session.scalars(query)
    ]


def looks(tx: Transaction, experiment_id: UUID, *, most: int = 500) -> list[Look]:
    """The looks that were kept, the first one first; of very many, the latest."""
    query = select(LookRow).filter_by(experiment_id=experiment_id).order_by(LookRow.at.desc()).limit(most)
    return [Look.model_validate(row.found) for row in tx.session.scalars(query)][::-1]


def load(tx: Transaction, experiment_id: UUID | str, *, lock: bool = True) -> ExperimentRow:
    """The row, for this room's verbs. Raises NotFound."""
    try:
        row = tx.session.get(ExperimentRow, UUID(str(experiment_id)), with_for_update=lock or None)
    except ValueError:
        row = None
    if row is None:
        raise NotFound(f"there is no experiment {experiment_id}", remedy="List the experiments to find its id.")
    return row


def value(tx: Transaction, row: ExperimentRow) -> Experiment:
    """The public value of a row."""
    plan = Plan.model_validate(row.plan)
    held = tx.session.get(AllocationRow, (row.id, row.allocation)) if row.allocation else None
    return Experiment(
        id=row.id,
        name=row.name,
        route=row.route,
        hypothesis=row.hypothesis,
        plan=plan,
        state=State(row.state),
        shares=held.shares if held else plan.weights(),
        created_by=row.created_by,
        created_at=row.created_at,
        started_by=row.started_by,
        started_at=row.started_at,
        stopped_by=row.stopped_by,
        stopped_at=row.stopped_at,
        ending=Ending(row.ending) if row.ending else None,
        ending_reason=row.ending_reason,
        outcome=_outcome(row),
    )


def _outcome(row: ExperimentRow) -> Conclusion | None:
    if row.concluded_at is None or row.evidence is None:
        return None
    kept: dict[str, Any] = row.evidence
    return Conclusion(
        winner=row.winner,
        notes=row.notes,
        concluded_by=row.concluded_by or "",
        concluded_at=row.concluded_at,
        evidence=Look.model_validate(kept["look"]),
        evidence_digest=row.evidence_digest or "",
        followed_advice=kept["followedAdvice"],
        waived=kept["waived"],
        binding=row.binding,
    )


def _problems(tx: Transaction, wish: ExperimentWish, route: str) -> list[FieldProblem]:
    problems = []
    if not endpoints.search(tx, route=route, limit=1).items:
        problems.append(field_problem("route", f"there is no route {route!r}", "Deploy a model to it first."))
    for number, each in enumerate(wish.variants):
        earlier = wish.variants[:number]
        if each.name in {one.name for one in earlier}:
            problems.append(field_problem(f"variants.{number}.name", "is used twice", "Name each variant once."))
        if each.prompt_id in {one.prompt_id for one in earlier}:
            remedy = "Compare different versions."
            problems.append(field_problem(f"variants.{number}.promptId", "is compared with itself", remedy))
    if wish.stop_rules.min_users > wish.stop_rules.max_users:
        problems.append(field_problem("stopRules.minUsers", "is more than maxUsers", "Lower it."))
    return problems


def approved(tx: Transaction, plan: Plan) -> bool:
    """Whether every variant is, at this moment, the approved content that was planned."""
    return all(approvals.is_live(tx, each.prompt_id, each.digest) for each in plan.variants)
