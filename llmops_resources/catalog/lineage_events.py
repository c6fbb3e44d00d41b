"""What the rooms tell about their runs: which exact versions went in and came out, and how it ended.

The facts are written in our own words, in the transaction of the act; `openlineage` puts them into its words when
they are sent.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid5

from llmops_resources.catalog import outbox
from llmops_resources.catalog.outbox import Channel
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Transaction
from llmops_resources.values import Value, utc_now


class Phase(StrEnum):
    """How far a run is."""

    START = "START"
    COMPLETE = "COMPLETE"
    FAIL = "FAIL"
    ABORT = "ABORT"


class Artifact(Value):
    """Something a run reads or makes; `columns` are (name, type) pairs where they are known."""

    name: str
    version: str
    digest: str | None = None
    owner_team: str | None = None
    rows: int | None = None
    size_bytes: int | None = None
    files: int | None = None
    quality_score: float | None = None
    pii_status: str | None = None
    columns: tuple[tuple[str, str], ...] = ()


class RunFact(Value):
    """One event of one attempt at a piece of work."""

    phase: Phase
    at: str
    work: str
    job: str
    run_id: UUID
    inputs: tuple[Artifact, ...]
    outputs: tuple[Artifact, ...]
    error: str | None


def tell(
    tx: Transaction,
    phase: Phase,
    *,
    work: str,
    job: str,
    row_id: UUID,
    attempt: int,
    inputs: Sequence[Artifact] = (),
    outputs: Sequence[Artifact] = (),
    error: str | None = None,
) -> None:
    """Tell what became of a run; every attempt at a row is a run of its own. Nobody listening, nothing is written."""
    fact = RunFact(
        phase=phase,
        at=utc_now().isoformat(),
        work=work,
        job=job,
        run_id=uuid5(row_id, str(attempt)),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        error=error[:2000] if error else None,
    )
    outbox.put(tx, Channel.OPENLINEAGE, fact.json_dict())


def artifact(version: Version, columns: Sequence[tuple[str, str]] = ()) -> Artifact:
    """A version as an input or output."""
    declared: list[dict[str, Any]] = (version.expected_schema or {}).get("columns", [])
    return Artifact(
        name=f"{version.kind}s/{version.name}",
        version=version.version,
        digest=version.digest,
        owner_team=version.owner_team,
        rows=version.row_count,
        size_bytes=version.size_bytes,
        files=len(version.files),
        quality_score=version.quality_score,
        pii_status=version.pii_status,
        columns=tuple(columns) or tuple((column["name"], str(column["type"])) for column in declared),
    )
