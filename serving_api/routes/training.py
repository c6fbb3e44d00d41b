"""Training jobs and the experiments they record."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from llmops_resources.database import Actor
from llmops_resources.errors import Forbidden
from llmops_resources.governance.permissions import Permission
from llmops_resources.training import experiments, jobs
from llmops_resources.training.experiments import Metric
from llmops_resources.training.jobs import AutoEvaluate, Job
from llmops_resources.training.recipe import JobType, Recipe
from llmops_resources.work import WorkStatus
from serving_api import paging
from serving_api.dependencies import Cursor, Doors, IdempotencyKey, Limit, Requires, create_once
from serving_api.envelope import Envelope, ok
from serving_api.schemas import Body

router = APIRouter(prefix="/training", tags=["training"])
Reader = Annotated[Actor, Depends(Requires(Permission.TRAINING_READ))]
Submitter = Annotated[Actor, Depends(Requires(Permission.TRAINING_SUBMIT))]
Recorder = Annotated[Actor, Depends(Requires(Permission.METRICS_WRITE))]


class JobSubmit(Body):
    job_type: JobType
    dataset_id: UUID
    output_model_name: str
    model_id: UUID | None = None
    use_gpu: bool = True
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    resource_profile: dict[str, Any] = Field(default_factory=dict)
    auto_evaluate: AutoEvaluate | None = None


@router.get("/jobs")
def list_jobs(
    platform: Doors,
    actor: Reader,
    response: Response,
    status: WorkStatus | None = None,
    model_id: Annotated[UUID | None, Query(alias="modelId")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Envelope[list[Job]]:
    key = platform.settings.signing_key()
    with platform.transaction(actor) as tx:
        page = jobs.search(tx, status=status, model_id=model_id, after=paging.decode(cursor, key), limit=limit)
    return ok(paging.send(response, page, key))


@router.post("/jobs")
def submit_job(
    platform: Doors, actor: Submitter, request: Request, body: JobSubmit, key: IdempotencyKey = None
) -> Envelope[Job]:
    recipe = Recipe.from_hyperparameters(body.job_type, body.hyperparameters, body.use_gpu)
    answer = create_once(
        platform,
        actor,
        request,
        key,
        body.model_dump_json(),
        lambda tx: jobs.submit(
            tx,
            recipe=recipe,
            dataset_id=body.dataset_id,
            model_id=body.model_id,
            output_model_name=body.output_model_name,
            auto_evaluate=body.auto_evaluate,
            resource_profile=body.resource_profile,
        ),
    )
    return ok(answer, "the job is queued")


@router.get("/jobs/{job_id}")
def get_job(platform: Doors, actor: Reader, job_id: UUID) -> Envelope[Job]:
    with platform.transaction(actor) as tx:
        return ok(jobs.get(tx, job_id))


@router.delete("/jobs/{job_id}")
def cancel_job(platform: Doors, actor: Submitter, job_id: UUID) -> Envelope[Job]:
    with platform.transaction(actor) as tx:
        return ok(jobs.cancel(tx, job_id), "the job is asked to stop")


@router.post("/jobs/{job_id}/metrics")
def record_metrics(
    platform: Doors, actor: Recorder, job_id: UUID, body: Metric | list[Metric]
) -> Envelope[list[Metric]]:
    """Record one metric or a batch; the same name and step again overwrites."""
    if actor.job_id is not None and actor.job_id != str(job_id):
        raise Forbidden("this token is good for another job", remedy="Use the JOB_TOKEN given to this job.")
    with platform.transaction(actor) as tx:
        return ok(experiments.record(tx, job_id, body if isinstance(body, list) else [body]))


@router.get("/experiments/{job_id}")
def get_experiment(
    platform: Doors,
    actor: Reader,
    job_id: UUID,
    name: str | None = None,
    after_step: Annotated[int, Query(alias="afterStep", ge=-1)] = -1,
) -> Envelope[list[Metric]]:
    """The recorded metrics in the order they were recorded; `afterStep` fetches only what is new."""
    with platform.transaction(actor) as tx:
        return ok(experiments.of_job(tx, job_id, name=name, after_step=after_step))
