"""How far experiments have come in MLflow: which one is next, what of it is not sent yet, and what was.

Each metric's values leave in the order of steps, and the highest step that was taken is kept. A value recorded later
at a lower step makes the number of values differ when the job ends, and then the whole metric is sent again, which
MLflow takes as what it has already. A value that overwrites another at a step that was sent stays there as it was.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import func, literal, or_, select
from sqlalchemy.dialects.postgresql import insert

from llmops_resources.catalog.outbox import backoff
from llmops_resources.database import Transaction
from llmops_resources.training import experiments
from llmops_resources.training.comparing import flat
from llmops_resources.training.experiments import Metric
from llmops_resources.training.mlflow import MAX_METRICS, Description
from llmops_resources.training.tables import JobRow, MetricRow, MirrorRow, SeriesRow
from llmops_resources.values import Value, utc_now
from llmops_resources.work import ACTIVE, WorkStatus

CLAIM: Final = timedelta(minutes=2)
#: How often a running experiment is looked at.
PERIOD: Final = timedelta(seconds=5)
STATUS: Final[Mapping[WorkStatus, str]] = {
    WorkStatus.QUEUED: "SCHEDULED",
    WorkStatus.RUNNING: "RUNNING",
    WorkStatus.SUCCEEDED: "FINISHED",
    WorkStatus.FAILED: "FAILED",
    WorkStatus.CANCELLED: "KILLED",
}


class Mirror(Value):
    """An experiment to be sent: what it is, its state now, and how far it was sent."""

    job_id: UUID
    run_id: str | None
    described: bool
    description: Description
    status: WorkStatus
    state: str
    told: str | None
    finished_at: datetime | None


def claim_next(tx: Transaction) -> Mirror | None:
    """The experiment that waits longest, kept from other senders for CLAIM; None when nothing is due."""
    state = func.concat(JobRow.status, ":", JobRow.attempt)
    unseen = select(JobRow.id).outerjoin(MirrorRow, MirrorRow.job_id == JobRow.id).where(MirrorRow.job_id.is_(None))
    new = select(unseen.order_by(JobRow.requested_at).limit(100).subquery().c.id, literal({}, MirrorRow.sent.type),
                 literal(False), literal(0), func.now())  # fmt: skip
    into = insert(MirrorRow).from_select(["job_id", "sent", "described", "attempts", "next_attempt_at"], new)
    tx.session.execute(into.on_conflict_do_nothing())
    query = (
        select(MirrorRow, JobRow)
        .join(JobRow, JobRow.id == MirrorRow.job_id)
        .where(
            MirrorRow.next_attempt_at <= utc_now(),
            or_(MirrorRow.state.is_(None), MirrorRow.state != state, JobRow.status.in_(ACTIVE)),
        )
        .order_by(MirrorRow.next_attempt_at)
        .limit(1)
        .with_for_update(of=MirrorRow, skip_locked=True)
    )
    found = tx.session.execute(query).first()
    if found is None:
        return None
    row, job = found
    row.next_attempt_at = utc_now() + CLAIM
    return Mirror(
        job_id=job.id, run_id=row.run_id, described=row.described, description=_description(job),
        status=WorkStatus(job.status), state=f"{job.status}:{job.attempt}", told=row.state,
        finished_at=job.finished_at,
    )  # fmt: skip


def unsent(tx: Transaction, job_id: UUID, *, ended: bool) -> list[Metric]:
    """The next values to send, of as many metrics as fit into a batch; none when all were sent.

    `ended`: the job records no more, so that metrics with values that came late are begun again.
    """
    row = _mine(tx, job_id)
    if ended:
        _begin_again(tx, row)
    behind = [
        name
        for name, last in tx.session.execute(
            select(SeriesRow.name, SeriesRow.last_step).where(SeriesRow.job_id == job_id).order_by(SeriesRow.name)
        )
        if last > row.sent.get(name, (-1, 0))[0]
    ]
    batch: list[Metric] = []
    for name in behind:
        room = MAX_METRICS - len(batch)
        if room == 0:
            break
        after = row.sent.get(name, (-1, 0))[0]
        batch += experiments.points(tx, job_id, name, after_step=after, limit=room)
    return batch


def taken(tx: Transaction, job_id: UUID, batch: list[Metric]) -> None:
    """The server took these values, which are in the order of `unsent`."""
    row = _mine(tx, job_id)
    sent = dict(row.sent)
    for metric in batch:
        sent[metric.name] = (metric.step, sent.get(metric.name, (-1, 0))[1] + 1)
    row.sent, row.next_attempt_at = sent, utc_now() + CLAIM


def made(tx: Transaction, job_id: UUID, run_id: str) -> None:
    """The experiment has a run in MLflow."""
    _mine(tx, job_id).run_id = run_id


def described(tx: Transaction, job_id: UUID) -> None:
    """The server took the parameters and tags."""
    _mine(tx, job_id).described = True


def caught_up(tx: Transaction, job_id: UUID, state: str) -> None:
    """Everything was sent as of `state`; a job that goes on is looked at again after PERIOD."""
    row = _mine(tx, job_id)
    row.state, row.attempts, row.error, row.next_attempt_at = state, 0, None, utc_now() + PERIOD


def lost(tx: Transaction, job_id: UUID) -> None:
    """The server does not know the run any more: everything is sent again, into another one."""
    row = _mine(tx, job_id)
    row.run_id, row.described, row.sent, row.state = None, False, {}, None


def failed(tx: Transaction, job_id: UUID, error: str) -> None:
    """The server did not take something: try again later. It is never given up, since nothing is lost by waiting."""
    row = _mine(tx, job_id)
    row.attempts += 1
    row.error, row.next_attempt_at = error[:1000], utc_now() + backoff(row.attempts)


def _mine(tx: Transaction, job_id: UUID) -> MirrorRow:
    return tx.session.get_one(MirrorRow, job_id, with_for_update=True)


def _begin_again(tx: Transaction, row: MirrorRow) -> None:
    """Forget what was sent of metrics that were sent to their end and yet have more values than were sent."""
    query = select(MetricRow.name, func.max(MetricRow.step), func.count()).where(MetricRow.job_id == row.job_id)
    recorded = {name: (last, count) for name, last, count in tx.session.execute(query.group_by(MetricRow.name))}
    late = set()
    for name, (step, sent) in row.sent.items():
        last, count = recorded.get(name, (None, 0))
        if step == last and sent < count:
            late.add(name)
    if late:
        row.sent = {name: sent for name, sent in row.sent.items() if name not in late}


def _description(job: JobRow) -> Description:
    tags = {
        "llmops.job_type": job.job_type,
        "llmops.team": job.team,
        "llmops.output_model": job.output_model_name,
        "llmops.output_version": job.output_version,
        "llmops.dataset_id": str(job.dataset_id),
        "llmops.dataset_digest": job.dataset_digest,
        "llmops.model_id": str(job.model_id) if job.model_id else "",
        "llmops.recipe_digest": job.recipe_digest,
    }
    return Description(
        job_id=str(job.id),
        experiment=f"llmops/{job.output_model_name}",
        name=f"{job.output_model_name} {job.output_version}",
        user=job.requested_by,
        started_at=job.started_at or job.requested_at,
        params=tuple((key, str(value)) for key, value in flat(job.recipe)),
        tags=tuple((key, value) for key, value in tags.items() if value),
    )
