"""Evaluations on a schedule."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field

from llmops_resources.database import Actor
from llmops_resources.evaluation import schedules
from llmops_resources.evaluation.schedules import Label, Schedule
from llmops_resources.evaluation.suite import DEFAULT_METRICS, Suite, Tokenization, chosen
from llmops_resources.governance.permissions import Permission
from serving_api.dependencies import Doors, IdempotencyKey, Requires, create_once
from serving_api.envelope import Envelope, ok
from serving_api.schemas import Body

router = APIRouter(prefix="/evaluation/schedules", tags=["evaluation"])
Reader = Annotated[Actor, Depends(Requires(Permission.EVALUATION_READ))]
Runner = Annotated[Actor, Depends(Requires(Permission.EVALUATION_RUN))]


class ScheduleCreate(Body):
    """`cron`: minute, hour, day, month and weekday, read in `timezone`."""

    model: Label
    benchmark: Label
    cron: Annotated[str, Field(min_length=1, max_length=100)]
    timezone: Annotated[str, Field(min_length=1, max_length=64)] = "UTC"
    always: bool = False
    metrics: list[str] = Field(default_factory=lambda: [metric.value for metric in DEFAULT_METRICS], min_length=1)
    tokenization: Tokenization = Tokenization.WORDS
    sample_size: Annotated[int | None, Field(ge=1)] = None
    seed: Annotated[int, Field(ge=0)] = 0
    prompt_column: Annotated[str, Field(min_length=1)] = "question"
    answer_column: Annotated[str, Field(min_length=1)] = "answer"
    max_new_tokens: Annotated[int, Field(ge=1, le=1024)] = 48

    def suite(self) -> Suite:
        """How the model is asked and scored. Raises ValidationFailed for unknown metrics."""
        given = self.model_dump(exclude={"model", "benchmark", "cron", "timezone", "always", "metrics"})
        return Suite(metrics=chosen(self.metrics), **given)


class SchedulePause(Body):
    paused: bool


@router.get("")
def list_schedules(
    platform: Doors, actor: Reader, model: Annotated[str | None, Query(description="Of this model's name.")] = None
) -> Envelope[list[Schedule]]:
    """The schedules in the order of their next time."""
    with platform.transaction(actor) as tx:
        return ok(schedules.every(tx, model=model))


@router.post("")
def create_schedule(
    platform: Doors, actor: Runner, request: Request, body: ScheduleCreate, key: IdempotencyKey = None
) -> Envelope[Schedule]:
    """Evaluate a model again and again: its version in use on the benchmark's, when one of them changed."""
    suite = body.suite()
    answer = create_once(
        platform,
        actor,
        request,
        key,
        body.model_dump_json(),
        lambda tx: schedules.create(
            tx,
            model=body.model,
            benchmark=body.benchmark,
            suite=suite,
            cron=body.cron,
            timezone=body.timezone,
            always=body.always,
        ),
    )
    return ok(answer, "the evaluation is scheduled")


@router.patch("/{schedule_id}")
def pause_schedule(platform: Doors, actor: Runner, schedule_id: UUID, body: SchedulePause) -> Envelope[Schedule]:
    """Let a schedule rest, or take it up again."""
    with platform.transaction(actor) as tx:
        return ok(schedules.pause(tx, schedule_id, paused=body.paused))


@router.delete("/{schedule_id}")
def delete_schedule(platform: Doors, actor: Runner, schedule_id: UUID) -> Envelope[Schedule]:
    """Forget a schedule; the evaluations it asked for stay."""
    with platform.transaction(actor) as tx:
        return ok(schedules.remove(tx, schedule_id), "the schedule is gone")
