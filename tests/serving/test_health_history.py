"""What was seen of an endpoint over time: spans with their reasons, gaps that nobody saw, and how long it is kept."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest
from sqlalchemy import update

from llmops_assets import sweeping
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.database import Actor
from llmops_resources.platform import Platform
from llmops_resources.serving import endpoints, events, log_tails
from llmops_resources.serving.endpoints import EndpointStatus, Observation
from llmops_resources.serving.events import EndpointEvent, history
from llmops_resources.serving.tables import EventRow, ObservedRow
from llmops_resources.values import utc_now
from tests.api.conftest import api  # noqa: F401  - fixture
from tests.factories import ADMIN, approved

SYSTEM = Actor("system:test")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(minutes: float, status: str, detail: str = "") -> EndpointEvent:
    return EndpointEvent(revision=1, status=status, detail=detail, at=NOON + timedelta(minutes=minutes))  # type: ignore[arg-type]


def spans(*seen: EndpointEvent, since: float = 0, until: float = 60) -> list[tuple[str, float]]:
    begin, end, looked = (NOON + timedelta(minutes=minutes) for minutes in (since, until, 60))
    told = history(seen, begin, end, looked)
    return [(span.status, span.seconds / 60) for span in told.spans]


def test_events_become_spans_that_fill_the_window_from_the_first_one_on() -> None:
    seen = (at(-5, "deploying"), at(10, "healthy"), at(40, "failed", "out of memory"))
    assert spans(*seen) == [("deploying", 10), ("healthy", 30), ("failed", 20)]
    assert spans(*seen, since=20, until=50) == [("healthy", 20), ("failed", 10)]
    assert spans(at(30, "healthy")) == [("healthy", 30)]
    assert spans() == []


def test_what_nobody_saw_is_unknown_and_counts_neither_way() -> None:
    seen = (at(0, "healthy"), at(20, "unknown"), at(30, "failed"), at(40, "degraded"))
    told = history(seen, NOON, NOON + timedelta(hours=1), NOON + timedelta(minutes=50))
    assert [(it.status, it.seconds / 60) for it in told.spans] == [
        ("healthy", 20), ("unknown", 10), ("failed", 10), ("degraded", 10), ("unknown", 10)]  # fmt: skip
    assert told.seconds == {"healthy": 1200, "unknown": 1200, "failed": 600, "degraded": 600}
    assert told.availability == pytest.approx(30 / 40)
    assert history((), NOON, NOON + timedelta(hours=1), None).availability is None


@pytest.fixture
def endpoint_id(platform: Platform) -> UUID:
    model = approved(platform, Kind.MODEL, "tiny")
    with platform.transaction(ADMIN) as tx:
        return endpoints.deploy(tx, model_id=model.id, environment="dev", backend="local", route="chat").id  # type: ignore[arg-type]


def see(platform: Platform, endpoint_id: UUID, status: EndpointStatus, detail: str = "") -> None:
    with platform.transaction(SYSTEM) as tx:
        endpoints.observe(tx, Observation(endpoint_id=endpoint_id, revision=1, status=status, detail=detail))
        events.forget(tx, endpoint_id)


def shift(platform: Platform, endpoint_id: UUID, by: timedelta) -> None:
    """As if all of it had happened so much earlier."""
    with platform.transaction(SYSTEM) as tx:
        tx.session.execute(update(EventRow).values(at=EventRow.at - by))
        tx.session.execute(update(ObservedRow).values(checked_at=ObservedRow.checked_at - by))


def test_the_history_tells_status_and_reason_and_the_time_in_which_nobody_looked(
    platform: Platform, api: httpx.Client, endpoint_id: UUID  # noqa: F811
) -> None:
    see(platform, endpoint_id, EndpointStatus.HEALTHY)
    shift(platform, endpoint_id, timedelta(hours=1))
    see(platform, endpoint_id, EndpointStatus.HEALTHY)  # the same again, after an hour in which nobody looked
    see(platform, endpoint_id, EndpointStatus.FAILED, "out of memory")
    told = api.get(f"/serving/endpoints/{endpoint_id}/health-history").json()["data"]
    assert [span["status"] for span in told["spans"]][-4:] == ["healthy", "unknown", "healthy", "failed"]
    assert told["spans"][-1]["reason"] == "out of memory"
    assert told["seconds"]["unknown"] == pytest.approx(3600, abs=30)
    seen = api.get(f"/serving/endpoints/{endpoint_id}/events").json()["data"]
    assert [event["status"] for event in seen] == ["failed", "healthy", "unknown", "healthy"]
    half_an_hour = (utc_now() - timedelta(minutes=30)).isoformat()
    recent = api.get(f"/serving/endpoints/{endpoint_id}/health-history", params={"since": half_an_hour}).json()["data"]
    assert recent["spans"][0]["status"] == "unknown"


def test_a_window_that_is_none_is_refused(api: httpx.Client, endpoint_id: UUID) -> None:  # noqa: F811
    address = f"/serving/endpoints/{endpoint_id}/health-history"
    first, second = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
    for window in ({"since": second, "until": first}, {"since": "1900-01-01T00:00:00Z"},
                   {"since": "2026-01-01T00:00:00"}, {"since": "yesterday"}):  # fmt: skip
        answer = api.get(address, params=window)
        assert (answer.status_code, "since" in answer.text) == (422, True), window


def test_events_older_than_the_retention_go_with_the_next_sweep(platform: Platform, endpoint_id: UUID) -> None:
    see(platform, endpoint_id, EndpointStatus.HEALTHY)
    see(platform, endpoint_id, EndpointStatus.FAILED)
    shift(platform, endpoint_id, timedelta(days=platform.settings.retention_days + 1))
    see(platform, endpoint_id, EndpointStatus.FAILED)
    sweeping.forget(platform)
    with platform.transaction(SYSTEM) as tx:
        assert [event.status for event in events.of_endpoint(tx, endpoint_id)] == ["failed"]


def test_a_log_is_brought_while_somebody_looks_and_forgotten_afterwards(
    platform: Platform, api: httpx.Client, endpoint_id: UUID, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    address = f"/serving/endpoints/{endpoint_id}/logs"
    assert api.get(address, headers={"X-User-Id": "eve", "X-User-Roles": "viewer"}).status_code == 403
    first = api.get(address).json()["data"]
    assert (first["lines"], first["takenAt"], first["available"]) == ([], None, True)
    with platform.transaction(SYSTEM) as tx:
        assert log_tails.wanted(tx) == {endpoint_id}
        log_tails.keep(tx, endpoint_id, 1, "\n".join(f"line {number}" for number in range(1000)) + "\n" + "x" * 5000)
    told = api.get(address).json()["data"]
    assert (len(told["lines"]), told["lines"][0], len(told["lines"][-1])) == (300, "line 701", 1000)
    monkeypatch.setattr(log_tails, "WANTED", timedelta(hours=-1))
    api.get(address)
    with platform.transaction(SYSTEM) as tx:
        assert log_tails.wanted(tx) == frozenset()
    assert api.get(address).json()["data"]["lines"] == []
