"""Training jobs as work: submitted with proof of approval, claimed by a run, finished as a model version."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select

from llmops_resources import pages, work
from llmops_resources.blobs import Manifest
from llmops_resources.catalog import approvals, evidence, lineage, lineage_events, versions
from llmops_resources.catalog.airlock import AirlockReport
from llmops_resources.catalog.deletion import Blocker
from llmops_resources.catalog.evidence import EvidenceKind
from llmops_resources.catalog.lifecycle import Kind, ModelType
from llmops_resources.catalog.lineage_events import Phase
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, NotFound, ValidationFailed, field_problem
from llmops_resources.pages import Page, Position
from llmops_resources.training.recipe import JobType, Recipe
from llmops_resources.training.tables import JobRow
from llmops_resources.values import Value
from llmops_resources.work import WorkItem, WorkState, WorkStatus

ROOM = "training"


class AutoEvaluate(Value):
    """Which benchmark the model is evaluated on as soon as it is there, and by which metrics (none: all)."""

    dataset_id: UUID
    metrics: tuple[str, ...] = ()


class Job(Value):
    """A training job; `output_version_id` names a catalog entry once the job succeeded."""

    id: UUID
    job_type: JobType
    dataset_id: UUID
    dataset_digest: str
    model_id: UUID | None
    recipe: Recipe
    recipe_digest: str
    resource_profile: dict[str, Any]
    auto_evaluate: AutoEvaluate | None
    output_model_name: str
    output_version: str
    output_version_id: UUID
    summary: dict[str, Any] | None
    state: WorkState
    experiment_url: str
    dagster_asset_key: tuple[str, ...]


class TrainingTask(Value):
    """What the run that claimed a job needs: approved inputs with their manifests, and where the model goes."""

    job: Job
    dataset: Version
    base: Version | None
    output_prefix: str


def submit(
    tx: Transaction,
    *,
    recipe: Recipe,
    dataset_id: UUID | str,
    output_model_name: str,
    model_id: UUID | str | None = None,
    auto_evaluate: AutoEvaluate | None = None,
    resource_profile: dict[str, Any] | None = None,
) -> Job:
    """Request a training job. Raises NotFound or Conflict unless data set and base model are approved."""
    if not versions.NAME.fullmatch(output_model_name):
        remedy = "Use 1–100 lower-case letters, digits, '-' or '_'."
        problem = field_problem("outputModelName", f"{output_model_name!r} is not a catalog name", remedy)
        raise ValidationFailed("the model's name is not usable", details=[problem])
    dataset = approvals.approved_dataset(tx, dataset_id)
    base = _base_model(tx, recipe, model_id)
    if auto_evaluate is not None:
        approvals.approved_dataset(tx, auto_evaluate.dataset_id)
    row = JobRow(
        job_type=recipe.job_type,
        dataset_id=dataset.version.id,
        dataset_digest=dataset.digest,
        model_id=base.version.id if base else None,
        model_digest=base.digest if base else None,
        recipe=recipe.json_dict(),
        recipe_digest=recipe.digest,
        resource_profile=resource_profile or {},
        auto_evaluate=auto_evaluate.json_dict() if auto_evaluate else None,
        output_model_name=output_model_name,
        output_version=_next_output_version(tx, output_model_name),
        requested_by=tx.actor.id,
    )
    tx.session.add(row)
    tx.session.flush()
    tx.audit("training.submit", "training_job", row.id, recipe=recipe.digest, dataset=dataset.digest)
    return _value(row)


def submit_again(tx: Transaction, model_name: str) -> Job:
    """The standing recipe of a model: its last job once more, on the current data set and base model."""
    query = select(JobRow).filter_by(output_model_name=model_name).order_by(JobRow.requested_at.desc())
    last = tx.session.scalar(query.where(JobRow.status == WorkStatus.SUCCEEDED).limit(1))
    if last is None:
        raise NotFound(f"no job has made {model_name} yet", remedy="Submit a training job for it first.")
    return submit(
        tx,
        recipe=Recipe.model_validate(last.recipe),
        dataset_id=_current(tx, last.dataset_id, Kind.DATASET),
        model_id=_current(tx, last.model_id, Kind.MODEL) if last.model_id else None,
        output_model_name=model_name,
        auto_evaluate=AutoEvaluate.model_validate(last.auto_evaluate) if last.auto_evaluate else None,
        resource_profile=last.resource_profile,
    )


def get(tx: Transaction, job_id: UUID | str) -> Job:
    """One job. Raises NotFound."""
    return _value(work.read(tx, JobRow, job_id, "training job"))


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
    return pages.fetch(tx, query, (JobRow.requested_at, JobRow.id), after=after, limit=limit, value=_value)


def cancel(tx: Transaction, job_id: UUID | str) -> Job:
    """Ask for a queued or running job to stop. Raises Conflict for a finished one."""
    row = work.load(tx, JobRow, job_id, "training job")
    work.cancel(row)
    tx.audit("training.cancel", "training_job", row.id)
    return _value(row)


def active(tx: Transaction) -> list[WorkItem]:
    """Jobs that still need a run."""
    query = select(JobRow).where(JobRow.status.in_(work.ACTIVE)).order_by(JobRow.queued_at)
    return [work.item(tx, row, ROOM, _asset_key(row)) for row in tx.session.scalars(query)]


def claim(tx: Transaction, job_id: UUID, *, attempt: int, run_id: str) -> TrainingTask:
    """Take the job for a run that holds its lease; its inputs must still be approved with the same digests."""
    row = work.load(tx, JobRow, job_id, "training job")
    work.claim(row, attempt=attempt, run_id=run_id)
    dataset = approvals.approved_dataset(tx, row.dataset_id)
    base = approvals.approved_model(tx, row.model_id) if row.model_id else None
    if dataset.digest != row.dataset_digest or (base and base.digest != row.model_digest):
        raise Conflict("an input changed after the job was submitted", remedy="Submit the job again.")
    tx.audit("training.start", "training_job", row.id, run=run_id, attempt=attempt)
    _tell(tx, row, Phase.START)
    return TrainingTask(
        job=_value(row),
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
    row.summary = summary
    dataset = versions.get(tx, row.dataset_id)
    versions.create(
        tx,
        Kind.MODEL,
        id=row.output_version_id,
        name=row.output_model_name,
        version=row.output_version,
        type=ModelType.FINE_TUNED if row.job_type == JobType.FINETUNE else ModelType.BASE,
        owner_team=dataset.owner_team,
        change_log=f"Made by training job {row.id}.",
        metadata=card,
    )
    model = versions.attach_files(
        tx, row.output_version_id, manifest, prefix=f"models/{row.output_version_id}/{row.output_version}", uri=uri
    )
    lineage.record(tx, parent=row.dataset_id, child=model.id, role=lineage.Role.TRAINED_ON)
    if row.model_id is not None:
        lineage.record(tx, parent=row.model_id, child=model.id, role=lineage.Role.FINE_TUNED_FROM)
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
    _tell(tx, row, Phase.COMPLETE, made=model)
    return model


def fail(tx: Transaction, job_id: UUID, error: str, *, run_id: str | None = None) -> None:
    """The job failed; nothing is registered."""
    row = work.load(tx, JobRow, job_id, "training job")
    if run_id is not None:
        work.check_run(row, run_id)
    work.fail(row, error)
    tx.audit("training.fail", "training_job", row.id, error=error[:500])
    _tell(tx, row, Phase.FAIL, error=error)


def mark_cancelled(tx: Transaction, job_id: UUID) -> None:
    """The run noticed the request to stop and stopped."""
    row = work.load(tx, JobRow, job_id, "training job")
    work.move(row, WorkStatus.CANCELLED)
    tx.audit("training.cancelled", "training_job", row.id)
    _tell(tx, row, Phase.ABORT)


def report_progress(tx: Transaction, job_id: UUID, fraction: float, message: str) -> bool:
    """Show how far the job is, and learn whether somebody asked for it to stop."""
    work.report_progress(tx, JobRow, job_id, fraction, message)
    return bool(tx.session.scalar(select(JobRow.cancel_requested).where(JobRow.id == job_id)))


def retry_dead(tx: Transaction, job_id: UUID, *, attempt: int, reason: str) -> bool:
    """Put a job whose process died back into the queue; False when it was given up or already moved on."""
    row = work.load(tx, JobRow, job_id, "training job")
    again = work.retry_dead(row, attempt=attempt, reason=reason)
    tx.audit("training.retry", "training_job", row.id, attempt=row.attempt, reason=reason)
    return again


def output_names(tx: Transaction) -> list[str]:
    """Every model name some job makes or made."""
    return sorted(tx.session.scalars(select(JobRow.output_model_name).distinct()))


def using(tx: Transaction, version_ids: Sequence[UUID]) -> list[UUID]:
    """Queued or running jobs that use one of the versions."""
    return [row.id for row in tx.session.scalars(_active_on(version_ids))]


def stop_using(tx: Transaction, version_ids: Sequence[UUID]) -> list[UUID]:
    """Stop the jobs that use recalled versions. One that finishes all the same registers its model in quarantine."""
    rows = tx.session.scalars(_active_on(version_ids).with_for_update(skip_locked=True)).all()
    for row in rows:
        work.cancel(row)
    return [row.id for row in rows]


def blockers(tx: Transaction, version_id: UUID) -> list[Blocker]:
    """The jobs that still need a version."""
    return [
        Blocker(
            type="training_job",
            id=row.id,
            name=f"training of {row.output_model_name} {row.output_version}",
            reason=f"is {row.status} and uses it",
            remedy="Cancel it, or wait for it to finish.",
        )
        for row in tx.session.scalars(_active_on([version_id]))
    ]


def _active_on(version_ids: Sequence[UUID]) -> Select[JobRow]:
    uses = JobRow.dataset_id.in_(version_ids) | JobRow.model_id.in_(version_ids)
    return select(JobRow).where(JobRow.status.in_(work.ACTIVE), uses).order_by(JobRow.requested_at)


def _base_model(tx: Transaction, recipe: Recipe, model_id: UUID | str | None) -> approvals.ApprovedModel | None:
    if recipe.job_type is JobType.FINETUNE:
        if model_id is None:
            problem = field_problem("modelId", "is required for finetune", "Give the id of an approved base model.")
            raise ValidationFailed("a fine-tuning job needs a base model", details=[problem])
        base = approvals.approved_model(tx, model_id)
        if base.version.type is ModelType.EXTERNAL:
            problem = field_problem("modelId", "is an external model", "Give the id of a model that has weights here.")
            raise ValidationFailed("an external model cannot be fine-tuned", details=[problem])
        return base
    if model_id is not None:
        problem = field_problem("modelId", f"is not used by {recipe.job_type}", "Leave it out, or use finetune.")
        raise ValidationFailed("this job type starts without a base model", details=[problem])
    return None


def _current(tx: Transaction, version_id: UUID, kind: Kind) -> UUID:
    current = approvals.current(tx, kind, versions.remembered(tx, version_id).name)
    return current.id if current else version_id


def _next_output_version(tx: Transaction, name: str) -> str:
    taken = tx.session.scalars(
        select(JobRow.output_version)
        .filter_by(output_model_name=name)
        .where(JobRow.status.in_((*work.ACTIVE, WorkStatus.SUCCEEDED)))
    )
    numbers = [int(version) for version in taken if version.isdecimal()]
    return str(max([int(versions.next_version(tx, Kind.MODEL, name)) - 1, *numbers], default=0) + 1)


def _tell(
    tx: Transaction, row: JobRow, phase: Phase, *, made: Version | None = None, error: str | None = None
) -> None:
    used = [version_id for version_id in (row.dataset_id, row.model_id) if version_id is not None]
    lineage_events.tell(
        tx,
        phase,
        work="training",
        job=f"train.{row.output_model_name}",
        row_id=row.id,
        attempt=row.attempt,
        inputs=[lineage_events.artifact(versions.remembered(tx, version_id)) for version_id in used],
        outputs=[lineage_events.artifact(made)] if made else [],
        error=error,
    )


def _asset_key(row: JobRow) -> tuple[str, ...]:
    return ("models", row.output_model_name)


def _value(row: JobRow) -> Job:
    return Job(
        id=row.id,
        job_type=JobType(row.job_type),
        dataset_id=row.dataset_id,
        dataset_digest=row.dataset_digest,
        model_id=row.model_id,
        recipe=Recipe.model_validate(row.recipe),
        recipe_digest=row.recipe_digest,
        resource_profile=row.resource_profile,
        auto_evaluate=AutoEvaluate.model_validate(row.auto_evaluate) if row.auto_evaluate else None,
        output_model_name=row.output_model_name,
        output_version=row.output_version,
        output_version_id=row.output_version_id,
        summary=row.summary,
        state=work.state(row),
        experiment_url=f"/experiments/{row.id}",
        dagster_asset_key=_asset_key(row),
    )
