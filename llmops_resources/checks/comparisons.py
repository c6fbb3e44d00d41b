"""Comparisons as work: asked for once for two versions and a key, kept with their result.

Small versions are compared while the request waits and recorded as done; larger ones are claimed by a run. Versions
never change, so a comparison that succeeded stays true, and asking again answers with it.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from llmops_resources import work
from llmops_resources.catalog import versions
from llmops_resources.catalog.deletion import Blocker
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.versions import Version
from llmops_resources.checks import validations
from llmops_resources.checks.deltas import ReportDelta, report_delta
from llmops_resources.checks.diff import PROTOCOL, Diff, DiffOptions
from llmops_resources.checks.tables import ComparisonRow
from llmops_resources.database import Transaction
from llmops_resources.errors import InvalidInput, NotFound
from llmops_resources.values import Value, sha256_of
from llmops_resources.work import WorkItem, WorkState

ROOM = "comparisons"
_USABLE = (*work.ACTIVE, work.WorkStatus.SUCCEEDED)
_AT_ONCE = "at-once"  # stands where a Dagster run's id does, for a comparison made while its request waited


class ComparedVersion(Value):
    """One side of a comparison."""

    id: UUID
    name: str
    version: str
    digest: str


class Comparison(Value):
    """A comparison that was asked for."""

    id: UUID
    older: ComparedVersion
    newer: ComparedVersion
    options: DiffOptions
    state: WorkState


class FinishedComparison(Comparison):
    """A comparison with its result, once there is one, and with what the two newest validation reports say."""

    result: Diff | None
    reports: ReportDelta


class ComparisonTask(Value):
    """What the run that claimed a comparison needs."""

    id: UUID
    older: Version
    newer: Version
    options: DiffOptions


def request(
    tx: Transaction, newer_id: UUID, older_id: UUID, options: DiffOptions, *, result: Diff | None = None
) -> Comparison:
    """Ask for two data sets to be compared; a comparison that was asked for before is returned.

    With `result` it was made already, and is recorded as done. Raises InvalidInput for a version and itself, Conflict
    while one of them has no files.
    """
    older, newer = sides(tx, newer_id, older_id)
    if (known := find(tx, newer_id, older_id, options)) is not None:
        return known
    row = ComparisonRow(
        older_id=older.id,
        newer_id=newer.id,
        options=options.json_dict(),
        options_digest=_digest(options),
        requested_by=tx.actor.id,
    )
    if result is not None:
        row.status, row.attempt = work.WorkStatus.QUEUED, 1
        work.claim(row, attempt=1, run_id=_AT_ONCE)
        work.succeed(row, run_id=_AT_ONCE)
        row.result = result.json_dict()
    try:
        with tx.session.begin_nested():
            tx.session.add(row)
    except IntegrityError:  # somebody else asked at the same moment
        return request(tx, newer_id, older_id, options)
    tx.audit("comparison.request", "dataset", newer.id, comparison=str(row.id), older=str(older.id))
    return _value(tx, row)


def sides(tx: Transaction, newer_id: UUID, older_id: UUID) -> tuple[Version, Version]:
    """The older and the newer version. Raises NotFound, InvalidInput for one and the same, Conflict without files."""
    newer, older = (versions.get(tx, side, Kind.DATASET) for side in (newer_id, older_id))
    if newer.id == older.id:
        raise InvalidInput("a version cannot be compared with itself", remedy="Choose another version.")
    _ = older.manifest, newer.manifest
    return older, newer


def find(tx: Transaction, newer_id: UUID, older_id: UUID, options: DiffOptions) -> Comparison | None:
    """The comparison that is under way or done, if it was asked for."""
    wanted = {"newer_id": newer_id, "older_id": older_id, "options_digest": _digest(options)}
    row = tx.session.scalar(select(ComparisonRow).filter_by(**wanted).where(ComparisonRow.status.in_(_USABLE)))
    return _value(tx, row) if row else None


def get(tx: Transaction, dataset_id: UUID, comparison_id: UUID) -> FinishedComparison:
    """One comparison of a data set, whichever side it is. Raises NotFound."""
    row = work.read(tx, ComparisonRow, comparison_id, "comparison")
    if dataset_id not in {row.newer_id, row.older_id}:
        raise NotFound(f"there is no comparison {comparison_id} of this data set", remedy="Ask for one first.")
    found = _value(tx, row)
    older, newer = (validations.newest_report(tx, side.id) for side in (found.older, found.newer))
    return FinishedComparison(
        **dict(found),
        result=Diff.model_validate(row.result) if row.result else None,
        reports=report_delta(older, newer),
    )


def names(tx: Transaction) -> list[str]:
    """Every data set name that a version was compared of, as the newer one; in alphabetical order."""
    label = versions.labels()
    query = select(label.c.name).join(ComparisonRow, ComparisonRow.newer_id == label.c.id).distinct()
    return sorted(tx.session.scalars(query))


def request_again(tx: Transaction, name: str) -> Comparison:
    """The standing recipe: the newest version of a name with the one before, by the key that was used last."""
    filled = [version for version in versions.of_name(tx, Kind.DATASET, name) if version.digest is not None]
    if len(filled) < 2:
        raise NotFound(f"{name} has no two versions with files", remedy="Upload another version first.")
    asked = select(ComparisonRow).where(ComparisonRow.newer_id.in_([version.id for version in filled]))
    last = tx.session.scalar(asked.order_by(ComparisonRow.requested_at.desc()).limit(1))
    options = DiffOptions.model_validate(last.options) if last else DiffOptions()
    return request(tx, filled[0].id, filled[1].id, options)


def active(tx: Transaction) -> list[WorkItem]:
    """Comparisons that still need a run."""
    query = select(ComparisonRow).where(ComparisonRow.status.in_(work.ACTIVE)).order_by(ComparisonRow.queued_at)
    return [
        work.item(tx, row, ROOM, ("comparisons", versions.remembered(tx, row.newer_id).name))
        for row in tx.session.scalars(query)
    ]


def claim(tx: Transaction, comparison_id: UUID, *, attempt: int, run_id: str) -> ComparisonTask:
    """Take the comparison for a run that holds its lease."""
    row = work.load(tx, ComparisonRow, comparison_id, "comparison")
    work.claim(row, attempt=attempt, run_id=run_id)
    older, newer = sides(tx, row.newer_id, row.older_id)
    tx.audit("comparison.start", "dataset", row.newer_id, comparison=str(row.id), run=run_id)
    return ComparisonTask(id=row.id, older=older, newer=newer, options=DiffOptions.model_validate(row.options))


def finish(tx: Transaction, comparison_id: UUID, result: Diff, *, run_id: str) -> Comparison:
    """Keep the result."""
    row = work.load(tx, ComparisonRow, comparison_id, "comparison")
    work.succeed(row, run_id=run_id)
    row.result = result.json_dict()
    tx.audit("comparison.finish", "dataset", row.newer_id, comparison=str(row.id), rows=result.rows.json_dict())
    return _value(tx, row)


def fail(tx: Transaction, comparison_id: UUID, error: str, *, run_id: str | None = None) -> None:
    """The comparison could not be made; it may be asked for again."""
    row = work.load(tx, ComparisonRow, comparison_id, "comparison")
    if run_id is not None:
        work.check_run(row, run_id)
    work.fail(row, error)
    tx.audit("comparison.fail", "dataset", row.newer_id, comparison=str(row.id), error=error[:500])


def retry_dead(tx: Transaction, comparison_id: UUID, *, attempt: int, reason: str) -> bool:
    """Put a comparison whose process died back into the queue."""
    row = work.load(tx, ComparisonRow, comparison_id, "comparison")
    again = work.retry_dead(row, attempt=attempt, reason=reason)
    tx.audit("comparison.retry", "dataset", row.newer_id, comparison=str(row.id), attempt=row.attempt, reason=reason)
    return again


def blockers(tx: Transaction, version_id: UUID) -> list[Blocker]:
    """The comparisons that still read a version's files."""
    side = (ComparisonRow.older_id == version_id) | (ComparisonRow.newer_id == version_id)
    rows = tx.session.scalars(select(ComparisonRow).where(ComparisonRow.status.in_(work.ACTIVE), side))
    remedy = "Wait for it to finish."
    return [
        Blocker(type="comparison", id=row.id, name="a comparison", reason=f"is {row.status}", remedy=remedy)
        for row in rows
    ]


def forget(tx: Transaction, version_id: UUID) -> int:
    """Remove what was compared with a version that is being deleted: results hold some of its rows."""
    side = (ComparisonRow.older_id == version_id) | (ComparisonRow.newer_id == version_id)
    gone = tx.session.scalars(delete(ComparisonRow).where(side).returning(ComparisonRow.id)).all()
    if gone:
        tx.audit("comparison.forget", "dataset", version_id, comparisons=[str(row) for row in gone])
    return len(gone)


def _digest(options: DiffOptions) -> str:
    data: dict[str, Any] = options.json_dict()
    return sha256_of({**data, "protocol": PROTOCOL})


def _value(tx: Transaction, row: ComparisonRow) -> Comparison:
    older, newer = (_side(versions.remembered(tx, side)) for side in (row.older_id, row.newer_id))
    options = DiffOptions.model_validate(row.options)
    return Comparison(id=row.id, older=older, newer=newer, options=options, state=work.state(row))


def _side(version: Version) -> ComparedVersion:
    return ComparedVersion(
        id=version.id, name=version.name, version=version.version, digest=version.manifest.digest
    )
