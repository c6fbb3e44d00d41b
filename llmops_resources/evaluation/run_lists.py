"""Evaluations found: by filters, by the names of their model and benchmark, and the last one of two names."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select

from llmops_resources import pages
from llmops_resources.catalog import approvals, versions
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.database import Transaction
from llmops_resources.errors import NotFound
from llmops_resources.evaluation import runs
from llmops_resources.evaluation.runs import Evaluation, RunType
from llmops_resources.evaluation.suite import stored
from llmops_resources.evaluation.tables import EvaluationRow
from llmops_resources.pages import Page, Position
from llmops_resources.work import WorkStatus


def search(
    tx: Transaction,
    *,
    model_id: UUID | None = None,
    dataset_id: UUID | None = None,
    batch_id: UUID | None = None,
    judged_id: UUID | None = None,
    run_type: RunType | None = None,
    training_job_id: UUID | None = None,
    status: WorkStatus | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    after: Position | None = None,
    limit: int = 50,
) -> Page[Evaluation]:
    """Evaluations, newest first."""
    query = select(EvaluationRow)
    ids = {"model_id": model_id, "dataset_id": dataset_id, "batch_id": batch_id, "judged_id": judged_id}
    ids["training_job_id"] = training_job_id
    exact: dict[str, UUID | str | None] = {**ids, "run_type": run_type, "status": status}
    query = query.filter_by(**{name: wanted for name, wanted in exact.items() if wanted is not None})
    if since is not None:
        query = query.where(EvaluationRow.requested_at >= since)
    if until is not None:
        query = query.where(EvaluationRow.requested_at < until)
    order = (EvaluationRow.requested_at, EvaluationRow.id)
    page: Page[EvaluationRow] = pages.fetch(tx, query, order, after=after, limit=limit, value=lambda row: row)
    return Page(runs.values(tx, page.items), page.total, page.next)


def name_pairs(tx: Transaction) -> list[tuple[str, str]]:
    """Every (model name, benchmark name) that was ever evaluated, in order of first appearance."""
    models, benchmarks = versions.labels("models"), versions.labels("benchmarks")
    query = (
        select(models.c.name, benchmarks.c.name)
        .join_from(EvaluationRow, models, models.c.id == EvaluationRow.model_id)
        .join(benchmarks, benchmarks.c.id == EvaluationRow.dataset_id)
        .group_by(models.c.name, benchmarks.c.name)
        .order_by(func.min(EvaluationRow.requested_at))
    )
    return [(model, benchmark) for model, benchmark in tx.session.execute(query)]


def of_names(tx: Transaction, model_name: str, benchmark_name: str) -> list[Evaluation]:
    """The finished automated evaluations of every version of a model on every version of a benchmark, oldest first."""
    models = [version.id for version in versions.of_name(tx, Kind.MODEL, model_name)]
    benchmarks = [version.id for version in versions.of_name(tx, Kind.DATASET, benchmark_name)]
    query = (
        select(EvaluationRow)
        .where(EvaluationRow.model_id.in_(models), EvaluationRow.dataset_id.in_(benchmarks))
        .where(EvaluationRow.status == WorkStatus.SUCCEEDED, EvaluationRow.run_type == RunType.AUTOMATED)
        .order_by(EvaluationRow.requested_at, EvaluationRow.id)
    )
    return runs.values(tx, tx.session.scalars(query).all())


def request_again(tx: Transaction, model_name: str, benchmark_name: str) -> Evaluation:
    """The standing recipe: the last automated evaluation of these names once more, on the newest versions.

    One that went through an endpoint is repeated from the model's files: the newest version is not there.
    """
    models, benchmarks = versions.labels("models"), versions.labels("benchmarks")
    query = (
        select(EvaluationRow)
        .join(models, models.c.id == EvaluationRow.model_id)
        .join(benchmarks, benchmarks.c.id == EvaluationRow.dataset_id)
        .where(models.c.name == model_name, benchmarks.c.name == benchmark_name)
        .where(EvaluationRow.run_type == RunType.AUTOMATED)
    )
    old = tx.session.scalar(query.order_by(EvaluationRow.requested_at.desc(), EvaluationRow.id).limit(1))
    if old is None:
        raise NotFound(
            f"{model_name} was never evaluated on {benchmark_name}", remedy="Request an evaluation of the two first."
        )
    newest_model = next(m for m in versions.of_name(tx, Kind.MODEL, model_name) if m.digest)
    current = approvals.current(tx, Kind.DATASET, benchmark_name)
    dataset_id = current.id if current else old.dataset_id
    return runs.request(tx, model_id=newest_model.id, dataset_id=dataset_id, suite=stored(old.suite))


def judged_by_models(tx: Transaction, answers: Collection[UUID]) -> list[Evaluation]:
    """The finished runs in which models judged the answers of these evaluations, those that finished first first."""
    query = select(EvaluationRow).filter_by(run_type=RunType.LLM_JUDGE, status=WorkStatus.SUCCEEDED)
    query = query.where(EvaluationRow.judged_id.in_(answers)).order_by(EvaluationRow.finished_at, EvaluationRow.id)
    return runs.values(tx, tx.session.scalars(query).all())
