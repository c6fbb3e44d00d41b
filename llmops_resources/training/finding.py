"""Experiments found by what was run and by what came out."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import Select, func, select

from llmops_resources import pages, work
from llmops_resources.database import Transaction
from llmops_resources.pages import Page, Position
from llmops_resources.training import conditions
from llmops_resources.training.conditions import Condition
from llmops_resources.training.failures import RootCause
from llmops_resources.training.profile import SubmittedType
from llmops_resources.training.recipe import JobType
from llmops_resources.training.tables import JobRow, SeriesRow
from llmops_resources.values import Value
from llmops_resources.work import WorkStatus

Order = Literal["newest", "lowest", "highest"]
SHOWN: Final = 20  # metrics of an experiment in a list; those of the machine are left out
SYSTEM: Final = "system/"


class LastValue(Value):
    """A metric at its highest step."""

    name: str
    unit: str | None
    step: int
    value: float
    recorded_at: datetime


class ExperimentSummary(Value):
    """A job as one of many: what it is, how it ended, and what it came to."""

    job_id: UUID
    output_model_name: str
    output_version: str
    job_type: SubmittedType
    base_job_type: JobType
    team: str
    status: WorkStatus
    attempt: int
    requested_by: str
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    failure: RootCause | None
    recipe_digest: str
    metrics: tuple[LastValue, ...]


class Sought(Value):
    """What to look for; what is None is not asked. `least` and `most` bound the last value of `metric`."""

    model_name: str | None = None
    status: WorkStatus | None = None
    team: str | None = None
    job_type: SubmittedType | None = None
    metric: str | None = None
    least: float | None = None
    most: float | None = None
    where: tuple[Condition, ...] = ()


def search(
    tx: Transaction, sought: Sought, order: Order, *, after: Position | None = None, limit: int = 50
) -> Page[ExperimentSummary]:
    """Experiments that match; those by a metric's value are one page, the first `limit`, and have no next one."""
    query = select(JobRow)
    exact = ((JobRow.output_model_name, sought.model_name), (JobRow.status, sought.status), (JobRow.team, sought.team),
             (JobRow.job_type, sought.job_type))  # fmt: skip
    for column, wanted in exact:
        if wanted is not None:
            query = query.where(column == wanted)
    query = query.where(*(conditions.clause(each) for each in sought.where))
    if sought.metric is not None:
        query = query.join(SeriesRow, (SeriesRow.job_id == JobRow.id) & (SeriesRow.name == sought.metric))
        if sought.least is not None:
            query = query.where(SeriesRow.last_value >= sought.least)
        if sought.most is not None:
            query = query.where(SeriesRow.last_value <= sought.most)
    if sought.metric is not None and order != "newest":
        page = _by_value(tx, query, order, limit)
    else:
        page = pages.fetch(tx, query, (JobRow.requested_at, JobRow.id), after=after, limit=limit, value=lambda row: row)
    found = last_values(tx, [row.id for row in page.items])
    return Page([_experiment(row, found.get(row.id, ()), sought.metric) for row in page.items], page.total, page.next)


def named(tx: Transaction, job_ids: Sequence[UUID]) -> list[ExperimentSummary]:
    """These experiments, in this order, with all their metrics. Raises NotFound."""
    rows = [work.read(tx, JobRow, job_id, "training job") for job_id in job_ids]
    found = last_values(tx, job_ids)
    return [_experiment(row, found.get(row.id, ()), None, shown=None) for row in rows]


def last_values(tx: Transaction, job_ids: Iterable[UUID]) -> Mapping[UUID, Sequence[LastValue]]:
    """Every metric of the jobs at its highest step, ordered by name."""
    query = select(SeriesRow).where(SeriesRow.job_id.in_(list(job_ids))).order_by(SeriesRow.name)
    found: dict[UUID, list[LastValue]] = {}
    for row in tx.session.scalars(query):
        found.setdefault(row.job_id, []).append(
            LastValue(
                name=row.name, unit=row.unit, step=row.last_step, value=row.last_value, recorded_at=row.last_at
            )
        )  # fmt: skip
    return found


def _by_value(tx: Transaction, query: Select[Any], order: Order, limit: int) -> Page[JobRow]:
    value = SeriesRow.last_value.asc() if order == "lowest" else SeriesRow.last_value.desc()
    rows = list(tx.session.scalars(query.order_by(value, JobRow.requested_at.desc(), JobRow.id).limit(limit)))
    total = tx.session.scalar(select(func.count()).select_from(query.subquery())) or 0
    return Page(rows, total, None)


def _experiment(
    row: JobRow, values: Sequence[LastValue], wanted: str | None, *, shown: int | None = SHOWN
) -> ExperimentSummary:
    mine = [value for value in values if shown is None or not value.name.startswith(SYSTEM) or value.name == wanted]
    first = [value for value in mine if value.name == wanted]
    return ExperimentSummary(
        job_id=row.id,
        output_model_name=row.output_model_name,
        output_version=row.output_version,
        job_type=SubmittedType(row.job_type),
        base_job_type=JobType(row.recipe["jobType"]),
        team=row.team,
        status=WorkStatus(row.status),
        attempt=row.attempt,
        requested_by=row.requested_by,
        requested_at=row.requested_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        failure=RootCause(row.failure["tag"]) if row.failure else None,
        recipe_digest=row.recipe_digest,
        metrics=tuple([*first, *(value for value in mine if value.name != wanted)][:shown]),
    )
