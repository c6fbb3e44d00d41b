"""Evaluations on a schedule: asked for once a due time, when something changed, whatever passed unseen."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.database import Actor
from llmops_resources.errors import ValidationFailed
from llmops_resources.evaluation import runs, schedules
from llmops_resources.platform import Platform
from tests.api.conftest import api as api  # noqa: PLC0414  fixtures
from tests.api.conftest import llmops as llmops  # noqa: PLC0414
from tests.api.shell import Shell
from tests.factories import approve, approved, uploaded

SYSTEM = Actor("system:intake")
DAILY = {"model": "tiny", "benchmark": "facts", "cron": "0 3 * * *", "metrics": ["f1"]}


@pytest.fixture(autouse=True)
def entries(platform: Platform) -> None:
    approved(platform, Kind.DATASET, "facts")
    uploaded(platform, Kind.MODEL, "tiny")


def scheduled(api: httpx.Client, **more: Any) -> Any:
    answer = api.post("/evaluation/schedules", json={**DAILY, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def due(platform: Platform, moment: datetime) -> list[UUID]:
    with platform.transaction(SYSTEM) as tx:
        return schedules.request_due(tx, moment)


def after(schedule: Any, **more: float) -> datetime:
    return datetime.fromisoformat(schedule["nextDueAt"]) + timedelta(**more)


def only(api: httpx.Client) -> Any:
    (found,) = api.get("/evaluation/schedules").json()["data"]
    return found


def test_an_evaluation_is_asked_for_once_when_it_is_due_and_not_before(platform: Platform, api: httpx.Client) -> None:
    made = scheduled(api)
    assert due(platform, after(made, seconds=-1)) == []
    (run,) = due(platform, after(made))
    assert due(platform, after(made, minutes=5)) == []
    now = only(api)
    assert (now["lastRunId"], now["lastOutcome"]) == (str(run), "requested")
    assert after(now) - after(made) == timedelta(days=1)
    with platform.transaction(SYSTEM) as tx:
        assert [metric.value for metric in runs.get(tx, run).suite.metrics] == ["f1"]


def test_times_that_passed_unseen_count_as_one_and_nothing_unchanged_is_evaluated_again(
    platform: Platform, api: httpx.Client
) -> None:
    made = scheduled(api)
    assert len(due(platform, after(made, days=20))) == 1
    assert due(platform, after(only(api))) == []
    assert only(api)["lastOutcome"].startswith("nothing changed since evaluation")
    newer = uploaded(platform, Kind.MODEL, "tiny", version="2")
    approve(platform, newer.id)
    (run,) = due(platform, after(only(api)))
    with platform.transaction(SYSTEM) as tx:
        assert runs.get(tx, run).model_version == "2"


def test_a_schedule_that_always_evaluates_does_so_without_a_change(platform: Platform, api: httpx.Client) -> None:
    scheduled(api, always=True)
    runs_ = [due(platform, after(only(api))) for _ in range(3)]
    assert [len(each) for each in runs_] == [1, 1, 1]


def test_a_paused_schedule_rests_and_goes_on_without_making_up_for_what_it_missed(
    platform: Platform, api: httpx.Client
) -> None:
    made = scheduled(api)
    path = f"/evaluation/schedules/{made['id']}"
    assert api.patch(path, json={"paused": True}).json()["data"]["paused"]
    assert due(platform, after(made, days=9)) == []
    resumed = api.patch(path, json={"paused": False}).json()["data"]
    assert after(resumed) > datetime.now(UTC)
    assert api.delete(path).status_code == 200
    assert api.get("/evaluation/schedules").json()["data"] == []
    assert api.delete(path).status_code == 404


def test_what_cannot_be_evaluated_is_said_and_the_schedule_goes_on(platform: Platform, api: httpx.Client) -> None:
    uploaded(platform, Kind.DATASET, "draft")
    scheduled(api, benchmark="draft")
    assert due(platform, after(only(api))) == []
    assert only(api)["lastOutcome"] == "draft has no approved version"


def test_every_wrong_field_of_a_schedule_is_named(api: httpx.Client) -> None:
    wrong = {**DAILY, "model": "nobody", "benchmark": "nothing", "cron": "every day", "timezone": "Mars/Base"}
    refused = api.post("/evaluation/schedules", json=wrong)
    assert refused.status_code == 422
    assert [problem["path"] for problem in refused.json()["data"]["errors"]] == [
        "model", "benchmark", "timezone", "cron",
    ]  # fmt: skip
    viewer = {"X-User-Id": "vic", "X-User-Roles": "viewer"}
    assert api.post("/evaluation/schedules", json=DAILY, headers=viewer).status_code == 403


def test_schedules_are_kept_by_command(llmops: Shell) -> None:
    made = llmops.json("schedules", "create", "tiny", "facts", "30 4 * * 1", "--timezone", "Asia/Seoul")
    assert datetime.fromisoformat(made["nextDueAt"]).astimezone(UTC).strftime("%a %H:%M") == "Sun 19:30"
    assert "30 4 * * 1 Asia/Seoul" in llmops("schedules", "list")
    llmops("schedules", "pause", made["id"])
    assert "paused" in llmops("schedules", "list")
    llmops("schedules", "resume", made["id"])
    llmops("schedules", "delete", made["id"])
    assert llmops.json("schedules", "list") == []


@given(st.text(max_size=30))
def test_no_text_breaks_the_reading_of_times(cron: str) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with suppress(ValidationFailed):
        assert schedules.next_due(cron, "UTC", start) > start


@pytest.mark.parametrize("never", ["0 0 30 2 *", "61 * * * *", "* * * *", "* * * * * *", "@daily"])
def test_times_that_never_come_are_refused(never: str) -> None:
    with pytest.raises(ValidationFailed):
        schedules.next_due(never, "UTC", datetime(2026, 1, 1, tzinfo=UTC))
