"""Evaluations that are asked for again and again, at the times of a cron expression.

What is due is asked for in the transaction that moves the schedule on, so a due time counts once, whatever dies. Times
that passed while nobody looked collapse into one. Nothing is asked for when the same model was evaluated on the same
benchmark under the same suite before, unless the schedule says so.
"""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError
from pydantic import Field
from sqlalchemy import select

from llmops_resources.catalog import approvals, versions
from llmops_resources.catalog.lifecycle import Kind, ModelType
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Transaction
from llmops_resources.errors import (
    Conflict,
    FieldProblem,
    NotFound,
    PlatformError,
    ValidationFailed,
    field_problem,
)
from llmops_resources.evaluation import runs
from llmops_resources.evaluation.suite import Suite, stored
from llmops_resources.evaluation.tables import EvaluationRow, EvaluationScheduleRow
from llmops_resources.evaluation.through import without_losses
from llmops_resources.governance.permissions import Permission, require
from llmops_resources.values import Value, utc_now
from llmops_resources.work import WorkStatus

Label = Annotated[str, Field(min_length=1, max_length=128)]
_STANDING = (WorkStatus.QUEUED, WorkStatus.RUNNING, WorkStatus.SUCCEEDED)


class Schedule(Value):
    """A standing evaluation. `cron` has five fields and is read in `timezone`.

    The model's version in use is evaluated, else its newest with files, on the benchmark's version in use.
    `always`: also when nothing changed since the last time. `last_outcome`: what came of the last due time.
    """

    id: UUID
    model: str
    benchmark: str
    suite: Suite
    cron: str
    timezone: str
    always: bool
    paused: bool
    next_due_at: datetime
    last_due_at: datetime | None
    last_run_id: UUID | None
    last_outcome: str
    created_by: str
    created_at: datetime


def create(
    tx: Transaction, *, model: str, benchmark: str, suite: Suite, cron: str, timezone: str = "UTC", always: bool = False
) -> Schedule:
    """Add a schedule. Raises Forbidden, and ValidationFailed with every field that is wrong."""
    require(tx.actor, Permission.EVALUATION_RUN)
    problems: list[FieldProblem] = []
    if not versions.of_name(tx, Kind.MODEL, model):
        problems.append(field_problem("model", f"there is no model {model!r}", "Name a model."))
    if not versions.of_name(tx, Kind.DATASET, benchmark):
        problems.append(field_problem("benchmark", f"there is no data set {benchmark!r}", "Name a benchmark."))
    if timezone not in available_timezones():
        problems.append(field_problem("timezone", "is not known", "Give a name such as UTC or Asia/Seoul."))
    try:
        due = next_due(cron, timezone if not problems else "UTC", utc_now())
    except ValidationFailed as error:
        raise ValidationFailed("the schedule cannot be kept", details=[*problems, *error.details]) from error
    if problems:
        raise ValidationFailed("the schedule cannot be kept", details=problems)
    row = EvaluationScheduleRow(
        model_name=model, benchmark_name=benchmark, suite=suite.json_dict(), cron=cron, timezone=timezone,
        always=always, paused=False, next_due_at=due, last_outcome="", created_by=tx.actor.id,
    )  # fmt: skip
    tx.session.add(row)
    tx.session.flush()
    tx.audit("evaluation.schedule", "evaluation_schedule", row.id, model=model, benchmark=benchmark, cron=cron)
    return _value(row)


def every(tx: Transaction, *, model: str | None = None) -> list[Schedule]:
    """All schedules, or those of a model, in the order of their next time."""
    query = select(EvaluationScheduleRow).order_by(EvaluationScheduleRow.next_due_at, EvaluationScheduleRow.id)
    if model is not None:
        query = query.filter_by(model_name=model)
    return [_value(row) for row in tx.session.scalars(query)]


def pause(tx: Transaction, schedule_id: UUID, *, paused: bool) -> Schedule:
    """Let a schedule rest, or take it up again from now on: what was missed meanwhile is not made up for."""
    require(tx.actor, Permission.EVALUATION_RUN)
    row = _load(tx, schedule_id)
    if row.paused != paused:
        row.paused = paused
        if not paused:
            row.next_due_at = next_due(row.cron, row.timezone, utc_now())
        tx.audit("evaluation.schedule_pause", "evaluation_schedule", row.id, paused=paused)
    return _value(row)


def remove(tx: Transaction, schedule_id: UUID) -> Schedule:
    """Forget a schedule, as it was; the evaluations it asked for stay. Raises NotFound."""
    require(tx.actor, Permission.EVALUATION_RUN)
    row = _load(tx, schedule_id)
    gone = _value(row)
    tx.session.delete(row)
    tx.audit("evaluation.unschedule", "evaluation_schedule", row.id, model=row.model_name)
    return gone


def request_due(tx: Transaction, now: datetime) -> list[UUID]:
    """Ask for every evaluation that is due, and move its schedule on; the evaluations that were asked for."""
    query = select(EvaluationScheduleRow).where(
        EvaluationScheduleRow.next_due_at <= now, EvaluationScheduleRow.paused.is_(False)
    )
    asked = []
    for row in tx.session.scalars(query.with_for_update(skip_locked=True)):
        row.last_due_at = row.next_due_at
        row.next_due_at = next_due(row.cron, row.timezone, now)
        row.last_outcome, row.last_run_id = _ask(tx, row)
        if row.last_run_id is not None:
            asked.append(row.last_run_id)
        tx.audit("evaluation.due", "evaluation_schedule", row.id, due=row.last_due_at, outcome=row.last_outcome)
    return asked


def next_due(cron: str, timezone: str, after: datetime) -> datetime:
    """The first time of a cron expression after a moment. Raises ValidationFailed for one that has none."""
    ask = "Give five fields, such as `0 3 * * 1` for Mondays at three."
    if len(cron.split()) != 5 or len(cron) > 100:
        raise ValidationFailed("the times cannot be read", details=[field_problem("cron", "has not five fields", ask)])
    try:
        return next(CronSim(cron, after.astimezone(ZoneInfo(timezone))))
    except (CronSimError, StopIteration) as error:
        problem = field_problem("cron", "is no cron expression that ever comes due", ask)
        raise ValidationFailed("the times cannot be read", details=[problem]) from error


def _ask(tx: Transaction, row: EvaluationScheduleRow) -> tuple[str, UUID | None]:
    try:
        model, dataset = _model(tx, row.model_name), approvals.current(tx, Kind.DATASET, row.benchmark_name)
        if dataset is None:
            return f"{row.benchmark_name} has no approved version", None
        suite = stored(row.suite)
        asked = without_losses(suite) if model.type is ModelType.EXTERNAL else suite
        if not row.always and (before := _before(tx, model, dataset, asked.json_dict())) is not None:
            return f"nothing changed since evaluation {before}", None
        run = runs.request(tx, model_id=model.id, dataset_id=dataset.id, suite=suite)
    except PlatformError as error:  # it is refused as it would be to a person; the next time may do
        return error.told[:500], None
    return "requested", run.id


def _model(tx: Transaction, name: str) -> Version:
    if (current := approvals.current(tx, Kind.MODEL, name)) is not None:
        return current
    newest = next((version for version in versions.of_name(tx, Kind.MODEL, name) if version.digest), None)
    if newest is None:
        raise Conflict(f"{name} has no version to evaluate", remedy="Upload or train one.")
    return newest


def _before(tx: Transaction, model: Version, dataset: Version, suite: dict[str, Any]) -> UUID | None:
    query = select(EvaluationRow.id).filter_by(
        model_id=model.id, dataset_id=dataset.id, run_type=runs.RunType.AUTOMATED, suite=suite
    )
    query = query.where(EvaluationRow.status.in_(_STANDING)).order_by(EvaluationRow.requested_at.desc())
    return tx.session.scalar(query.limit(1))


def _load(tx: Transaction, schedule_id: UUID) -> EvaluationScheduleRow:
    row = tx.session.get(EvaluationScheduleRow, schedule_id, with_for_update=True)
    if row is None:
        raise NotFound(f"there is no schedule {schedule_id}", remedy="List the schedules.")
    return row


def _value(row: EvaluationScheduleRow) -> Schedule:
    return Schedule(
        id=row.id,
        model=row.model_name,
        benchmark=row.benchmark_name,
        suite=stored(row.suite),
        cron=row.cron,
        timezone=row.timezone,
        always=row.always,
        paused=row.paused,
        next_due_at=row.next_due_at,
        last_due_at=row.last_due_at,
        last_run_id=row.last_run_id,
        last_outcome=row.last_outcome,
        created_by=row.created_by,
        created_at=row.created_at,
    )
