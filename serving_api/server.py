"""The HTTP server: uvicorn, whose shutdown waits for open connections, told to end the event streams first."""

import socket

import uvicorn

from serving_api.live import Live


class Server(uvicorn.Server):
    """Uvicorn for an app whose streams end when the server is asked to stop."""

    def __init__(self, config: uvicorn.Config, live: Live) -> None:
        super().__init__(config)
        self._live = live

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, which would stay open as long as their readers like; then as uvicorn does."""
        self._live.end()
        await super().shutdown(sockets)
