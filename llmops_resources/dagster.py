"""The one thing Dagster needs from this floor: a resource that hands over the Platform."""

from collections.abc import Iterator

import dagster as dg

from llmops_resources.platform import Platform, open_platform
from llmops_resources.settings import Settings


@dg.resource(description="The platform's doors: database, object storage, settings.")
def platform_resource(_context: dg.InitResourceContext) -> Iterator[Platform]:
    """The Platform of this process, open while a run or a sensor tick needs it. Raises Unavailable."""
    with open_platform(Settings(), application="llmops-dagster") as platform:
        yield platform
