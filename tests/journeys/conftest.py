"""One running platform for the tests that only look at a finished journey."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.journeys.browser import Console, console
from tests.journeys.journey import Journey
from tests.journeys.running import RunningPlatform, running


@pytest.fixture(scope="session")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningPlatform, dict[str, Any]]]:
    """A platform on which the journey was walked once."""
    with running(tmp_path_factory.mktemp("journey") / "home") as platform:
        yield platform, Journey(platform).walk()


@pytest.fixture
def visitor(walked: tuple[RunningPlatform, dict[str, Any]]) -> Iterator[Console]:
    """A browser of its own for each test; closed before the next one begins."""
    with console(walked[0].root) as opened:
        yield opened
