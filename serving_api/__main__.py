"""`python -m serving_api`: the API on the address the settings name."""

import gc
import sys
from contextlib import suppress

import uvicorn

from llmops_resources.errors import PlatformError
from llmops_resources.platform import open_platform
from llmops_resources.settings import Settings
from serving_api import logs
from serving_api.app import create_app
from serving_api.live import Live
from serving_api.server import Server

STARTUP_FAILURE = 3  # the exit status of uvicorn's own command


def main() -> None:
    """Serve until told to stop; running requests get ten seconds to finish."""
    settings = Settings()
    logs.configure(settings.log_level)
    try:
        _serve(settings)
    except PlatformError as error:
        sys.exit(f"The API cannot start: {error.message}. {error.remedy}")


def _serve(settings: Settings) -> None:
    with open_platform(settings, application="llmops-api") as platform:
        if platform.blobs.composer is not None:
            platform.blobs.composer.load()  # now, and not in somebody's first upload
        live = Live(platform)
        app = create_app(platform, live)
        gc.freeze()  # what start-up made lives for ever: keep the collector from walking it
        config = uvicorn.Config(
            app,
            host=settings.api_host,
            port=settings.api_port,
            loop="uvloop",
            http="httptools",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=10,
        )
        server = Server(config, live)
        with suppress(KeyboardInterrupt):  # uvicorn raises the signal again once it has stopped
            server.run()
        if not server.started:
            sys.exit(STARTUP_FAILURE)


if __name__ == "__main__":
    main()
