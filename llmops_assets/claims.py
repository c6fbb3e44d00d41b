"""From a Dagster run to a claimed row, and back: the frame around every asset's work.

A run launched by the intake carries the row's run key as a tag. A run started by hand (the UI's button, a shell, CI)
carries none: then a row is made from the entry's standing recipe and claimed in the same transaction, so that the
intake never sees it waiting. Work happens outside any transaction, under the row's lease.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar
from uuid import UUID

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError

from llmops_resources.database import Actor, Transaction
from llmops_resources.errors import PlatformError
from llmops_resources.platform import Platform
from llmops_resources.work import WorkItem, WorkStatus

WORK_TAG: Final = "llmops/work"
ROOM_TAG: Final = "llmops/room"
ACTOR: Final = Actor("system:dagster")
_COPIED: Final = "dagster/parent_run_id"  # a re-execution carries its parent's tags, but the parent's row is done

Task_co = TypeVar("Task_co", covariant=True)


class Room(Protocol[Task_co]):
    """The verbs that every room with work has; a room's module is one."""

    ROOM: str

    def active(self, tx: Transaction, /) -> list[WorkItem]:
        """Rows that still need a run."""

    def claim(self, tx: Transaction, row_id: UUID, /, *, attempt: int, run_id: str) -> Task_co:
        """Take a row under its lease."""

    def fail(self, tx: Transaction, row_id: UUID, error: str, /, *, run_id: str | None = None) -> None:
        """The work could not be done."""

    def retry_dead(self, tx: Transaction, row_id: UUID, /, *, attempt: int, reason: str) -> bool:
        """Put a row whose process died back into the queue."""


class Cancelled(Exception):
    """Somebody asked for the work to stop, and it stopped."""


@dataclass(frozen=True)
class Ask:
    """A row and the attempt to claim it under."""

    row_id: UUID
    attempt: int = 1

    @property
    def key(self) -> str:
        """The run key, as the intake spells it."""
        return f"{self.row_id}:{self.attempt}"


def has_row(context: dg.AssetExecutionContext) -> bool:
    """Whether the intake launched this run for a row; by hand or as a copy of a run, it needs one of its own."""
    return WORK_TAG in context.run.tags and _COPIED not in context.run.tags


@contextmanager
def claimed(
    context: dg.AssetExecutionContext,
    room: Room[Task_co],
    standing: Callable[[Transaction], Ask],
    *,
    cancelled: Callable[[Transaction, UUID], None] | None = None,
    failed: Callable[[Transaction, UUID, str, BaseException], None] | None = None,
) -> Iterator[Task_co]:
    """Hold the lease of this run's row and hand over the claimed task; on an error the row says why.

    `standing` makes a row from the standing recipe, `cancelled` marks a row that was stopped (default: as failed), and
    `failed` one whose work raised (default: the room's `fail`); it gets the run's id and the error.
    Raises dagster.Failure instead of a platform error, with the remedy.
    """
    platform: Platform = context.resources.platform
    with ExitStack() as stack:
        try:
            ask, task = _claim(context, platform, room, standing, stack)
        except PlatformError as error:
            raise dg.Failure(error.told, allow_retries=False) from error
        context.log.info("working on %s row %s, attempt %s", room.ROOM, ask.row_id, ask.attempt)
        try:
            yield task
        except Cancelled as error:
            with platform.transaction(ACTOR) as tx:
                cancelled(tx, ask.row_id) if cancelled else room.fail(tx, ask.row_id, "it was cancelled")
            raise dg.Failure("the work was cancelled", allow_retries=False) from error
        except PlatformError as error:
            _record(context, platform, room, ask.row_id, error, failed)
            raise dg.Failure(error.told, allow_retries=False) from error
        except DagsterExecutionInterruptedError:
            _interrupted(context, platform, room, ask.row_id, cancelled)
            raise
        except BaseException as error:
            _record(context, platform, room, ask.row_id, error, failed)
            raise


def _claim(
    context: dg.AssetExecutionContext,
    platform: Platform,
    room: Room[Task_co],
    standing: Callable[[Transaction], Ask],
    stack: ExitStack,
) -> tuple[Ask, Task_co]:
    if not has_row(context):
        with platform.transaction(ACTOR) as tx:
            ask = standing(tx)
            stack.enter_context(platform.lease(ask.row_id))
            return ask, room.claim(tx, ask.row_id, attempt=ask.attempt, run_id=context.run.run_id)
    row_id, _, attempt = context.run.tags[WORK_TAG].rpartition(":")
    ask = Ask(UUID(row_id), int(attempt))
    stack.enter_context(platform.lease(ask.row_id))
    try:
        with platform.transaction(ACTOR) as tx:
            return ask, room.claim(tx, ask.row_id, attempt=ask.attempt, run_id=context.run.run_id)
    except PlatformError as error:
        _refuse(platform, room, ask, error.told)
        raise


def _refuse(platform: Platform, room: Room[Task_co], ask: Ask, reason: str) -> None:
    """A row that cannot be claimed, because an input lost its approval, will not get better by trying again."""
    with platform.transaction(ACTOR) as tx:
        mine = [item for item in room.active(tx) if item.run_key == ask.key]
        if mine and mine[0].status is WorkStatus.QUEUED:
            room.fail(tx, ask.row_id, reason)


def _interrupted(
    context: dg.AssetExecutionContext,
    platform: Platform,
    room: Room[Task_co],
    row_id: UUID,
    cancelled: Callable[[Transaction, UUID], None] | None,
) -> None:
    """Ended from Dagster's UI, the work is cancelled; ended because the machine stops, the intake puts it back."""
    run = context.instance.get_run_by_id(context.run.run_id)
    if run is None or run.status is not dg.DagsterRunStatus.CANCELING:
        return
    with platform.transaction(ACTOR) as tx:
        cancelled(tx, row_id) if cancelled else room.fail(tx, row_id, "its run was terminated in Dagster")


def _record(
    context: dg.AssetExecutionContext,
    platform: Platform,
    room: Room[Task_co],
    row_id: UUID,
    error: BaseException,
    failed: Callable[[Transaction, UUID, str, BaseException], None] | None,
) -> None:
    """Write the failure down. When even that fails, the lease falls and the intake puts the row back."""
    try:
        with platform.transaction(ACTOR) as tx:
            if failed is not None:
                failed(tx, row_id, context.run.run_id, error)
                return
            reason = error.told if isinstance(error, PlatformError) else f"{type(error).__name__}: {error}"
            room.fail(tx, row_id, reason, run_id=context.run.run_id)
    except PlatformError as refused:
        context.log.warning("the failure could not be recorded: %s", refused)
