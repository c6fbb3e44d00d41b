"""The snapshot of routes: which endpoint answers, and what happens without the database."""

import asyncio

import pytest

from llmops_resources.errors import NotFound, Unavailable
from llmops_resources.gateway import fresh, routes
from llmops_resources.gateway.routes import RouteTable, Snapshot
from llmops_resources.platform import Platform
from llmops_resources.serving.endpoints import EndpointStatus, Environment
from serving_api.chat.app import conninfo
from tests import factories
from tests.gateway.conftest import deployed, observe


def snapshot_of(platform: Platform) -> Snapshot:
    with platform.transaction(factories.ADMIN) as tx:
        return routes.load(tx, platform.settings)


def test_the_healthy_one_of_several_environments_answers_and_prod_is_preferred(platform: Platform) -> None:
    deployed(platform, "http://dev", environment=Environment.DEV)
    prod = deployed(platform, "http://prod", environment=Environment.PROD)
    assert snapshot_of(platform).serving("support").environment is Environment.PROD

    observe(platform, prod, EndpointStatus.DEGRADED, base_url="http://prod")
    assert snapshot_of(platform).serving("support").environment is Environment.DEV


def test_a_degraded_endpoint_with_a_ready_replica_still_answers_when_there_is_no_better(platform: Platform) -> None:
    endpoint = deployed(platform, "http://dev")
    observe(platform, endpoint, EndpointStatus.DEGRADED, base_url="http://dev", ready=1)
    assert snapshot_of(platform).serving("support").base_url == "http://dev"

    observe(platform, endpoint, EndpointStatus.DEGRADED, base_url="http://dev", ready=0)
    with pytest.raises(Unavailable, match="degraded"):
        snapshot_of(platform).serving("support")


@pytest.mark.parametrize("name", ["support", "/support", " /support ", "/llm-ops/v1/serve/support"])
def test_a_route_is_found_by_each_of_its_names(platform: Platform, name: str) -> None:
    deployed(platform, "http://dev")

    assert snapshot_of(platform).find(name).route == "support"


@pytest.mark.parametrize("name", ["", "SUPPORT", "support/x", "../support", "support\x00"])
def test_a_name_that_is_not_a_route_is_not_found(platform: Platform, name: str) -> None:
    deployed(platform, "http://dev")

    with pytest.raises(NotFound):
        snapshot_of(platform).find(name)


def test_a_change_wakes_the_table_long_before_the_poll(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh, "POLL_EVERY", 30.0)

    async def scenario() -> None:
        table = RouteTable(lambda: snapshot_of(platform), conninfo(platform))
        async with table.kept_fresh():
            assert dict(table.snapshot.targets) == {}
            await asyncio.sleep(0.3)  # let it listen
            await asyncio.to_thread(deployed, platform, "http://dev")
            async with asyncio.timeout(2):
                while "support" not in table.snapshot.targets:
                    await asyncio.sleep(0.01)

    asyncio.run(scenario())


def test_without_the_database_the_last_routes_stay_and_turn_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh, "POLL_EVERY", 0.02)
    monkeypatch.setattr(fresh, "STALE_AFTER", 0.2)
    away = False

    def read() -> Snapshot:
        if away:
            raise Unavailable("the database is away")
        return Snapshot()

    async def scenario() -> None:
        nonlocal away
        table = RouteTable(read, "host=127.0.0.1 port=1 connect_timeout=1")
        with pytest.raises(Unavailable):
            _ = table.snapshot
        assert table.stale
        async with table.kept_fresh():
            kept = table.snapshot
            assert not table.stale
            away = True
            await asyncio.sleep(0.4)
            assert table.stale
            assert dict(table.snapshot.targets) == dict(kept.targets)
            away = False
            await asyncio.sleep(0.2)
            assert not table.stale

    asyncio.run(scenario())
