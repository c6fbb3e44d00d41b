"""The HTTP server: uvicorn, whose shutdown waits for open connections, told to end the event streams first."""

import gc
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from llmops_resources.errors import PlatformError
from llmops_resources.platform import Platform, open_platform
from llmops_resources.settings import Settings
from serving_api import logs

STARTUP_FAILURE: Final = 3  # the exit status of uvicorn's own command
_COLLECT_AFTER: Final = 20_000  # objects more than were freed; 700 is Python's own


class Server(uvicorn.Server):
    """Uvicorn for an app whose streams `end` ends when the server is asked to stop."""

    def __init__(self, config: uvicorn.Config, end: Callable[[], None]) -> None:
        super().__init__(config)
        self._end = end

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, which would stay open as long as their readers like; then as uvicorn does."""
        self._end()
        await super().shutdown(sockets)


def main(name: str, create: Callable[[Platform], tuple[ASGIApp, Callable[[], None]]]) -> None:
    """Serve what is created, an app and what ends its streams, on the address the settings name until told to stop.

    Running requests get ten seconds to finish. What keeps it from starting is said on standard error.
    """
    settings = Settings()
    logs.configure(settings.log_level)
    try:
        with open_platform(settings, application=f"llmops-{name.lower()}") as platform:
            _serve(settings, *create(platform))
    except PlatformError as error:
        sys.exit(f"The {name} cannot start: {error.message}. {error.remedy}")


def spare_the_collector() -> None:
    """Keep the garbage collector from what start-up made, which lives for ever, and from calls that soon end.

    Nearly all that a call makes is gone with its last reference; the collector is there for the few cycles.
    """
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 10, 10)


def _serve(settings: Settings, app: ASGIApp, end: Callable[[], None]) -> None:
    spare_the_collector()
    config = uvicorn.Config(
        app,
        host=settings.api_host,
        port=settings.api_port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # nobody here asks where a request came from, and these headers are easily written
        timeout_graceful_shutdown=10,
    )
    server = Server(config, end)
    with suppress(KeyboardInterrupt):  # uvicorn raises the signal again once it has stopped
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)
