"""What reviewers and their tools are told: reviews that wait, decisions, recalls."""

from typing import Any

from llmops_resources.catalog import outbox
from llmops_resources.catalog.outbox import Channel
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Transaction
from llmops_resources.values import utc_now


def tell(tx: Transaction, event: str, version: Version, **details: Any) -> None:
    """Tell the review hook that something happened to a version; with no hook set, nobody."""
    body = {
        "event": event,
        "at": utc_now().isoformat(),
        "actorId": tx.actor.id,
        "version": {
            "id": str(version.id),
            "kind": version.kind,
            "name": version.name,
            "version": version.version,
            "status": version.status,
            "ownerTeam": version.owner_team,
            "submittedBy": version.submitted_by,
            "digest": version.digest,
            "path": f"/catalog/{version.kind}s/{version.id}",
        },
        **details,
    }
    outbox.put(tx, Channel.REVIEWS, body)
