"""What people do to jobs that exist: cancel, reprioritise, retry."""

from uuid import UUID

from llmops_resources import work
from llmops_resources.catalog import approvals
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict
from llmops_resources.governance.permissions import Permission, may, require
from llmops_resources.training.jobs import Job, value
from llmops_resources.training.submission import next_output_version
from llmops_resources.training.tables import JobRow
from llmops_resources.training.telling import notify
from llmops_resources.values import utc_now
from llmops_resources.work import WorkStatus


def cancel(tx: Transaction, job_id: UUID | str) -> Job:
    """Ask for a queued or running job to stop. Raises Conflict for a finished one."""
    row = work.load(tx, JobRow, job_id, "training job")
    work.cancel(row)
    tx.audit("training.cancel", "training_job", row.id)
    if row.status == WorkStatus.CANCELLED:
        notify(tx, row, started=False)
    return value(row)


def reprioritise(tx: Transaction, job_id: UUID | str, priority: int) -> Job:
    """Give a queued job another priority; it keeps the time it has waited. Raises Conflict for any other job.

    Everybody may bring their own job to normal or below; anything else needs the permission for it (Forbidden).
    """
    row = work.load(tx, JobRow, job_id, "training job")
    if priority > 0 or row.requested_by != tx.actor.id:
        require(tx.actor, Permission.TRAINING_PRIORITIZE)
    if row.status != WorkStatus.QUEUED:
        raise Conflict(f"a job that is {row.status} has no place in the queue", remedy="Only queued jobs have one.")
    before, row.priority = row.priority, priority
    tx.audit("training.prioritize", "training_job", row.id, before=before, after=priority)
    return value(row)


def retry(tx: Transaction, job_id: UUID | str) -> Job:
    """Queue another attempt of a failed or cancelled job, at the end of the line; it goes on from its last checkpoint.

    What it is charged stays as it was submitted, and its retries are counted anew. Raises Conflict for a job in any
    other state, or when an input is no longer approved.
    """
    row = work.load(tx, JobRow, job_id, "training job")
    status, row.output_version = row.status, _free_version(tx, row)
    work.reopen(row, "it was asked for again")
    if approvals.approved_dataset(tx, row.dataset_id).digest != row.dataset_digest:
        raise Conflict("the data set changed after the job was submitted", remedy="Submit a new job.")
    if row.model_id and approvals.approved_model(tx, row.model_id).digest != row.model_digest:
        raise Conflict("the base model changed after the job was submitted", remedy="Submit a new job.")
    if row.priority > 0 and not may(tx.actor, Permission.TRAINING_PRIORITIZE):
        row.priority = 0
    row.first_attempt, row.waiting_since = row.attempt, utc_now()
    row.not_before = row.failure = None
    tx.audit("training.retry", "training_job", row.id, attempt=row.attempt, after=status, automatic=False)
    return value(row)


def _free_version(tx: Transaction, row: JobRow) -> str:
    """The number the job had, unless another job of the same name has taken it since."""
    free = next_output_version(tx, row.output_model_name)
    return row.output_version if int(free) <= int(row.output_version) else free
