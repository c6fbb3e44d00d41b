"""The record of one experiment: everything that is needed to judge it, repeat it, or see why it failed."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from llmops_resources import work
from llmops_resources.catalog import versions
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Transaction
from llmops_resources.governance import audit
from llmops_resources.training import experiments, finding, jobs
from llmops_resources.training.finding import LastValue
from llmops_resources.training.jobs import Job
from llmops_resources.training.tables import JobRow
from llmops_resources.values import Value

#: What a run's summary says of where and by what it was carried out.
ENVIRONMENT: Final = ("device", "threads", "precision", "versions")
#: The audited moves of a job, as the record tells them.
MOVES: Final = 200


class Digests(Value):
    """`sha256:<hex>` of everything that determines the weights, and of the weights; None: not known (yet)."""

    recipe: str
    dataset: str
    base_model: str | None
    code: str | None
    weights: str | None


class Move(Value):
    """Something that happened to the job: `training.submit`, `training.start`, `training.retry`, `training.fail` …"""

    at: datetime
    action: str
    by: str
    attempt: int | None
    detail: str


class Artifact(Value):
    """A model version that the job made."""

    model_id: UUID
    name: str
    version: str
    digest: str | None
    uri: str | None
    size_bytes: int
    status: str


class ExperimentRecord(Value):
    """An experiment. The job holds the recipe, the failure's cause and what to do about it, and its inputs."""

    job: Job
    parameters: dict[str, Any]
    environment: dict[str, Any]
    digests: Digests
    moves: tuple[Move, ...]
    artifacts: tuple[Artifact, ...]
    metrics: tuple[LastValue, ...]
    points: int


def of_job(tx: Transaction, job_id: UUID) -> ExperimentRecord:
    """The record of a job, at any time of its life. Raises NotFound."""
    row = work.read(tx, JobRow, job_id, "training job")
    job = jobs.value(row)
    summary: Mapping[str, Any] = job.summary or {}
    model = versions.remembered(tx, job.output_version_id) if job.summary is not None else None
    return ExperimentRecord(
        job=job,
        parameters=job.recipe.json_dict(),
        environment={name: summary[name] for name in ENVIRONMENT if name in summary},
        digests=Digests(
            recipe=job.recipe_digest,
            dataset=job.dataset_digest,
            base_model=row.model_digest,
            code=summary.get("code_digest"),
            weights=model.digest if model else None,
        ),
        moves=tuple(_moves(tx, job.id)),
        artifacts=(_artifact(model),) if model else (),
        metrics=tuple(finding.last_values(tx, [job.id]).get(job.id, ())),
        points=experiments.count(tx, job.id),
    )


def _moves(tx: Transaction, job_id: UUID) -> list[Move]:
    found = audit.search(tx, resource_type="training_job", resource_id=str(job_id), limit=MOVES)
    return [
        Move(
            at=entry.timestamp,
            action=entry.action,
            by=entry.actor_id,
            attempt=entry.metadata.get("attempt"),
            detail=str(entry.metadata.get("error") or entry.metadata.get("reason") or ""),
        )
        for entry in reversed(found)
    ]


def _artifact(model: Version) -> Artifact:
    return Artifact(
        model_id=model.id,
        name=model.name,
        version=model.version,
        digest=model.digest,
        uri=model.storage_uri,
        size_bytes=model.size_bytes,
        status=model.status,
    )
