"""`python -m serving_api`: the API on the address the settings name."""

import gc

import uvicorn

from llmops_resources.platform import open_platform
from llmops_resources.settings import Settings
from serving_api import logs
from serving_api.app import create_app


def main() -> None:
    """Serve until told to stop; running requests get ten seconds to finish."""
    settings = Settings()
    logs.configure(settings.log_level)
    with open_platform(settings, application="llmops-api") as platform:
        app = create_app(platform)
        gc.freeze()  # what start-up made lives for ever: keep the collector from walking it
        uvicorn.run(
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


if __name__ == "__main__":
    main()
