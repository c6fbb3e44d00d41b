"""Events of training jobs through HTTP: what changed is told once, and no listener keeps anything from stopping."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from llmops_resources.catalog import versions
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.governance.keys import issue_job_token
from llmops_resources.platform import Platform
from llmops_resources.settings import Settings
from llmops_resources.training import jobs, queueing, watching
from llmops_resources.training.capacity import capacity_of
from serving_api.live import Live, News, Stream
from tests.api.conftest import running, serving
from tests.api.measuring import SYSTEM, measured, said, submitted
from tests.factories import approved

NOBODY = "00000000-0000-0000-0000-00000000000f"


class Event(NamedTuple):
    id: str
    data: dict[str, Any]


@pytest.fixture
def dataset(platform: Platform) -> versions.Version:
    return approved(platform, Kind.DATASET, "facts")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Room for two listeners, who hear every moment that the stream lives."""
    return settings.model_copy(update={"live_streams": 2, "live_heartbeat_seconds": 0.2})


@contextmanager
def listening(api: httpx.Client, path: str = "jobs/events", last: str | None = None) -> Iterator[Iterator[str]]:
    """The lines of a stream."""
    headers = {"Last-Event-ID": last} if last else {}
    with api.stream("GET", f"/training/{path}", headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield answer.iter_lines()


def events(lines: Iterator[str]) -> Iterator[Event]:
    fields: dict[str, str] = {}
    deadline = time.monotonic() + 60
    for line in lines:
        assert time.monotonic() < deadline, "the stream lives, and says nothing"
        name, _, value = line.partition(": ")
        if line:
            fields[name] = value
        elif "data" in fields:
            yield Event(fields["id"], json.loads(fields["data"]))
            fields = {}


def until(found: Iterator[Event], wanted: Callable[[Event], bool]) -> Event:
    """The first event that is wanted; fails where none comes."""
    for event in found:
        if wanted(event):
            return event
    raise AssertionError("the stream ended before the event")


def started(platform: Platform, job: str) -> None:
    with platform.transaction(SYSTEM) as tx:
        queueing.admit_waiting(tx, capacity_of(platform.settings))
        jobs.claim(tx, UUID(job), attempt=1, run_id="run")


def progressed(platform: Platform, job: str, fraction: float) -> None:
    with platform.transaction(SYSTEM) as tx:
        jobs.report_progress(tx, UUID(job), fraction, "on the way", run_id="run")


def cancelled(platform: Platform, job: str) -> None:
    with platform.transaction(SYSTEM) as tx:
        jobs.mark_cancelled(tx, UUID(job))


def test_a_stream_tells_each_change_of_a_job_and_ends_with_it(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    job = submitted(api, dataset)
    with listening(api, f"jobs/{job}/events") as lines:
        found = events(lines)
        first = next(found)
        assert first.data == {"status": "queued", "progress": 0.0, "log": 0}
        started(platform, job)
        until(found, lambda event: event.data["status"] == "running")
        progressed(platform, job, 0.5)
        seen = until(found, lambda event: event.data["progress"] == 0.5)
        measured(api, job, "loss", 3.0, 2.0)
        curve = next(found)  # the same state, and another fingerprint
        assert (curve.data, curve.id != seen.id) == (seen.data, True)
        said(platform, job, "one", "two")
        until(found, lambda event: event.data["log"] == 2)
        cancelled(platform, job)
        end = until(found, lambda event: event.data["status"] == "cancelled")
        assert list(lines) == []
    assert api.get(f"/training/jobs/{job}/events", headers={"Last-Event-ID": end.id}).status_code == 204
    with listening(api, f"jobs/{job}/events", last=first.id) as lines:  # it slept through the end
        assert [event.data["status"] for event in events(lines)] == ["cancelled"]


def test_a_listener_goes_on_at_another_server_where_it_left_off(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    job = submitted(api, dataset)
    with listening(api, f"jobs/{job}/events") as lines:
        known = next(events(lines)).id
    with serving(platform) as other, listening(other, f"jobs/{job}/events", last=known) as lines:
        beats = 0
        for line in lines:  # for longer than a look at the database takes, nothing is said but that it lives
            assert not line.startswith("data"), line
            beats += line == ": ping"
            if beats == 10:
                break
        said(platform, job, "new")
        assert next(events(lines)).data["log"] == 1


def test_the_list_is_told_of_new_jobs_and_of_those_that_move(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    with listening(api) as lines:
        found = events(lines)
        ids = [next(found).id]
        job = submitted(api, dataset)
        ids.append(next(found).id)
        started(platform, job)
        ids.append(next(found).id)
        cancelled(platform, job)
        ids.append(next(found).id)
    assert len(set(ids)) == 4


def test_a_listener_hears_on_after_the_database_dropped_every_connection(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    job = submitted(api, dataset)
    with listening(api, f"jobs/{job}/events") as lines:
        found = events(lines)
        next(found)
        with platform.engine.connect() as connection:
            others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            connection.execute(text(f"SELECT pg_terminate_backend(pid) {others}"))
            connection.execute(text("UPDATE training_jobs SET priority = 7"))
            connection.commit()
        assert next(found).data["status"] == "queued"


def test_who_may_not_read_jobs_or_names_none_hears_nothing(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    job = submitted(api, dataset)
    token = issue_job_token(platform.settings.signing_key(), UUID(job), lifetime=timedelta(hours=1))
    stranger = {"Authorization": f"Bearer {token}"}
    for path in ("jobs/events", f"jobs/{job}/events"):
        plain = api.get("/training/jobs", headers=stranger)
        assert api.get(f"/training/{path}", headers=stranger).status_code == plain.status_code == 403
    assert api.get(f"/training/jobs/{NOBODY}/events").status_code == 404


def test_one_listener_too_many_is_told_when_to_come_back(api: httpx.Client) -> None:
    with listening(api), listening(api):
        refused = api.get("/training/jobs/events")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "30")
        assert "poll" in refused.json()["message"].lower()
    deadline = time.monotonic() + 60
    while True:  # the places are free as soon as the server sees that the listeners left
        with api.stream("GET", "/training/jobs/events") as answer:
            if answer.status_code == 200:
                break
        assert time.monotonic() < deadline, "the places of those who left were kept"
        time.sleep(0.05)


def test_a_server_that_is_told_to_stop_ends_its_streams_and_waits_for_nobody(
    platform: Platform, dataset: versions.Version
) -> None:
    with running(platform) as (api, server, thread):
        job = submitted(api, dataset)
        with listening(api, f"jobs/{job}/events") as lines, listening(api) as others:
            next(events(lines))
            next(events(others))
            server.should_exit = True
            for rest in (lines, others):  # to its end: httpx raises for a stream that breaks off
                assert not list(events(rest))
        thread.join(timeout=60)
        assert not thread.is_alive()


def test_a_fingerprint_is_the_same_in_every_time_zone(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    job = submitted(api, dataset)
    measured(api, job, "loss", 3.0, 0.1)
    started(platform, job)
    cancelled(platform, job)
    seen = set()
    for zone in ("UTC", "Asia/Seoul", "America/St_Johns"):
        with platform.transaction(SYSTEM) as tx:
            tx.session.execute(text(f"SET LOCAL TIME ZONE '{zone}'"))
            seen.add((watching.glance(tx, [UUID(job)])[UUID(job)].fingerprint, watching.glance_at_all(tx)))
    assert len(seen) == 1


def test_a_slow_reader_gets_the_newest_state_only() -> None:
    async def read() -> list[News | None]:
        stream = Stream(None, known="0")
        for number in range(1_000):
            stream.tell(News(id=str(number), data={}))
        return [await stream.next(60), await stream.next(0.01)]

    first, second = asyncio.run(read())
    assert (first and first.id, second) == ("999", None)


def test_the_database_is_looked_at_only_while_somebody_listens(platform: Platform) -> None:
    async def listen() -> list[bool]:
        live = Live(platform)
        polling = [live.polling]
        first, second = live.open(None, None), live.open(None, None)
        assert await first.next(60)
        polling.append(live.polling)
        live.close(first)
        polling.append(live.polling)
        live.close(second)
        return [*polling, live.polling]

    assert asyncio.run(listen()) == [False, True, True, False]
