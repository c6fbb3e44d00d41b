"""`python -m serving_api`: the API on the address the settings name."""

from collections.abc import Callable

from starlette.types import ASGIApp

from llmops_resources.platform import Platform
from serving_api import server
from serving_api.app import create_app
from serving_api.live import Live


def create(platform: Platform) -> tuple[ASGIApp, Callable[[], None]]:
    """The app, and what ends its event streams."""
    if platform.blobs.composer is not None:
        platform.blobs.composer.load()  # now, and not in somebody's first upload
    live = Live(platform)
    return create_app(platform, live), live.end


if __name__ == "__main__":
    server.main("API", create)
