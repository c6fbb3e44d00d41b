"""Evaluation runs."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from llmops_resources.database import Actor, Transaction
from llmops_resources.errors import ValidationFailed, field_problem
from llmops_resources.evaluation import afterwards, batches, comparing, promotion, resuming, run_lists, runs
from llmops_resources.evaluation.afterwards import Afterwards
from llmops_resources.evaluation.batches import MOST_MODELS, EvaluationBatch
from llmops_resources.evaluation.comparing import EvaluationComparison
from llmops_resources.evaluation.promotion import AdvisedComparison
from llmops_resources.evaluation.runs import Evaluation, RunType
from llmops_resources.evaluation.suite import DEFAULT_METRICS, MetricName, Suite, Tokenization, chosen
from llmops_resources.evaluation.through import AT_ONCE, AtOnce, Through
from llmops_resources.governance.permissions import Permission, require
from llmops_resources.serving import endpoints
from llmops_resources.work import WorkStatus
from serving_api import paging
from serving_api.dependencies import Cursor, Doors, IdempotencyKey, Limit, Requires, create_once
from serving_api.envelope import Envelope, ok
from serving_api.routes.human_reviews import ReviewPlanBody
from serving_api.routes.judges import JudgingPlanBody
from serving_api.schemas import Body
from serving_api.spreadsheets import comparison_csv, evaluation_csv

router = APIRouter(prefix="/evaluation/runs", tags=["evaluation"])
Reader = Annotated[Actor, Depends(Requires(Permission.EVALUATION_READ))]
Runner = Annotated[Actor, Depends(Requires(Permission.EVALUATION_RUN))]


class RunKind(StrEnum):
    """What is asked for: the figures of scorers, and who judges the answers when they are there."""

    AUTOMATED = "automated"
    HUMAN = "human"
    LLM_JUDGE = "llm_judge"
    COMBINED = "combined"


_REVIEWED: Final = frozenset({RunKind.HUMAN, RunKind.COMBINED})
_JUDGED: Final = frozenset({RunKind.LLM_JUDGE, RunKind.COMBINED})


class SuiteBody(Body):
    dataset_id: UUID
    metrics: list[str] = Field(
        default_factory=lambda: [metric.value for metric in DEFAULT_METRICS],
        min_length=1,
        description=f"Any of {', '.join(metric.value for metric in MetricName)}.",
    )
    tokenization: Tokenization = Tokenization.WORDS
    sample_size: Annotated[int | None, Field(ge=1)] = None
    seed: Annotated[int, Field(ge=0)] = 0
    prompt_column: Annotated[str, Field(min_length=1)] = "question"
    answer_column: Annotated[str, Field(min_length=1)] = "answer"
    max_new_tokens: Annotated[int, Field(ge=1, le=1024)] = 48
    at_once: AtOnce = Field(AT_ONCE, description="Questions under way at once, where a model is asked over HTTP.")

    def suite(self) -> Suite:
        """How the models are asked and scored. Raises ValidationFailed for unknown metrics."""
        return Suite(
            prompt_column=self.prompt_column,
            answer_column=self.answer_column,
            metrics=chosen(self.metrics),
            tokenization=self.tokenization,
            sample_size=self.sample_size,
            seed=self.seed,
            max_new_tokens=self.max_new_tokens,
        )


class EvaluationCreate(SuiteBody):
    """With `endpoint_id` the answers come from the endpoint, which must serve the model; an external model without
    one is asked at its provider. Whoever is asked over HTTP only answers, so that perplexity is left out.

    The model always answers and is scored first. A human run then opens `review`, one of llm_judge has models judge by
    `judging`, a combined one does both; each is a run of its own that names this one."""

    model_id: UUID
    endpoint_id: UUID | None = None
    run_type: RunKind = RunKind.AUTOMATED
    review: ReviewPlanBody | None = None
    judging: JudgingPlanBody | None = None

    def request(self, tx: Transaction) -> Evaluation:
        """Ask for it. Raises ValidationFailed, Forbidden, and as `runs.request` and `afterwards.plan`."""
        self._check()
        made = runs.request(
            tx, model_id=self.model_id, dataset_id=self.dataset_id, suite=self.suite(), through=self.through(tx)
        )
        if self.run_type is RunKind.AUTOMATED:
            return made
        review, judging = self.review and self.review.plan(), self.judging and self.judging.suite(tx)
        if review:
            require(tx.actor, Permission.REVIEW_MANAGE)
        return afterwards.plan(tx, made, Afterwards(review=review, judging=judging))

    def _check(self) -> None:
        kind, problems = self.run_type, []
        for name, given, kinds in (("review", self.review, _REVIEWED), ("judging", self.judging, _JUDGED)):
            if given is None and kind in kinds:
                remedy = "Say who judges, and by which rubric."
                problems.append(field_problem(name, f"is needed by a run of the type {kind}", remedy))
            if given is not None and kind not in kinds:
                remedy = f"Leave it out, or ask for {' or '.join(sorted(kinds))}."
                problems.append(field_problem(name, f"is of no use to a run of the type {kind}", remedy))
        if problems:
            raise ValidationFailed("who judges the answers does not fit the run's type", details=problems)

    def through(self, tx: Transaction) -> Through:
        """How the model is asked, where it is asked. Raises NotFound, or ValidationFailed for another's endpoint."""
        if self.endpoint_id is None:
            return Through(at_once=self.at_once)
        endpoint = endpoints.get(tx, self.endpoint_id)
        if endpoint.model_id != self.model_id:
            what = f"{endpoint.route} serves {endpoint.model_name} {endpoint.version}"
            problem = field_problem("endpointId", what, "Name an endpoint that serves the model, or that model.")
            raise ValidationFailed("the endpoint does not serve the model", details=[problem])
        return Through(endpoint_id=endpoint.id, route=endpoint.route, at_once=self.at_once)


class EvaluationBatchCreate(SuiteBody):
    run_type: Literal[RunKind.AUTOMATED] = RunKind.AUTOMATED
    model_ids: Annotated[list[UUID], Field(min_length=1, max_length=MOST_MODELS)]


@router.get("")
def list_evaluations(
    platform: Doors,
    actor: Reader,
    response: Response,
    model_id: Annotated[UUID | None, Query(alias="modelId")] = None,
    dataset_id: Annotated[UUID | None, Query(alias="datasetId")] = None,
    batch_id: Annotated[UUID | None, Query(alias="batchId")] = None,
    judged_id: Annotated[
        UUID | None, Query(alias="judgedId", description="Runs of people or models that judge this run's answers.")
    ] = None,
    run_type: Annotated[RunType | None, Query(alias="runType")] = None,
    training_job_id: Annotated[UUID | None, Query(alias="trainingJobId")] = None,
    status: WorkStatus | None = None,
    start_date: Annotated[datetime | None, Query(alias="startDate")] = None,
    end_date: Annotated[datetime | None, Query(alias="endDate")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Envelope[list[Evaluation]]:
    key = platform.settings.signing_key()
    with platform.transaction(actor) as tx:
        page = run_lists.search(
            tx,
            model_id=model_id,
            dataset_id=dataset_id,
            batch_id=batch_id,
            judged_id=judged_id,
            run_type=run_type,
            training_job_id=training_job_id,
            status=status,
            since=start_date,
            until=end_date,
            after=paging.decode(cursor, key),
            limit=limit,
        )
    return ok(paging.send(response, page, key))


@router.post("")
def create_evaluation(
    platform: Doors, actor: Runner, request: Request, body: EvaluationCreate, key: IdempotencyKey = None
) -> Envelope[Evaluation]:
    """Evaluate a model on a benchmark; for a human or llm_judge run its answers are judged when they are there."""
    answer = create_once(platform, actor, request, key, body.model_dump_json(), body.request)
    return ok(answer, "the evaluation is queued")


@router.post("/batch")
def create_evaluation_batch(
    platform: Doors, actor: Runner, request: Request, body: EvaluationBatchCreate, key: IdempotencyKey = None
) -> Envelope[EvaluationBatch]:
    """Evaluate several models on one benchmark: all are queued, or none and every bad item is named."""
    suite = body.suite()
    answer = create_once(
        platform,
        actor,
        request,
        key,
        body.model_dump_json(),
        lambda tx: batches.request(
            tx, model_ids=body.model_ids, dataset_id=body.dataset_id, suite=suite, at_once=body.at_once
        ),
    )
    return ok(answer, "the evaluations are queued")


def _compared(
    run: Annotated[list[UUID] | None, Query(description="The baseline first.")] = None,
    run_ids: Annotated[
        str | None, Query(alias="runIds", description="The same in one parameter, separated by commas.")
    ] = None,
) -> list[UUID]:
    """The runs to compare, however they were given. Raises ValidationFailed for what is no id."""
    words = [each.strip() for each in (run_ids or "").split(",") if each.strip()]
    try:
        return [*(run or ()), *map(UUID, words)]
    except ValueError:
        problem = field_problem("runIds", "holds something that is no id", "Separate ids of evaluations by commas.")
        raise ValidationFailed("these evaluations cannot be compared", details=[problem]) from None


Compared = Annotated[list[UUID], Depends(_compared)]


@router.get("/compare")
def compare_evaluations(platform: Doors, actor: Reader, compared: Compared) -> Envelope[list[AdvisedComparison]]:
    """Each run beside the first: whether they compare, or the fields that differ, every metric's difference, and
    whether to promote its model."""
    with platform.transaction(actor) as tx:
        return ok(promotion.compare(tx, compared))


@router.get("/compare/export", response_class=Response)
def export_comparison(
    platform: Doors,
    actor: Reader,
    compared: Compared,
    format: Literal["csv", "json"] = "json",  # noqa: A002  the query's name
) -> Response:
    """The comparison as a file; in CSV no cell is a formula to a spreadsheet."""
    with platform.transaction(actor) as tx:
        found = promotion.compare(tx, compared)
    content = comparison_csv(found).encode() if format == "csv" else orjson.dumps([each.json_dict() for each in found])
    return _file(content, format, "evaluations-compared")


@router.get("/trend")
def evaluation_trend(
    platform: Doors, actor: Reader, model: str, benchmark: str
) -> Envelope[list[EvaluationComparison]]:
    """The finished evaluations of a model's versions on a benchmark, oldest first, each beside the one before."""
    with platform.transaction(actor) as tx:
        return ok(comparing.trend(tx, model_name=model, benchmark_name=benchmark))


@router.get("/{run_id}/export", response_class=Response)
def export_evaluation(
    platform: Doors,
    actor: Reader,
    run_id: UUID,
    format: Literal["csv", "json"] = "json",  # noqa: A002  the query's name
) -> Response:
    """The evaluation with every sample as a file; in CSV no cell is a formula to a spreadsheet."""
    with platform.transaction(actor) as tx:
        found = runs.get(tx, run_id)
    content = evaluation_csv(found).encode() if format == "csv" else orjson.dumps(found.json_dict())
    return _file(content, format, f"evaluation-{run_id}")


def _file(content: bytes, form: Literal["csv", "json"], name: str) -> Response:
    kind = "text/csv; charset=utf-8" if form == "csv" else "application/json"
    headers = {"Content-Disposition": f'attachment; filename="{name}.{form}"', "X-Content-Type-Options": "nosniff"}
    return Response(content, media_type=kind, headers=headers)


@router.post("/{run_id}/resume")
def resume_evaluation(platform: Doors, actor: Runner, run_id: UUID) -> Envelope[Evaluation]:
    """Have a failed evaluation tried again; what it was answered before is neither asked nor paid for again."""
    with platform.transaction(actor) as tx:
        return ok(resuming.resume(tx, run_id), "the evaluation is queued again")


@router.get("/{run_id}")
def get_evaluation(platform: Doors, actor: Reader, run_id: UUID) -> Envelope[Evaluation]:
    with platform.transaction(actor) as tx:
        return ok(runs.get(tx, run_id))
