"""Work rows: exactly one run an attempt, a lease that dies with its process, and no half state."""

import os
import signal
import subprocess
import sys
import time
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_resources import work
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.checks import validations
from llmops_resources.checks.tables import ValidationRow
from llmops_resources.database import Actor
from llmops_resources.errors import Conflict
from llmops_resources.platform import Platform
from llmops_resources.work import MAX_ATTEMPTS, WorkStatus
from tests.factories import uploaded

HOLDER = """
import sys, time
from uuid import UUID
from llmops_resources import database, work
with work.lease(database.connect(sys.argv[1]), UUID(sys.argv[2])):
    print("held", flush=True)
    time.sleep(60)
"""


def _requested(platform: Platform, admin: Actor) -> UUID:
    dataset = uploaded(platform, Kind.DATASET, "numbers")
    with platform.transaction(admin) as tx:
        return validations.request(tx, dataset.id).id


def test_asking_twice_while_work_is_queued_gives_the_same_work(platform: Platform, admin: Actor) -> None:
    dataset = uploaded(platform, Kind.DATASET, "numbers")
    with platform.transaction(admin) as tx:
        assert validations.request(tx, dataset.id).id == validations.request(tx, dataset.id).id


def test_an_attempt_can_be_claimed_once(platform: Platform, admin: Actor) -> None:
    row_id = _requested(platform, admin)
    with platform.transaction(admin) as tx:
        validations.claim(tx, row_id, attempt=1, run_id="first")
    with pytest.raises(Conflict), platform.transaction(admin) as tx:
        validations.claim(tx, row_id, attempt=1, run_id="second")


def test_a_late_run_of_an_abandoned_attempt_is_refused(platform: Platform, admin: Actor) -> None:
    row_id = _requested(platform, admin)
    with platform.transaction(admin) as tx:
        assert validations.retry_dead(tx, row_id, attempt=1, reason="its run died")
    with pytest.raises(Conflict, match="attempt 2 is current"), platform.transaction(admin) as tx:
        validations.claim(tx, row_id, attempt=1, run_id="late")


def test_retrying_the_same_death_twice_counts_once(platform: Platform, admin: Actor) -> None:
    row_id = _requested(platform, admin)
    for _ in range(2):
        with platform.transaction(admin) as tx:
            validations.retry_dead(tx, row_id, attempt=1, reason="its run died")
    with platform.transaction(admin) as tx:
        assert work.read(tx, ValidationRow, row_id, "validation").attempt == 2


def test_work_that_keeps_dying_fails_with_the_reason(platform: Platform, admin: Actor) -> None:
    row_id = _requested(platform, admin)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        with platform.transaction(admin) as tx:
            validations.retry_dead(tx, row_id, attempt=attempt, reason="its run died")
    with platform.transaction(admin) as tx:
        row = work.read(tx, ValidationRow, row_id, "validation")
        assert row.status == WorkStatus.FAILED
        assert "given up after 3 attempts" in (row.error or "")


def test_a_lease_held_by_one_process_is_refused_to_another(platform: Platform, admin: Actor) -> None:
    row_id = _requested(platform, admin)
    with platform.lease(row_id), pytest.raises(Conflict, match="another process"), platform.lease(row_id):
        pass
    with platform.lease(row_id):
        pass


def test_a_killed_process_loses_its_lease_and_its_work_is_seen_as_dead(platform: Platform, admin: Actor) -> None:
    row_id = _requested(platform, admin)
    url = str(platform.settings.database_url)
    process = subprocess.Popen([sys.executable, "-c", HOLDER, url, str(row_id)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "held"
    with platform.transaction(admin) as tx:
        validations.claim(tx, row_id, attempt=1, run_id="run")
    with platform.transaction(admin) as tx:
        assert [item.dead for item in validations.active(tx)] == [False]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    for _ in range(100):
        with platform.transaction(admin) as tx:
            if validations.active(tx)[0].dead:
                return
        time.sleep(0.05)
    pytest.fail("the server kept the lease of a dead process")


@given(st.lists(st.sampled_from(list(WorkStatus)), max_size=10))
def test_finished_work_never_moves_again(walk: list[WorkStatus]) -> None:
    row = ValidationRow(status=WorkStatus.QUEUED)
    finished: WorkStatus | None = None
    for step in walk:
        try:
            work.move(row, step)
        except Conflict:
            continue
        assert finished is None
        finished = step if step not in work.ACTIVE else None
    assert (row.finished_at is not None) == (finished is not None)


def test_looking_whether_work_is_dead_does_not_take_its_lease(platform: Platform, admin: Actor) -> None:
    row_id = _requested(platform, admin)
    with platform.transaction(admin) as tx:
        validations.claim(tx, row_id, attempt=1, run_id="run")
    with platform.transaction(admin) as tx:
        assert validations.active(tx)[0].dead
        with platform.lease(row_id):
            assert not validations.active(tx)[0].dead


def test_a_run_that_was_given_up_can_neither_finish_nor_fail_what_another_run_works_on(
    platform: Platform, admin: Actor
) -> None:
    row_id = _requested(platform, admin)
    with platform.transaction(admin) as tx:
        validations.claim(tx, row_id, attempt=1, run_id="first")
        validations.retry_dead(tx, row_id, attempt=1, reason="it seemed dead")
        validations.claim(tx, row_id, attempt=2, run_id="second")
    with pytest.raises(Conflict, match="given up"), platform.transaction(admin) as tx:
        validations.fail(tx, row_id, "too late", run_id="first")
    with platform.transaction(admin) as tx:
        validations.fail(tx, row_id, "in time", run_id="second")
