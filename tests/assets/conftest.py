"""Runs of our assets in this process, with a real database and real object storage."""

from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import pytest

from llmops_assets.claims import ROOM_TAG, WORK_TAG
from llmops_assets.definitions import build
from llmops_assets.mirror import read
from llmops_resources.database import Actor
from llmops_resources.platform import Platform

Materialize = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance that lives as long as the test."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def materialize(platform: Platform, instance: dg.DagsterInstance, admin: Actor) -> Materialize:
    """Materialize assets by key as the definitions of the present catalog have them, for a row or for nobody."""

    def run(*keys: tuple[str, ...], row: str | None = None, room: str = "") -> dg.ExecuteInProcessResult:
        with platform.transaction(admin) as tx:
            definitions = build(read(tx))
        assets: list[Any] = list(definitions.assets or [])
        return dg.materialize(
            assets,
            selection=[dg.AssetKey(list(key)) for key in keys],
            resources={"platform": platform},
            instance=instance,
            tags={WORK_TAG: row, ROOM_TAG: room} if row else None,
            raise_on_error=False,
        )

    return run
