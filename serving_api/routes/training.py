"""Training jobs: submitted, queued, moved; what they record is in `experiments.py`."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from llmops_resources.database import Actor
from llmops_resources.governance.permissions import Permission
from llmops_resources.training import jobs, moves, quotas, submission
from llmops_resources.training.capacity import capacity_of
from llmops_resources.training.jobs import AutoEvaluate, Job
from llmops_resources.training.profile import Notifications, Priority, RetryPolicy, SubmittedType
from llmops_resources.training.quotas import PoolName, TeamName, TeamQuota
from llmops_resources.training.recipe import JobType
from llmops_resources.training.standing import QueueView, view
from llmops_resources.training.submission import Terms
from llmops_resources.work import WorkStatus
from serving_api import paging
from serving_api.dependencies import Cursor, Doors, IdempotencyKey, Limit, Requires, create_once, demand
from serving_api.envelope import Envelope, ok
from serving_api.schemas import Body

router = APIRouter(prefix="/training", tags=["training"])
Reader = Annotated[Actor, Depends(Requires(Permission.TRAINING_READ))]
Submitter = Annotated[Actor, Depends(Requires(Permission.TRAINING_SUBMIT))]
QuotaKeeper = Annotated[Actor, Depends(Requires(Permission.TRAINING_QUOTA))]


class JobSubmit(Body):
    """`resourceProfile`: `{gpuCount, gpuType, maxDuration (minutes), nodes}`, or `{cpuCores, memory, maxDuration}`.

    `priority` is a whole number from -100 to 100, or low, normal, high, urgent; above normal needs a permission.
    """

    job_type: SubmittedType
    base_job_type: JobType | None = None
    dataset_id: UUID
    output_model_name: str
    model_id: UUID | None = None
    use_gpu: bool = True
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    resource_profile: dict[str, Any] = Field(default_factory=dict)
    retry_policy: RetryPolicy = RetryPolicy()
    priority: Priority = 0
    notifications: Notifications = Notifications()
    api_base_url: Annotated[str, Field(max_length=500)] | None = None
    team: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    auto_evaluate: AutoEvaluate | None = None


class PriorityChange(Body):
    priority: Priority


class QuotaBody(Body):
    """At most `units` of a GPU type (or of `cpu`) at once for a team; none: only its weight in fair sharing counts."""

    team: TeamName
    gpu_type: PoolName
    units: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    weight: Annotated[float, Field(ge=0.1, le=100)] = 1.0


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
    """Put a training job into the queue; every problem of it is listed at once."""
    capacity = capacity_of(platform.settings)
    if body.priority > 0:
        demand(platform, actor, Permission.TRAINING_PRIORITIZE, body.output_model_name)
    recipe, profile = submission.read_recipe(
        body.job_type,
        body.base_job_type,
        body.hyperparameters,
        body.resource_profile,
        use_gpu=body.use_gpu,
        api_base_url=body.api_base_url,
        capacity=capacity,
    )
    terms = Terms(
        kind=body.job_type,
        use_gpu=body.use_gpu,
        resource_profile=profile,
        priority=body.priority,
        retry_policy=body.retry_policy,
        notifications=body.notifications,
        api_base_url=body.api_base_url,
        team=body.team,
    )
    answer = create_once(
        platform,
        actor,
        request,
        key,
        body.model_dump_json(),
        lambda tx: submission.submit(
            tx,
            recipe=recipe,
            dataset_id=body.dataset_id,
            model_id=body.model_id,
            output_model_name=body.output_model_name,
            auto_evaluate=body.auto_evaluate,
            terms=terms,
            capacity=capacity,
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
        return ok(moves.cancel(tx, job_id), "the job is asked to stop")


@router.post("/jobs/{job_id}/retry")
def retry_job(platform: Doors, actor: Submitter, job_id: UUID) -> Envelope[Job]:
    """Queue another attempt of a failed or cancelled job; it goes on from its last checkpoint."""
    with platform.transaction(actor) as tx:
        return ok(moves.retry(tx, job_id), "the job is queued again")


@router.post("/jobs/{job_id}/reproduce")
def reproduce_job(
    platform: Doors, actor: Submitter, request: Request, job_id: UUID, key: IdempotencyKey = None
) -> Envelope[Job]:
    """Run a finished job once more on the same bytes; its summary will say whether the weights are identical."""
    capacity = capacity_of(platform.settings)
    answer = create_once(
        platform, actor, request, key, "", lambda tx: submission.reproduce(tx, job_id, capacity=capacity)
    )
    return ok(answer, "the job is queued")


@router.post("/jobs/{job_id}/priority")
def change_priority(platform: Doors, actor: Submitter, job_id: UUID, body: PriorityChange) -> Envelope[Job]:
    """Give a queued job another priority; above normal, or of somebody else's job, needs a permission."""
    with platform.transaction(actor) as tx:
        mine = jobs.get(tx, job_id).state.requested_by == actor.id
    if body.priority > 0 or not mine:
        demand(platform, actor, Permission.TRAINING_PRIORITIZE, str(job_id))
    with platform.transaction(actor) as tx:
        return ok(moves.reprioritise(tx, job_id, body.priority), "the job has another priority")


@router.get("/queue")
def show_queue(
    platform: Doors,
    actor: Reader,
    job_id: Annotated[UUID | None, Query(alias="jobId", description="only the entry of this job")] = None,
    limit: Limit = 100,
) -> Envelope[QueueView]:
    """What waits for what, since when, and when it is expected to start; and who uses how much."""
    settings = platform.settings
    with platform.transaction(actor) as tx:
        found = view(tx, capacity_of(settings), settings.training_sla_minutes, job_id=job_id, limit=limit)
    return ok(found)


@router.get("/quotas")
def list_quotas(platform: Doors, actor: Reader) -> Envelope[list[TeamQuota]]:
    """What each team may hold of each GPU type (or `cpu`) at once; the team `*` is every other one."""
    with platform.transaction(actor) as tx:
        return ok(quotas.all_quotas(tx))


@router.put("/quotas")
def replace_quotas(platform: Doors, actor: QuotaKeeper, body: list[QuotaBody]) -> Envelope[list[TeamQuota]]:
    """Set all quotas; those that are not in the list are gone. Nothing that runs is stopped."""
    wanted = [TeamQuota(**quota.model_dump()) for quota in body]
    with platform.transaction(actor) as tx:
        return ok(quotas.replace(tx, wanted), "these are the quotas now")
