"""What the outside is told of a job: OpenLineage of every run, the training webhook of what was asked for."""

from llmops_resources.catalog import lineage_events, outbox, versions
from llmops_resources.catalog.lineage_events import Phase
from llmops_resources.catalog.outbox import Channel
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Transaction
from llmops_resources.training.profile import Notifications
from llmops_resources.training.tables import JobRow
from llmops_resources.values import utc_now


def tell(
    tx: Transaction, row: JobRow, phase: Phase, *, made: Version | None = None, error: str | None = None
) -> None:
    """Put the messages of one move into the outbox; they leave when the transaction commits."""
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
    notify(tx, row, started=phase is Phase.START, error=error)


def notify(tx: Transaction, row: JobRow, *, started: bool, error: str | None = None) -> None:
    """Tell the training webhook that the job started or ended, if whoever submitted it asked for that."""
    wanted = Notifications.model_validate(row.notifications)
    if not (wanted.on_start if started else wanted.on_completion):
        return
    body = {
        "event": "training.started" if started else f"training.{row.status}",
        "at": utc_now().isoformat(),
        "job": {
            "id": str(row.id),
            "jobType": row.job_type,
            "team": row.team,
            "submittedBy": row.requested_by,
            "attempt": row.attempt,
            "status": row.status,
            "failure": row.failure,
            "outputModelName": row.output_model_name,
            "outputVersion": row.output_version,
            "path": f"/training/jobs/{row.id}",
        },
        "error": error,
    }
    outbox.put(tx, Channel.TRAINING, body)
