"""An installation that serves in a cluster, for tests in which nothing is ever fetched or started."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from llmops_resources.platform import Platform, open_platform
from llmops_resources.settings import ServingBackend, Settings


@pytest.fixture
def platform(settings: Settings) -> Iterator[Platform]:
    """Files stay in a local folder, which is quicker and which no pod will miss."""
    with open_platform(settings, application="test") as doors:
        served = {"serving_backend": ServingBackend.KUBERNETES, "use_gpu": False}
        yield replace(doors, settings=settings.model_copy(update=served))
