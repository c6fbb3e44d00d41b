"""Training jobs as work: read, claimed by a run, and finished as a model version or with a reason."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select

from llmops_resources import pages, work
from llmops_resources.blobs import Manifest
from llmops_resources.catalog import approvals, evidence, lineage, versions
from llmops_resources.catalog.airlock import AirlockReport
from llmops_resources.catalog.evidence import EvidenceKind
from llmops_resources.catalog.lifecycle import Kind, ModelType
from llmops_resources.catalog.lineage_events import Phase
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, PlatformError, in_sentences
from llmops_resources.pages import Page, Position
from llmops_resources.training import failures, reproduction
from llmops_resources.training.failures import Cause, JobFailed, RootCause
from llmops_resources.training.placement import ResourceDecision
from llmops_resources.training.profile import (
    Notifications,
    PriorityClass,
    ResourceProfile,
    RetryPolicy,
    SubmittedType,
    class_of,
)
from llmops_resources.training.recipe import JobType, Recipe
from llmops_resources.training.retrying import backoff, cause_of
from llmops_resources.training.tables import JobRow
from llmops_resources.training.telling import tell
from llmops_resources.values import Value, utc_now
from llmops_resources.work import WorkItem, WorkState, WorkStatus

ROOM = "training"


class AutoEvaluate(Value):
    """Which benchmark the model is evaluated on as soon as it is there, and by which metrics (none: all)."""

    dataset_id: UUID
    metrics: tuple[str, ...] = ()


class Job(Value):
    """A training job; `output_version_id` names a catalog entry once the job succeeded.

    `job_type` is the type as submitted, `base_job_type` what is trained. `team` pays with its quota. `use_gpu` is what
    was asked for, `resource_decision` what it got. `not_before`: when a failed attempt is tried again. `admitted_at`:
    when the queue let the present attempt go.
    """

    id: UUID
    job_type: SubmittedType
    base_job_type: JobType
    dataset_id: UUID
    dataset_digest: str
    model_id: UUID | None
    recipe: Recipe
    recipe_digest: str
    team: str
    use_gpu: bool
    resource_profile: ResourceProfile
    resource_decision: ResourceDecision
    priority: int
    priority_class: PriorityClass
    retry_policy: RetryPolicy
    notifications: Notifications
    api_base_url: str | None
    auto_evaluate: AutoEvaluate | None
    output_model_name: str
    output_version: str
    output_version_id: UUID
    summary: dict[str, Any] | None
    failure: Cause | None
    not_before: datetime | None
    admitted_at: datetime | None
    state: WorkState
    experiment_url: str
    dagster_asset_key: tuple[str, ...]


class TrainingTask(Value):
    """What the run that claimed a job needs: approved inputs with their manifests, and where the model goes."""

    job: Job
    dataset: Version
    base: Version | None
    output_prefix: str


def get(tx: Transaction, job_id: UUID | str) -> Job:
    """One job. Raises NotFound."""
    return value(work.read(tx, JobRow, job_id, "training job"))


def search(
    tx: Transaction,
    *,
    status: WorkStatus | None = None,
    model_id: UUID | None = None,
    after: Position | None = None,
    limit: int = 50,
) -> Page[Job]:
    """Jobs, newest first; `model_id` matches the base model as well as the model made."""
    query = select(JobRow)
    if status is not None:
        query = query.where(JobRow.status == status)
    if model_id is not None:
        query = query.where((JobRow.model_id == model_id) | (JobRow.output_version_id == model_id))
    return pages.fetch(tx, query, (JobRow.requested_at, JobRow.id), after=after, limit=limit, value=value)


def active(tx: Transaction) -> list[WorkItem]:
    """Jobs that still need a run: the running ones, and those that the queue has let go."""
    ours = (JobRow.status == WorkStatus.RUNNING) | (
        (JobRow.status == WorkStatus.QUEUED) & (JobRow.admitted_attempt == JobRow.attempt)
    )
    query = select(JobRow).where(ours).order_by(JobRow.admitted_at, JobRow.id)
    return [work.item(tx, row, ROOM, _asset_key(row)) for row in tx.session.scalars(query)]


def claim(tx: Transaction, job_id: UUID, *, attempt: int, run_id: str) -> TrainingTask:
    """Take the job for a run that holds its lease; its inputs must still be approved with the same digests.

    Raises Conflict for a job that the queue has not let go: no run can be started around quotas and capacity.
    """
    row = work.load(tx, JobRow, job_id, "training job")
    if row.admitted_attempt != attempt and row.attempt == attempt:
        raise Conflict("the job waits in the queue", remedy="GET /training/queue says for what.")
    work.claim(row, attempt=attempt, run_id=run_id)
    row.failure = row.not_before = None
    dataset = approvals.approved_dataset(tx, row.dataset_id)
    base = approvals.approved_model(tx, row.model_id) if row.model_id else None
    if dataset.digest != row.dataset_digest or (base and base.digest != row.model_digest):
        raise Conflict("an input changed after the job was submitted", remedy="Submit the job again.")
    tx.audit("training.start", "training_job", row.id, run=run_id, attempt=attempt)
    tell(tx, row, Phase.START)
    return TrainingTask(
        job=value(row),
        dataset=dataset.version,
        base=base.version if base else None,
        output_prefix=f"models/{row.output_version_id}/{row.output_version}",
    )


def finish(
    tx: Transaction,
    job_id: UUID,
    *,
    run_id: str,
    manifest: Manifest,
    uri: str,
    card: dict[str, Any],
    summary: dict[str, Any],
    inspection: AirlockReport,
) -> Version:
    """Register the model the job made, and mark the job as done.

    The model gets its lineage, and as evidence its figures and what the airlock said about its files.
    """
    row = work.load(tx, JobRow, job_id, "training job")
    work.succeed(row, run_id=run_id)
    repeated = reproduction.compare(tx, row, manifest, summary)
    if repeated is not None:
        summary = {**summary, "reproduces": repeated.json_dict()}
    row.summary, row.failure = summary, None
    dataset = versions.get(tx, row.dataset_id)
    versions.create(
        tx,
        Kind.MODEL,
        id=row.output_version_id,
        name=row.output_model_name,
        version=row.output_version,
        type=ModelType.FINE_TUNED if row.recipe["jobType"] == JobType.FINETUNE else ModelType.BASE,
        owner_team=dataset.owner_team,
        change_log=f"Made by training job {row.id}.",
        metadata=card,
    )
    model = versions.attach_files(
        tx, row.output_version_id, manifest, prefix=f"models/{row.output_version_id}/{row.output_version}", uri=uri
    )
    lineage.record(tx, parent=row.dataset_id, child=model.id, role=lineage.Role.TRAINED_ON)
    if row.model_id is not None:
        finetune = row.recipe["jobType"] == JobType.FINETUNE
        role = lineage.Role.FINE_TUNED_FROM if finetune else lineage.Role.INITIALIZED_FROM
        lineage.record(tx, parent=row.model_id, child=model.id, role=role)
    evidence.attach(
        tx,
        model.id,
        EvidenceKind.TRAINING,
        digest=manifest.digest,
        source_id=row.id,
        passed=None,
        summary=summary,
    )
    evidence.attach_airlock(tx, model, inspection, source_id=row.id)
    tx.audit("training.finish", "training_job", row.id, model=str(model.id), digest=manifest.digest)
    tell(tx, row, Phase.COMPLETE, made=model)
    return model


def fail(
    tx: Transaction, job_id: UUID, error: str, *, run_id: str | None = None, cause: Cause | None = None
) -> None:
    """The attempt failed, and nothing is registered. What may pass by itself is queued again after a while.

    It is tried again as often as the job's retry policy says; any other cause would only fail again.
    """
    cause = cause or failures.cause(RootCause.UNKNOWN, error)
    row = work.load(tx, JobRow, job_id, "training job")
    if run_id is not None:
        work.check_run(row, run_id)
    row.failure = cause.json_dict()
    if cause.may_pass and row.attempt < _last_attempt(row) and not row.cancel_requested:
        policy = RetryPolicy.model_validate(row.retry_policy)
        row.not_before = utc_now() + backoff(policy, row.attempt - row.first_attempt)
        work.requeue(row, error[:300])
        tx.audit("training.retry", "training_job", row.id, attempt=row.attempt, reason=error[:500], automatic=True)
        return
    work.fail(row, error)
    tx.audit("training.fail", "training_job", row.id, error=error[:500], cause=cause.tag)
    tell(tx, row, Phase.FAIL, error=error)


def fail_because(tx: Transaction, job_id: UUID, run_id: str, error: BaseException) -> None:
    """The attempt failed with this error, which says whether trying again may help."""
    cause = cause_of(error)
    told = error.told if isinstance(error, PlatformError) else in_sentences(cause.detail, cause.remedy)
    fail(tx, job_id, told, run_id=run_id, cause=cause)


def mark_cancelled(tx: Transaction, job_id: UUID) -> None:
    """The run noticed that it should stop, and stopped: somebody asked for it, or the job's time is over."""
    row = work.load(tx, JobRow, job_id, "training job")
    if not row.cancel_requested and _is_overdue(row.started_at, row.max_minutes):
        error = (
            f"it was stopped after its longest time, {row.max_minutes} minutes; "
            "submit it with a longer resourceProfile.maxDuration, or retry it to go on from its last checkpoint"
        )
        row.failure = failures.cause(RootCause.TIMEOUT, error).json_dict()
        work.fail(row, error)
        tx.audit("training.fail", "training_job", row.id, error=error, cause=RootCause.TIMEOUT)
        tell(tx, row, Phase.FAIL, error=error)
        return
    work.move(row, WorkStatus.CANCELLED)
    tx.audit("training.cancelled", "training_job", row.id)
    tell(tx, row, Phase.ABORT)


def report_progress(
    tx: Transaction, job_id: UUID, fraction: float, message: str, *, run_id: str | None = None
) -> bool:
    """Show how far the job is, and learn whether it is to stop: somebody asked, or its time is over.

    Raises Conflict when the job no longer belongs to `run_id`: it was given up, as when the database died and let go
    of its lease.
    """
    row = work.read(tx, JobRow, job_id, "training job")
    if run_id is not None:
        work.check_run(row, run_id)
    work.report_progress(tx, JobRow, job_id, fraction, message)
    return row.cancel_requested or _is_overdue(row.started_at, row.max_minutes)


def retry_dead(tx: Transaction, job_id: UUID, *, attempt: int, reason: str) -> bool:
    """Put a job whose process died back into the queue at once; False when it was given up or already moved on."""
    return end_dead(tx, job_id, attempt=attempt, reason=reason, why=failures.cause(RootCause.INFRASTRUCTURE, reason))


def end_dead(tx: Transaction, job_id: UUID, *, attempt: int, reason: str, why: Cause) -> bool:
    """Write down why an attempt's process died, and put the job back into the queue at once.

    A cause that is known and that another attempt would only meet again fails the job. False when the job was given
    up or had already moved on.
    """
    row = work.load(tx, JobRow, job_id, "training job")
    if row.attempt != attempt or row.status not in work.ACTIVE:
        return False
    hopeless = not why.may_pass and why.tag is not RootCause.UNKNOWN
    if hopeless and not row.cancel_requested:
        fail(tx, job_id, in_sentences(JobFailed(why).message, why.remedy), cause=why)
        return False
    row.failure = None if row.cancel_requested else why.json_dict()
    again = work.retry_dead(row, attempt=attempt, reason=reason, last_attempt=_last_attempt(row))
    tx.audit("training.retry", "training_job", row.id, attempt=row.attempt, reason=reason, cause=why.tag)
    if row.status == WorkStatus.FAILED:
        tell(tx, row, Phase.FAIL, error=row.error)
    return again


def output_names(tx: Transaction) -> list[str]:
    """Every model name some job makes or made."""
    return sorted(tx.session.scalars(select(JobRow.output_model_name).distinct()))


def value(row: JobRow) -> Job:
    """The job that a row of this room describes."""
    return Job(
        id=row.id,
        job_type=SubmittedType(row.job_type),
        base_job_type=JobType(row.recipe["jobType"]),
        dataset_id=row.dataset_id,
        dataset_digest=row.dataset_digest,
        model_id=row.model_id,
        recipe=Recipe.model_validate(row.recipe),
        recipe_digest=row.recipe_digest,
        team=row.team,
        use_gpu=row.use_gpu,
        resource_profile=ResourceProfile.model_validate(row.resource_profile),
        resource_decision=ResourceDecision.model_validate(row.resource_decision),
        priority=row.priority,
        priority_class=class_of(row.priority),
        retry_policy=RetryPolicy.model_validate(row.retry_policy),
        notifications=Notifications.model_validate(row.notifications),
        api_base_url=row.api_base_url,
        auto_evaluate=AutoEvaluate.model_validate(row.auto_evaluate) if row.auto_evaluate else None,
        output_model_name=row.output_model_name,
        output_version=row.output_version,
        output_version_id=row.output_version_id,
        summary=row.summary,
        failure=Cause.model_validate(row.failure) if row.failure else None,
        not_before=row.not_before,
        admitted_at=row.admitted_at if row.admitted_attempt == row.attempt else None,
        state=work.state(row),
        experiment_url=f"/experiments/{row.id}",
        dagster_asset_key=_asset_key(row),
    )


def _last_attempt(row: JobRow) -> int:
    return row.first_attempt + RetryPolicy.model_validate(row.retry_policy).max_retries


def _is_overdue(started_at: datetime | None, minutes: int) -> bool:
    return started_at is not None and utc_now() > started_at + timedelta(minutes=minutes)


def _asset_key(row: JobRow) -> tuple[str, ...]:
    return ("models", row.output_model_name)
