"""Admission: exactly one launch a row, dead work given up, and never more at once than allowed."""

from datetime import UTC, datetime
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from llmops_assets.admission import NEVER_BEGAN, RunPhase, RunView, Verb, admit
from llmops_resources.work import WorkItem, WorkStatus

KEY = ("models", "tiny")
KNOWN = frozenset({KEY})


def _item(status: WorkStatus = WorkStatus.QUEUED, *, dead: bool = False, key: tuple[str, ...] = KEY) -> WorkItem:
    row_id = uuid4()
    return WorkItem(
        id=row_id,
        room="training",
        asset_key=key,
        status=status,
        attempt=1,
        run_key=f"{row_id}:1",
        run_id="run" if status is WorkStatus.RUNNING else None,
        queued_at=datetime.now(UTC),
        cancel_requested=False,
        dead=dead,
    )


def _one(item: WorkItem, run: RunView | None = None) -> Verb:
    (step,) = admit([item], {item.run_key: run} if run else {}, KNOWN, limit=4)
    return step.verb


def test_a_queued_row_without_a_run_is_launched() -> None:
    assert _one(_item()) is Verb.LAUNCH


def test_a_row_for_an_asset_that_is_not_loaded_waits() -> None:
    assert _one(_item(key=("models", "new"))) is Verb.WAIT


def test_a_run_that_was_created_but_never_launched_is_launched_under_the_same_key() -> None:
    assert _one(_item(), RunView("run", RunPhase.CREATED, age=3600)) is Verb.LAUNCH


def test_a_run_on_its_way_is_not_launched_a_second_time() -> None:
    assert _one(_item(), RunView("run", RunPhase.UNDER_WAY, age=1)) is Verb.WAIT
    assert _one(_item(), RunView("run", RunPhase.WAITING, age=3600)) is Verb.WAIT


def test_a_row_whose_run_ended_before_claiming_it_is_given_up() -> None:
    assert _one(_item(), RunView("run", RunPhase.ENDED, age=1)) is Verb.GIVE_UP


def test_a_run_that_never_claims_its_row_is_given_up_after_a_while() -> None:
    assert _one(_item(), RunView("run", RunPhase.UNDER_WAY, age=NEVER_BEGAN + 1)) is Verb.GIVE_UP


def test_a_running_row_whose_process_died_is_given_up_and_a_living_one_is_left_alone() -> None:
    assert _one(_item(WorkStatus.RUNNING, dead=True)) is Verb.GIVE_UP
    assert _one(_item(WorkStatus.RUNNING)) is Verb.WAIT


_phases = st.one_of(st.none(), st.sampled_from(list(RunPhase)))
_rows = st.lists(
    st.tuples(st.sampled_from([WorkStatus.QUEUED, WorkStatus.RUNNING]), st.booleans(), _phases, st.floats(0, 200)),
    max_size=12,
)


@given(_rows, st.integers(1, 4))
def test_launching_never_takes_a_room_over_its_limit(
    rows: list[tuple[WorkStatus, bool, RunPhase | None, float]], limit: int
) -> None:
    items = [_item(status, dead=dead and status is WorkStatus.RUNNING) for status, dead, _, _ in rows]
    runs = {
        item.run_key: RunView("run", phase, age)
        for item, (status, _, phase, age) in zip(items, rows, strict=True)
        if phase is not None and status is WorkStatus.QUEUED
    }
    steps = admit(items, runs, KNOWN, limit=limit)
    launched = [step for step in steps if step.verb is Verb.LAUNCH]
    alive = [step for step in steps if step.verb is Verb.WAIT and step.run_id is not None]
    assert [step.item for step in steps] == items
    assert len(launched) <= max(0, limit - len(alive))


@given(st.lists(st.booleans(), min_size=1, max_size=6))
def test_looking_again_after_a_launch_never_launches_the_same_attempt_twice(looks: list[bool]) -> None:
    item, runs, launches = _item(), {}, 0
    for started in looks:
        (step,) = admit([item], runs, KNOWN, limit=1)
        if step.verb is Verb.LAUNCH and item.run_key not in runs:
            launches += 1
        phase = RunPhase.UNDER_WAY if started else RunPhase.CREATED
        runs = {item.run_key: RunView("run", phase, age=0)}
    assert launches == 1
