"""A/B experiments over prompts: planned, run, looked at, rated, concluded."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from llmops_resources.database import Actor
from llmops_resources.gateway import feedback
from llmops_resources.gateway.feedback import Feedback, Said
from llmops_resources.governance.permissions import Permission
from llmops_resources.prompts.bindings import BINDERS
from llmops_resources.prompts.content import Text
from llmops_resources.prompts.experiments import concluding, library, running
from llmops_resources.prompts.experiments.library import Allocation, Experiment, ExperimentWish
from llmops_resources.prompts.experiments.looks import Look
from llmops_resources.prompts.experiments.plan import (
    MOST_VARIANTS,
    AllocationKind,
    GuardRails,
    Label,
    Measure,
    State,
    StopRules,
)
from serving_api import paging
from serving_api.dependencies import Cursor, Doors, IdempotencyKey, Limit, Requires, audited_refusal, create_once
from serving_api.envelope import Envelope, ok
from serving_api.schemas import Body

router = APIRouter(prefix="/prompts/experiments", tags=["prompts"])
Reader = Annotated[Actor, Depends(Requires(Permission.CATALOG_READ))]
Writer = Annotated[Actor, Depends(Requires(Permission.PROMPT_WRITE))]
Stopper = Annotated[Actor, Depends(Requires(*BINDERS))]
Judge = Annotated[Actor, Depends(Requires(Permission.VERSION_APPROVE))]
Chatter = Annotated[Actor, Depends(Requires(Permission.CHAT))]
Words = Annotated[Text, Field(max_length=2_000)]


class VariantInput(Body):
    name: Label
    prompt_id: UUID
    weight: Annotated[int, Field(ge=1, le=1000)] = 1


class ExperimentCreate(Body):
    """The first variant is the control. Weights are relative; `thompson` moves them towards what is better."""

    name: Annotated[Text, Field(min_length=1, max_length=128, pattern=r"^\S(.*\S)?$")]
    route: Annotated[str, Field(min_length=1, max_length=200)]
    hypothesis: Words = ""
    metric: Measure = Measure.THUMBS
    allocation: AllocationKind = AllocationKind.FIXED
    minimum_effect: Annotated[float, Field(gt=0, le=0.5)] = 0.02
    variants: Annotated[list[VariantInput], Field(min_length=2, max_length=MOST_VARIANTS)]
    guard_rails: GuardRails = GuardRails()
    stop_rules: StopRules = StopRules()


class StopRequest(Body):
    reason: Words = ""


class ConclusionInput(Body):
    """`winner` is a variant's name, or null to leave the route as it is; `notes` say why."""

    winner: Text | None = None
    notes: Words


class FeedbackInput(Body):
    """Either thumbs or a score from 0 to 1, of one's own exchange: the header x-llmops-exchange of its answer."""

    exchange_id: UUID
    thumbs: Literal["up", "down"] | None = None
    score: Annotated[float, Field(ge=0, le=1)] | None = None


@router.get("")
def list_experiments(
    platform: Doors,
    actor: Reader,
    response: Response,
    route: str | None = None,
    state: State | None = None,
    name: Annotated[str | None, Query(description="a part of it")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Envelope[list[Experiment]]:
    key = platform.settings.signing_key()
    with platform.transaction(actor) as tx:
        page = library.search(
            tx, route=route, state=state, name=name, after=paging.decode(cursor, key), limit=limit
        )
    return ok(paging.send(response, page, key))


@router.post("")
def create_experiment(
    platform: Doors, actor: Writer, request: Request, body: ExperimentCreate, key: IdempotencyKey = None
) -> Envelope[Experiment]:
    """Plan an experiment; nothing changes at the route until it is started."""
    wish = ExperimentWish.model_validate(body.model_dump())
    answer = create_once(
        platform, actor, request, key, body.model_dump_json(), lambda tx: library.create(tx, wish)
    )
    return ok(answer, "the experiment is planned")


@router.get("/{experiment_id}")
def get_experiment(platform: Doors, actor: Reader, experiment_id: UUID) -> Envelope[Experiment]:
    with platform.transaction(actor) as tx:
        return ok(library.get(tx, experiment_id))


@router.get("/{experiment_id}/look")
def look_at_experiment(platform: Doors, actor: Reader, experiment_id: UUID) -> Envelope[Look | None]:
    """What is known now; what was known, of one that is concluded. Null before it starts."""
    with platform.transaction(actor) as tx:
        return ok(running.present(tx, experiment_id))


@router.get("/{experiment_id}/looks")
def list_looks(platform: Doors, actor: Reader, experiment_id: UUID) -> Envelope[list[Look]]:
    """What was known when, the first look first."""
    with platform.transaction(actor) as tx:
        return ok(library.looks(tx, library.get(tx, experiment_id).id))


@router.get("/{experiment_id}/allocations")
def list_allocations(platform: Doors, actor: Reader, experiment_id: UUID) -> Envelope[list[Allocation]]:
    """The shares of users that variants got, and from when on."""
    with platform.transaction(actor) as tx:
        return ok(library.allocations(tx, library.get(tx, experiment_id).id))


@router.post("/{experiment_id}/start")
def start_experiment(platform: Doors, actor: Writer, experiment_id: UUID) -> Envelope[Experiment]:
    """Let the route's users take part, within a second."""
    with (
        audited_refusal(platform, actor, "experiment.start", str(experiment_id)),
        platform.transaction(actor) as tx,
    ):
        return ok(running.start(tx, experiment_id), "the experiment runs")


@router.post("/{experiment_id}/stop")
def stop_experiment(
    platform: Doors, actor: Stopper, experiment_id: UUID, body: StopRequest | None = None
) -> Envelope[Experiment]:
    """Send everybody back to what the route is bound to, within a second; what was seen stays."""
    with platform.transaction(actor) as tx:
        return ok(running.stop(tx, experiment_id, body.reason if body else ""), "the experiment is stopped")


@router.post("/{experiment_id}/conclude")
def conclude_experiment(
    platform: Doors, actor: Judge, experiment_id: UUID, body: ConclusionInput
) -> Envelope[Experiment]:
    """Decide what it showed; the winner is bound to the route. Refused to whoever planned or started it."""
    with (
        audited_refusal(platform, actor, "experiment.conclude", str(experiment_id)),
        platform.transaction(actor) as tx,
    ):
        concluded = concluding.conclude(tx, experiment_id, winner=body.winner, notes=body.notes)
    return ok(concluded, f"{body.winner} is bound to {concluded.route}" if body.winner else "the experiment is over")


@router.post("/{experiment_id}/feedback")
def give_feedback(platform: Doors, actor: Chatter, experiment_id: UUID, body: FeedbackInput) -> Envelope[Feedback]:
    """Say what you think of an answer, once. Applications with an API key use POST …/serve/{route}/feedback."""
    said = feedback.check(Said(body.exchange_id, body.thumbs, body.score))
    with platform.transaction(actor) as tx:
        return ok(feedback.give(tx, said, experiment_id=experiment_id), "thank you")
