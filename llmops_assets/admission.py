"""What to do with the rows that need a run: a pure function of the rows, their runs and what can be launched."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from llmops_resources.work import WorkItem, WorkStatus

#: Seconds after which a run that was created but has not claimed its row is given up, on one machine.
NEVER_BEGAN: Final = 60.0
#: Runs at the same time on one machine, a room; what training may start is decided by its queue (`training.queueing`).
CONCURRENT: Final[Mapping[str, int | None]] = {
    "checks": 2, "comparisons": 1, "imports": 1, "training": None, "evaluation": 1, "serving": 4,
}  # fmt: skip


class RunPhase(StrEnum):
    """Where a Dagster run stands, as far as its row is concerned."""

    CREATED = "created"
    WAITING = "waiting"
    UNDER_WAY = "under_way"
    ENDED = "ended"


@dataclass(frozen=True)
class RunView:
    """The run that was made for a run key; `age` is seconds since it was created."""

    run_id: str
    phase: RunPhase
    age: float


class Verb(StrEnum):
    LAUNCH = "launch"
    GIVE_UP = "give_up"
    WAIT = "wait"


@dataclass(frozen=True)
class Step:
    """What to do about one row, and why. `run_id` is a run that died with it."""

    verb: Verb
    item: WorkItem
    reason: str
    run_id: str | None = None


def admit(
    items: Iterable[WorkItem],
    runs: Mapping[str, RunView],
    known: frozenset[tuple[str, ...]],
    *,
    limit: int | None,
    never_began: float = NEVER_BEGAN,
) -> list[Step]:
    """One step a row, in the order of the queue; at most `limit` rows are under way at any time (None: any number).

    A run that was created but never started is launched again under the same key, which Dagster takes as the same
    run. A row whose run ended before it claimed the row, or whose process died while it held it, is given up; the
    caller puts it back under its next attempt.
    """
    steps = [_step(item, runs.get(item.run_key), known, never_began) for item in items]
    under_way = sum(
        1 for step in steps if step.verb is Verb.WAIT and (step.item.status is WorkStatus.RUNNING or step.run_id)
    )
    admitted = []
    for step in steps:
        if step.verb is Verb.LAUNCH:
            if limit is not None and under_way >= limit:
                admitted.append(Step(Verb.WAIT, step.item, f"{limit} others are under way"))
                continue
            under_way += 1
        admitted.append(step)
    return admitted


def _step(item: WorkItem, run: RunView | None, known: frozenset[tuple[str, ...]], never_began: float) -> Step:
    if item.dead:
        return Step(Verb.GIVE_UP, item, "its process died", item.run_id)
    if item.status is WorkStatus.RUNNING:
        return Step(Verb.WAIT, item, "it is under way", item.run_id)
    if run is None or run.phase is RunPhase.CREATED:
        there = item.asset_key in known
        return Step(Verb.LAUNCH if there else Verb.WAIT, item, "it is queued" if there else "its asset is new")
    if run.phase is RunPhase.ENDED:
        return Step(Verb.GIVE_UP, item, "its run ended before it began to work", run.run_id)
    if run.phase is RunPhase.UNDER_WAY and run.age > never_began:
        return Step(Verb.GIVE_UP, item, "its run never began to work", run.run_id)
    return Step(Verb.WAIT, item, "its run is starting", run.run_id)
