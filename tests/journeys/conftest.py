"""One running platform for the tests that only look at a finished journey."""

from collections.abc import Generator, Iterator
from pathlib import Path
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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure tells what was on the page, and what the platform's processes said last."""
    report = yield
    made = getattr(item, "funcargs", {})
    if report.when == "call" and report.failed:
        if isinstance(opened := made.get("visitor"), Console):
            report.sections.append(("the page when it failed", opened.described()))
        if "walked" in made:
            report.sections.append(("the platform's logs", made["walked"][0].logs()))
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The kill tests, each with a platform of its own, come before the shared platform starts."""
    folder = Path(__file__).parent
    items.sort(key=lambda item: (item.path.parent == folder, item.path.stem != "test_kills"))
