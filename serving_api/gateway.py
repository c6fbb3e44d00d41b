"""`python -m serving_api.gateway`: the chat gateway without the rest of the API, to run more of than of the rest.

It answers what the API's own gateway answers, from the same tables and under the same shared limits, and the probes. It
has no catalog, no console and no FastAPI, so a process of it is smaller and starts sooner.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from llmops_resources.errors import NotFound
from llmops_resources.platform import Platform
from serving_api import probes, server
from serving_api.chat.app import ChatGateway
from serving_api.failures import envelope_bytes, status_of
from serving_api.front import Front


def create_gateway(platform: Platform) -> ASGIApp:
    """Everything that listens on the port."""
    gateway = ChatGateway(platform)
    return Front(gateway, _probes(platform, gateway), platform.settings)


def _probes(platform: Platform, gateway: ChatGateway) -> Starlette:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await gateway.start()
        yield
        await gateway.stop()

    async def health(_request: Request) -> Response:
        return _json(200, orjson.dumps({"status": "ok"}))

    async def ready(_request: Request) -> Response:
        good, found = await asyncio.to_thread(probes.readiness, platform, gateway)
        return _json(200 if good else 503, orjson.dumps(found))

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    routes = [Route("/health", health), Route("/ready", ready), Route("/metrics", metrics), Route("/{path:path}", _no)]
    return Starlette(routes=routes, lifespan=lifespan)


async def _no(request: Request) -> Response:
    error = NotFound(f"the gateway has no {request.url.path}", remedy="Ask the API, which has everything else.")
    return _json(status_of(error.kind), envelope_bytes(error))


def _json(status: int, body: bytes) -> Response:
    return Response(body, status, media_type="application/json")


if __name__ == "__main__":
    server.main("gateway", lambda platform: (create_gateway(platform), lambda: None))
