"""Submitting a training job: with proof of approval, checked whole, placed on machines, and put into the queue."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import Field
from sqlalchemy import select

from llmops_resources import work
from llmops_resources.catalog import approvals, evidence, versions
from llmops_resources.catalog.lifecycle import Kind, ModelType
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, FieldProblem, NotFound, ValidationFailed, field_problem
from llmops_resources.governance.permissions import Permission, require
from llmops_resources.training import memory, profile, quotas
from llmops_resources.training.jobs import AutoEvaluate, Job, value
from llmops_resources.training.placement import Capacity, ResourceDecision, place
from llmops_resources.training.profile import (
    CPU_POOL,
    Notifications,
    Priority,
    ResourceProfile,
    RetryPolicy,
    SubmittedType,
)
from llmops_resources.training.queueing import free_now
from llmops_resources.training.recipe import JobType, Recipe
from llmops_resources.training.tables import JobRow
from llmops_resources.values import Value
from llmops_resources.work import WorkStatus

ResultT = TypeVar("ResultT")
ON_CPUS: Final[Capacity] = {CPU_POOL: 1}


class Terms(Value):
    """How a job is to be run, beside its recipe. `kind`: the type as submitted, None for that of the recipe.

    `team` pays with its quota: the one that owns the data set, unless said otherwise.
    """

    kind: SubmittedType | None = None
    use_gpu: bool = False
    resource_profile: ResourceProfile = ResourceProfile()
    priority: Priority = 0
    retry_policy: RetryPolicy = RetryPolicy()
    notifications: Notifications = Notifications()
    api_base_url: Annotated[str, Field(max_length=500)] | None = None
    team: Annotated[str, Field(min_length=1, max_length=128)] | None = None


def read_recipe(
    kind: SubmittedType,
    base: JobType | None,
    hyperparameters: Mapping[str, Any],
    resource_profile: Mapping[str, Any],
    *,
    use_gpu: bool,
    api_base_url: str | None,
    capacity: Capacity,
) -> tuple[Recipe, ResourceProfile]:
    """The recipe and the profile of a request; where no GPU exists the recipe is one for CPUs.

    Raises ValidationFailed with every problem of both.
    """
    problems: list[FieldProblem] = list(_address(api_base_url))
    base_job = _collect(problems, lambda: profile.base_type(kind, base))
    machines = _collect(problems, lambda: profile.read_profile(resource_profile, kind, use_gpu))
    on_gpu = use_gpu and any(units > 0 for pool, units in capacity.items() if pool != CPU_POOL)
    processes = machines.processes if machines else 1
    recipe = _collect(problems, lambda: _recipe(base_job, hyperparameters, on_gpu, processes)) if base_job else None
    if recipe is not None and recipe.architecture is not None and machines is not None and on_gpu:
        problems += memory.too_large(memory.estimate(recipe, recipe.architecture), machines.gpu_type)
    if problems or recipe is None or machines is None:
        first = problems[0]
        message = f"the training job is not valid: {first['path']}: {first['problem']}"
        raise ValidationFailed(message, remedy=first["remedy"], details=problems)
    return recipe, machines


def submit(
    tx: Transaction,
    *,
    recipe: Recipe,
    dataset_id: UUID | str,
    output_model_name: str,
    model_id: UUID | str | None = None,
    auto_evaluate: AutoEvaluate | None = None,
    terms: Terms | None = None,
    capacity: Capacity = ON_CPUS,
) -> Job:
    """Request a training job. Raises NotFound or Conflict unless data set and base model are approved.

    Raises Forbidden for a priority above normal, or another team than the inputs' owners, without the permission for
    it; ValidationFailed for machines that this installation or the team can never have, and for a run that cannot fit
    into the memory of its GPU.
    """
    terms = terms or Terms()
    if not versions.NAME.fullmatch(output_model_name):
        remedy = "Use 1–100 lower-case letters, digits, '-' or '_'."
        problem = field_problem("outputModelName", f"{output_model_name!r} is not a catalog name", remedy)
        raise ValidationFailed("the model's name is not usable", details=[problem])
    dataset = approvals.approved_dataset(tx, dataset_id)
    base = _base_model(tx, recipe, model_id)
    if auto_evaluate is not None:
        approvals.approved_dataset(tx, auto_evaluate.dataset_id)
    if terms.priority > 0:
        require(tx.actor, Permission.TRAINING_PRIORITIZE)
    team = terms.team or dataset.version.owner_team
    if team not in {dataset.version.owner_team, base.version.owner_team if base else None}:
        require(tx.actor, Permission.TRAINING_QUOTA)
    decision = _weighed(tx, _placed(tx, terms, team, capacity), recipe, base)
    row = JobRow(
        job_type=terms.kind or SubmittedType(recipe.job_type.value),
        dataset_id=dataset.version.id,
        dataset_digest=dataset.digest,
        model_id=base.version.id if base else None,
        model_digest=base.digest if base else None,
        recipe=recipe.json_dict(),
        recipe_digest=recipe.digest,
        auto_evaluate=auto_evaluate.json_dict() if auto_evaluate else None,
        output_model_name=output_model_name,
        output_version=next_output_version(tx, output_model_name),
        requested_by=tx.actor.id,
        **_columns(terms, team, decision),
    )
    tx.session.add(row)
    tx.session.flush()
    tx.audit(
        "training.submit", "training_job", row.id, recipe=recipe.digest, dataset=dataset.digest,
        team=team, pool=decision.pool, units=decision.units, priority=row.priority,
    )  # fmt: skip
    return value(row)


def submit_again(tx: Transaction, model_name: str, *, capacity: Capacity) -> Job:
    """The standing recipe of a model: its last job once more, on the current data set and base model.

    It has normal priority, whatever the last one had.
    """
    query = select(JobRow).filter_by(output_model_name=model_name).order_by(JobRow.requested_at.desc())
    last = tx.session.scalar(query.where(JobRow.status == WorkStatus.SUCCEEDED).limit(1))
    if last is None:
        raise NotFound(f"no job has made {model_name} yet", remedy="Submit a training job for it first.")
    base = _current(tx, last.model_id, Kind.MODEL) if last.model_id else None
    evaluate = AutoEvaluate.model_validate(last.auto_evaluate) if last.auto_evaluate else None
    dataset = _current(tx, last.dataset_id, Kind.DATASET)
    return _again(tx, last, dataset, base, auto_evaluate=evaluate, capacity=capacity)


def reproduce(tx: Transaction, job_id: UUID | str, *, capacity: Capacity) -> Job:
    """A finished job once more: the same recipe on the same bytes, as another version of the same model.

    When it ends its summary says whether the weights are identical (`reproduction.py`). Raises Conflict unless the job
    succeeded and its inputs are still approved.
    """
    row = work.read(tx, JobRow, job_id, "training job")
    if row.status != WorkStatus.SUCCEEDED:
        raise Conflict(f"a job that is {row.status} made nothing to reproduce", remedy="Choose one that succeeded.")
    return _again(tx, row, row.dataset_id, row.model_id, auto_evaluate=None, capacity=capacity)


def next_output_version(tx: Transaction, name: str) -> str:
    """The next number that neither the catalog nor another job has taken."""
    taken = tx.session.scalars(
        select(JobRow.output_version)
        .filter_by(output_model_name=name)
        .where(JobRow.status.in_((*work.ACTIVE, WorkStatus.SUCCEEDED)))
    )
    numbers = [int(version) for version in taken if version.isdecimal()]
    return str(max([int(versions.next_version(tx, Kind.MODEL, name)) - 1, *numbers], default=0) + 1)


def _again(
    tx: Transaction,
    last: JobRow,
    dataset_id: UUID,
    model_id: UUID | None,
    *,
    auto_evaluate: AutoEvaluate | None,
    capacity: Capacity,
) -> Job:
    """A job as it was asked for, on these inputs and with normal priority."""
    terms = Terms(
        kind=SubmittedType(last.job_type),
        use_gpu=last.resource_decision["device"] == "gpu",
        resource_profile=ResourceProfile.model_validate(last.resource_profile),
        retry_policy=RetryPolicy.model_validate(last.retry_policy),
        notifications=Notifications.model_validate(last.notifications),
        api_base_url=last.api_base_url,
        team=last.team,
    )
    return submit(
        tx,
        recipe=Recipe.model_validate(last.recipe),
        dataset_id=dataset_id,
        model_id=model_id,
        output_model_name=last.output_model_name,
        auto_evaluate=auto_evaluate,
        terms=terms,
        capacity=capacity,
    )


def _recipe(base: JobType, hyperparameters: Mapping[str, Any], use_gpu: bool, processes: int) -> Recipe:
    return Recipe.from_hyperparameters(base, hyperparameters, use_gpu, processes)


def _collect(problems: list[FieldProblem], read: Callable[[], ResultT]) -> ResultT | None:
    try:
        return read()
    except ValidationFailed as error:
        problems.extend(error.details)
        return None


def _address(url: str | None) -> list[FieldProblem]:
    if url is None:
        return []
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and not parts.username and parts.port != 0
    except ValueError:
        usable = False
    remedy = "give the address of this platform's API as the job reaches it: http(s)://host[:port]/llm-ops/v1"
    return [] if usable else [field_problem("apiBaseUrl", "is not the address of an API", remedy)]


def _placed(tx: Transaction, terms: Terms, team: str, capacity: Capacity) -> ResourceDecision:
    limits = quotas.limits_of(quotas.table(tx), team, list(capacity))
    wanted = terms.resource_profile
    if limits.get(CPU_POOL) == 0 and not terms.use_gpu:
        raise Conflict(f"team {team} may not train on CPUs", remedy="Name another team, or have its quota raised.")
    return place(
        wanted, use_gpu=terms.use_gpu, capacity=capacity, quotas=limits, free=free_now(tx, capacity)
    )


def _weighed(
    tx: Transaction, decision: ResourceDecision, recipe: Recipe, base: approvals.ApprovedModel | None
) -> ResourceDecision:
    """The decision with the estimate of memory. Raises ValidationFailed when the run cannot fit on its GPU."""
    if decision.device != "gpu":
        return decision
    problems: list[FieldProblem] = []
    if recipe.architecture is not None:
        need = memory.estimate(recipe, recipe.architecture)
        problems, told = memory.too_large(need, decision.pool), memory.told(need, decision.pool)
    else:
        model, told = _evidence_of(tx, base)
        if model is not None:
            need = memory.estimate_finetuning(recipe, model)
            problems = memory.base_too_large(need, decision.pool, recipe)
            told = memory.told(need, decision.pool, model)
    if problems:
        message = f"the training job does not fit on its GPU: {problems[0]['problem']}"
        raise ValidationFailed(message, remedy=problems[0]["remedy"], details=problems)
    return decision.model_copy(update={"memory_estimate": told})


def _evidence_of(tx: Transaction, base: approvals.ApprovedModel | None) -> tuple[memory.BaseModel | None, str]:
    """The base model's size as the airlock found it in these very files, or None and why it is not known."""
    found = evidence.latest(tx, base.version.id, evidence.EvidenceKind.AIRLOCK) if base else None
    if base is None or found is None or found.digest != base.digest:
        return None, "not made: there is no airlock evidence of the base model's files"
    return memory.read_base(found.summary)


def _columns(terms: Terms, team: str, decision: ResourceDecision) -> dict[str, Any]:
    return {
        "use_gpu": terms.use_gpu,
        "resource_profile": terms.resource_profile.json_dict(),
        "resource_decision": decision.json_dict(),
        "team": team,
        "pool": decision.pool,
        "units": decision.units,
        "max_minutes": terms.resource_profile.max_duration,
        "priority": terms.priority,
        "retry_policy": terms.retry_policy.json_dict(),
        "notifications": terms.notifications.json_dict(),
        "api_base_url": terms.api_base_url,
    }


def _base_model(tx: Transaction, recipe: Recipe, model_id: UUID | str | None) -> approvals.ApprovedModel | None:
    if not recipe.needs_base:
        if model_id is not None:
            remedy = "Leave it out, use finetune, or set hyperparameters.initialization."
            problem = field_problem("modelId", f"is not used by {recipe.job_type}", remedy)
            raise ValidationFailed("this job type starts without a base model", details=[problem])
        return None
    if model_id is None:
        needed = recipe.job_type if recipe.job_type is JobType.FINETUNE else f"initialization {recipe.initialization}"
        problem = field_problem("modelId", f"is required for {needed}", "Give the id of an approved model.")
        raise ValidationFailed("this job starts from another model", details=[problem])
    base = approvals.approved_model(tx, model_id)
    if base.version.type is ModelType.EXTERNAL:
        problem = field_problem("modelId", "is an external model", "Give the id of a model that has weights here.")
        raise ValidationFailed("an external model cannot be trained on", details=[problem])
    return base


def _current(tx: Transaction, version_id: UUID, kind: Kind) -> UUID:
    current = approvals.current(tx, kind, versions.remembered(tx, version_id).name)
    return current.id if current else version_id
