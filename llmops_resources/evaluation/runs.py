"""Evaluation runs as work: requested for a model and an approved benchmark, finished with figures as evidence."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import select

from llmops_resources import work
from llmops_resources.catalog import approvals, evidence, lineage, lineage_events, versions
from llmops_resources.catalog.evidence import EvidenceKind
from llmops_resources.catalog.lifecycle import Kind, ModelType, Status
from llmops_resources.catalog.lineage_events import Artifact, Phase
from llmops_resources.catalog.versions import Named, Version
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict
from llmops_resources.evaluation.contamination import Contamination, Source, Training
from llmops_resources.evaluation.judged import Judged
from llmops_resources.evaluation.review_results import Summary
from llmops_resources.evaluation.scores import Score
from llmops_resources.evaluation.suite import Suite, chosen, stored
from llmops_resources.evaluation.tables import EvaluationRow
from llmops_resources.evaluation.through import Generation, Through, without_losses
from llmops_resources.values import Value, storable
from llmops_resources.work import WorkItem, WorkState

ROOM = "evaluation"


class RunType(StrEnum):
    """What gives the figures: scorers, people, or models that judge. The last two judge an automated run's answers."""

    AUTOMATED = "automated"
    HUMAN = "human"
    LLM_JUDGE = "llm_judge"


class Sample(Value):
    """One question with what was expected and what came; `scores` is empty when it could not be scored."""

    index: int
    input: str
    expected: str
    actual: str | None
    scores: dict[str, float]


class Counts(Value):
    total: int
    scored: int
    unscored: int


class Result(Value):
    """What an evaluation found, and the protocol that makes it comparable. Older results have no contamination.

    `generation` is of answers that came over HTTP, `judged` what models said that judged another run's answers, and
    `reviewed` what people did.
    """

    metrics: dict[str, Score]
    protocol: dict[str, Any]
    samples: tuple[Sample, ...]
    counts: Counts
    contamination: Contamination | None = None
    generation: Generation | None = None
    judged: Judged | None = None
    reviewed: Summary | None = None


class Stale(Value):
    """Since when something does not count any more, and why."""

    at: datetime
    reason: str


class Evaluation(Value):
    """An evaluation run. One is `stale` when a gate leaned on its judges and their licence was revoked later.

    `through`: how its model is asked over HTTP; None for one that runs here, from its files. `afterwards`: who judges
    its answers when they are there.
    """

    id: UUID
    run_type: RunType
    model_id: UUID
    model_name: str
    model_version: str
    model_digest: str
    dataset_id: UUID
    dataset_name: str
    dataset_version: str
    dataset_digest: str
    training_job_id: UUID | None
    batch_id: UUID | None = None
    judged_id: UUID | None = None
    judging: dict[str, Any] | None = None
    suite: Suite
    through: Through | None = None
    result: Result | None
    state: WorkState
    stale: Stale | None = None
    afterwards: dict[str, Any] | None = None
    dagster_asset_key: tuple[str, ...]


class EvaluationTask(Value):
    """What the run that claimed an evaluation needs."""

    evaluation: Evaluation
    model: Version
    dataset: Version
    training: Training


def request(
    tx: Transaction,
    *,
    model_id: UUID | str,
    dataset_id: UUID | str,
    suite: Suite | None = None,
    training_job_id: UUID | None = None,
    batch_id: UUID | None = None,
    through: Through | None = None,
) -> Evaluation:
    """Request an evaluation. The benchmark must be approved; the model must have files or a provider.

    A model is evaluated before its approval, because the figures are what the reviewer decides on. Whoever is asked
    over HTTP only answers: perplexity is left out of their suite. That the endpoint of `through` serves the model is
    for the caller to check.
    """
    model = evaluable(tx, model_id)
    dataset = approvals.approved_dataset(tx, dataset_id)
    if model.type is not ModelType.EXTERNAL and through is not None and through.endpoint_id is None:
        through = None  # a model that runs here is asked nowhere else
    elif model.type is ModelType.EXTERNAL:
        through = through or Through()
    suite = suite or Suite()
    suite = without_losses(suite) if through is not None else suite
    row = EvaluationRow(
        run_type=RunType.AUTOMATED,
        model_id=model.id,
        model_digest=model.manifest.digest,
        dataset_id=dataset.version.id,
        dataset_digest=dataset.digest,
        training_job_id=training_job_id,
        batch_id=batch_id,
        suite=suite.json_dict(),
        through=through.json_dict() if through else None,
        requested_by=tx.actor.id,
    )
    tx.session.add(row)
    tx.session.flush()
    asked = {"endpoint": str(through.endpoint_id or "")} if through else {}
    tx.audit(
        "evaluation.request", "evaluation", row.id, model=str(model.id), dataset=str(dataset.version.id), **asked
    )
    return value(tx, row)


def request_judged(tx: Transaction, judged: Evaluation, run_type: RunType, judging: Mapping[str, Any]) -> Evaluation:
    """A run that judges the answers of another, which the caller has checked; `judging` is what it judges them by."""
    row = EvaluationRow(
        run_type=run_type,
        model_id=judged.model_id,
        model_digest=judged.model_digest,
        dataset_id=judged.dataset_id,
        dataset_digest=judged.dataset_digest,
        judged_id=judged.id,
        judging=dict(judging),
        suite=judged.suite.json_dict(),
        requested_by=tx.actor.id,
    )
    tx.session.add(row)
    tx.session.flush()
    tx.audit("evaluation.request", "evaluation", row.id, judged=str(judged.id), run_type=run_type)
    return value(tx, row)


def evaluable(tx: Transaction, model_id: UUID | str) -> Version:
    """A model that an evaluation may be requested for. Raises NotFound or Conflict."""
    model = versions.get(tx, model_id, Kind.MODEL)
    if model.quarantined_at is not None:
        raise Conflict(f"{model.name} {model.version} was recalled", remedy="Evaluate a version in use.")
    if model.status in {Status.REJECTED, Status.DEPRECATED}:
        raise Conflict(f"{model.name} {model.version} is {model.status}", remedy="Evaluate a version in use.")
    return model


def request_after_training(
    tx: Transaction, *, job_id: UUID, model_id: UUID, dataset_id: UUID, metrics: tuple[str, ...]
) -> Evaluation | None:
    """The automatic evaluation of a finished job, at most once a job; None when it was requested before."""
    if tx.session.scalar(select(EvaluationRow.id).filter_by(training_job_id=job_id, model_id=model_id)):
        return None
    suite = Suite(metrics=chosen(metrics)) if metrics else None
    return request(tx, model_id=model_id, dataset_id=dataset_id, suite=suite, training_job_id=job_id)


def get(tx: Transaction, run_id: UUID | str) -> Evaluation:
    """One evaluation. Raises NotFound."""
    return value(tx, work.read(tx, EvaluationRow, run_id, "evaluation"))


def active(tx: Transaction) -> list[WorkItem]:
    """Evaluations that still need a run; those by people need none."""
    query = select(EvaluationRow).where(EvaluationRow.status.in_(work.ACTIVE), EvaluationRow.run_type != RunType.HUMAN)
    query = query.order_by(EvaluationRow.queued_at)
    rows = tx.session.scalars(query).all()
    return [
        work.item(tx, row, ROOM, each.dagster_asset_key) for row, each in zip(rows, values(tx, rows), strict=True)
    ]


def claim(tx: Transaction, evaluation_id: UUID, *, attempt: int, run_id: str) -> EvaluationTask:
    """Take the evaluation for a run that holds its lease."""
    row = work.load(tx, EvaluationRow, evaluation_id, "evaluation")
    work.claim(row, attempt=attempt, run_id=run_id)
    found = task(tx, value(tx, row))
    tx.audit("evaluation.start", "evaluation", row.id, run=run_id, attempt=attempt)
    _tell(tx, row, Phase.START)
    return found


def task(tx: Transaction, evaluation: Evaluation) -> EvaluationTask:
    """What an evaluation needs. Raises Conflict when its benchmark is not approved any more, or an input changed."""
    dataset = approvals.approved_dataset(tx, evaluation.dataset_id)
    model = versions.get(tx, evaluation.model_id, Kind.MODEL)
    if dataset.digest != evaluation.dataset_digest or model.digest != evaluation.model_digest:
        raise Conflict("an input changed after the request", remedy="Request the evaluation again.")
    training = training_of(tx, model.id)
    return EvaluationTask(evaluation=evaluation, model=model, dataset=dataset.version, training=training)


def training_of(tx: Transaction, model_id: UUID) -> Training:
    """The data a model and all its bases came from, with why a version of it may not be read."""
    ancestry = lineage.ancestry(tx, model_id)
    sources = (
        Source(id=each.id, name=each.name, version=each.version, reason=_unreadable(each)) for each in ancestry.datasets
    )
    unknown = tuple(f"{each.name} {each.version}" for each in ancestry.unknown)
    return Training(sources=tuple(sources), unknown=unknown)


def _unreadable(dataset: lineage.Node) -> str | None:
    if dataset.deleted:
        return "it was deleted"
    return "it was recalled" if dataset.quarantined else None


def finish(tx: Transaction, evaluation_id: UUID, result: Result, *, run_id: str) -> Evaluation:
    """Keep the result and attach its figures to the model as evidence."""
    row = work.load(tx, EvaluationRow, evaluation_id, "evaluation")
    work.succeed(row, run_id=run_id)
    row.result = storable(result.json_dict())
    summary = {
        "benchmark": str(row.dataset_id),
        "run_type": row.run_type,
        "metrics": {name: score.json_dict() for name, score in result.metrics.items()},
        "counts": result.counts.json_dict(),
    }
    evidence.attach(
        tx,
        row.model_id,
        EvidenceKind.EVALUATION,
        digest=row.model_digest,
        source_id=row.id,
        passed=None,
        summary=summary,
    )
    _tell(tx, row, Phase.COMPLETE, result=result)
    return value(tx, row)


def fail(tx: Transaction, evaluation_id: UUID, error: str, *, run_id: str | None = None) -> None:
    """The evaluation could not be done."""
    row = work.load(tx, EvaluationRow, evaluation_id, "evaluation")
    if run_id is not None:
        work.check_run(row, run_id)
    work.fail(row, error)
    tx.audit("evaluation.fail", "evaluation", row.id, error=error[:500])
    _tell(tx, row, Phase.FAIL, error=error)


def report_progress(tx: Transaction, evaluation_id: UUID, fraction: float, message: str) -> None:
    """Show how far the evaluation is."""
    work.report_progress(tx, EvaluationRow, evaluation_id, fraction, message)


def retry_dead(tx: Transaction, evaluation_id: UUID, *, attempt: int, reason: str) -> bool:
    """Put an evaluation whose process died back into the queue."""
    row = work.load(tx, EvaluationRow, evaluation_id, "evaluation")
    again = work.retry_dead(row, attempt=attempt, reason=reason)
    tx.audit("evaluation.retry", "evaluation", row.id, attempt=row.attempt, reason=reason)
    return again


def _tell(
    tx: Transaction, row: EvaluationRow, phase: Phase, *, result: Result | None = None, error: str | None = None
) -> None:
    model, benchmark = versions.remembered(tx, row.model_id), versions.remembered(tx, row.dataset_id)
    name = f"evaluations/{model.name}/{benchmark.name}"
    lineage_events.tell(
        tx,
        phase,
        work="evaluation",
        job=f"evaluate.{model.name}.{benchmark.name}",
        row_id=row.id,
        attempt=row.attempt,
        inputs=[lineage_events.artifact(model), lineage_events.artifact(benchmark)],
        outputs=[Artifact(name=name, version=str(row.id), rows=result.counts.total)] if result else [],
        error=error,
    )


def value(tx: Transaction, row: EvaluationRow) -> Evaluation:
    """The public value of a row."""
    return values(tx, [row])[0]


def values(tx: Transaction, rows: Sequence[EvaluationRow]) -> list[Evaluation]:
    """The public values of rows, with one question for all their versions."""
    names = versions.named(tx, {each for row in rows for each in (row.model_id, row.dataset_id)})
    return [_value(row, names[row.model_id], names[row.dataset_id]) for row in rows]


def _value(row: EvaluationRow, model: Named, dataset: Named) -> Evaluation:
    return Evaluation(
        id=row.id,
        run_type=RunType(row.run_type),
        model_id=row.model_id,
        model_name=model.name,
        model_version=model.version,
        model_digest=row.model_digest,
        dataset_id=row.dataset_id,
        dataset_name=dataset.name,
        dataset_version=dataset.version,
        dataset_digest=row.dataset_digest,
        training_job_id=row.training_job_id,
        batch_id=row.batch_id,
        judged_id=row.judged_id,
        judging=row.judging,
        suite=stored(row.suite),
        through=Through.model_validate(row.through) if row.through else None,
        result=Result.model_validate(row.result) if row.result else None,
        state=work.state(row),
        stale=Stale(at=row.stale_at, reason=row.stale_reason or "") if row.stale_at else None,
        afterwards=row.afterwards,
        dagster_asset_key=("evaluations", model.name, dataset.name),
    )
