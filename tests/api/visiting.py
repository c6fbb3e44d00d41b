"""A person in a browser at the console of a running API."""

from collections.abc import Iterator

import httpx
import pytest

from tests.journeys.browser import Console, console


@pytest.fixture
def visitor(api: httpx.Client) -> Iterator[Console]:
    """A browser of its own."""
    with console(str(api.base_url).removesuffix("/llm-ops/v1/")) as opened:
        opened.page.emulate_media(reduced_motion="reduce")  # no color is measured on its way to another
        yield opened
