"""Where the checkpoints of a training job lie, and which of them nobody will go on from."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import select

from llmops_resources.database import Transaction
from llmops_resources.training.tables import JobRow
from llmops_resources.values import utc_now
from llmops_resources.work import WorkStatus

ROOT: Final = "checkpoints"
KEPT: Final = 2  # the newest ones; an older one serves when the newest turns out to be damaged


def folder(job_id: UUID) -> str:
    """The folder of a job's checkpoints; a checkpoint is a published folder in it, named by its step."""
    return f"{ROOT}/{job_id}"


def expired(tx: Transaction, job_ids: Iterable[UUID], age: timedelta) -> list[UUID]:
    """Those of the jobs that need no checkpoint any more: done, gone, or left alone for `age` since they ended."""
    wanted = list(job_ids)
    query = select(JobRow.id, JobRow.status, JobRow.finished_at).where(JobRow.id.in_(wanted))
    needed = {
        job_id
        for job_id, status, finished in tx.session.execute(query)
        if status != WorkStatus.SUCCEEDED and (finished is None or finished > utc_now() - age)
    }
    return [job_id for job_id in wanted if job_id not in needed]
