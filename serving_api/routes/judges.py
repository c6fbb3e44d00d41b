"""Models that judge the answers of a finished evaluation, and what they are licensed for."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field

from llmops_resources.catalog.lifecycle import Status
from llmops_resources.database import Actor, Transaction
from llmops_resources.errors import ValidationFailed, field_problem
from llmops_resources.evaluation import judge_runs, review_rubrics
from llmops_resources.evaluation.judge_licences import LEAST_UNITS, Terms
from llmops_resources.evaluation.judge_suite import MOST_JUDGES, Judge, JudgeSuite
from llmops_resources.evaluation.judged import JudgeLicence
from llmops_resources.evaluation.review_rubrics import Criterion, Rubric
from llmops_resources.evaluation.runs import Evaluation
from llmops_resources.governance.permissions import Permission
from llmops_resources.prompts import library
from llmops_resources.prompts.templates import Compiled
from serving_api.dependencies import Doors, IdempotencyKey, Requires, create_once
from serving_api.envelope import Envelope, ok
from serving_api.schemas import Body

router = APIRouter(prefix="/evaluation", tags=["evaluation"])
Reader = Annotated[Actor, Depends(Requires(Permission.EVALUATION_READ))]
Runner = Annotated[Actor, Depends(Requires(Permission.EVALUATION_RUN))]


class JudgeBody(Body):
    model_id: UUID
    max_tokens: Annotated[int, Field(ge=16, le=4_096)] = 512


class JudgingPlanBody(Body):
    """Give a rubric's digest, or criteria. The words of `prompt_id`, an approved prompt, are added to the instructions,
    as `guidance` is."""

    judges: Annotated[list[JudgeBody], Field(min_length=1, max_length=MOST_JUDGES)]
    rubric: Annotated[str | None, Field(max_length=80)] = None
    criteria: Annotated[list[Criterion] | None, Field(min_length=1, max_length=9)] = None
    guidance: Annotated[str, Field(max_length=4_000)] = ""
    prompt_id: UUID | None = None
    show_reference: bool = True
    sample_size: Annotated[int | None, Field(ge=1)] = None
    seed: Annotated[int, Field(ge=0)] = 0
    repairs: Annotated[int, Field(ge=0, le=2)] = 1

    def suite(self, tx: Transaction) -> JudgeSuite:
        """How the answers are judged. Raises ValidationFailed; NotFound for a rubric or prompt that is not there."""
        words, digest = _prompt(tx, self.prompt_id) if self.prompt_id else ("", None)
        return JudgeSuite(
            rubric=self._rubric(tx),
            judges=tuple(Judge(**judge.model_dump()) for judge in self.judges),
            guidance="\n".join(filter(None, (words, self.guidance))),
            prompt_id=self.prompt_id,
            prompt_digest=digest,
            show_reference=self.show_reference,
            sample_size=self.sample_size,
            seed=self.seed,
            repairs=self.repairs,
        )

    def _rubric(self, tx: Transaction) -> Rubric:
        if (self.rubric is None) == (self.criteria is None):
            problem = field_problem("rubric", "is needed, or criteria", "Give one of the two.")
            raise ValidationFailed("it is not said what to judge by", details=[problem])
        if self.rubric is not None:
            return review_rubrics.get(tx, self.rubric).rubric
        return review_rubrics.keep(tx, Rubric(name="judges", criteria=tuple(self.criteria or ()))).rubric


class JudgingCreate(JudgingPlanBody):
    other_evaluation_id: UUID | None = None


def _prompt(tx: Transaction, prompt_id: UUID) -> tuple[str, str | None]:
    prompt = library.read(tx, prompt_id)
    if prompt.status is not Status.APPROVED:
        problem = field_problem("promptId", f"is {prompt.status}", "Name an approved version.")
        raise ValidationFailed("the prompt cannot be used", details=[problem])
    if prompt.content.variables:
        problem = field_problem("promptId", "has variables, which nobody fills here", "Name one without variables.")
        raise ValidationFailed("the prompt cannot be used", details=[problem])
    rendered = Compiled(prompt.content).render({})
    return "\n".join(message.content for message in rendered.messages), prompt.digest


@router.post("/runs/{run_id}/llm-judge")
def judge_evaluation(
    platform: Doors, actor: Runner, request: Request, run_id: UUID, body: JudgingCreate, key: IdempotencyKey = None
) -> Envelope[Evaluation]:
    """Have models judge a finished evaluation's answers, or compare them with another run's; a run of its own."""
    answer = create_once(
        platform,
        actor,
        request,
        key,
        f"{run_id} {body.model_dump_json()}",
        lambda tx: judge_runs.request(tx, run_id, body.suite(tx), other_id=body.other_evaluation_id),
    )
    return ok(answer, "the judging is queued")


@router.get("/runs/{run_id}/licences")
def list_licences(
    platform: Doors,
    actor: Reader,
    run_id: UUID,
    margin: Annotated[float, Query(ge=0, le=0.5, description="How much worse alpha may be.")] = 0.1,
    coverage: Annotated[float, Query(gt=0, le=1, description="Of people's units, the share the judge judged.")] = 0.95,
    units: Annotated[int, Query(ge=LEAST_UNITS, le=100_000)] = LEAST_UNITS,
    agreement: Annotated[float, Query(ge=0, le=1, description="The alpha that people must reach.")] = 0.4,
) -> Envelope[list[JudgeLicence]]:
    """What the judges of a run may decide, by all that people have said of the same answers under the same rubric."""
    with platform.transaction(actor) as tx:
        terms = Terms(margin=margin, coverage=coverage, units=units, agreement=agreement)
        return ok(judge_runs.licences(tx, run_id, terms))
