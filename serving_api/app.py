"""`create_app(platform)`: the routes, the gateway and the console put together. Nothing happens at import."""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from llmops_resources.errors import NotFound
from llmops_resources.platform import Platform
from serving_api import problems
from serving_api.bodies import Uploads
from serving_api.chat import description
from serving_api.chat.app import ChatGateway
from serving_api.console import Console
from serving_api.dagster_proxy import DagsterProxy
from serving_api.dependencies import Requires
from serving_api.envelope import FAILURES
from serving_api.front import Front
from serving_api.live import Live
from serving_api.routes import (
    api_keys,
    approvals,
    comparisons,
    cost,
    datasets,
    endpoint_history,
    evaluation,
    experiments,
    gates,
    governance,
    health,
    human_reviews,
    imports,
    judges,
    lineage,
    live,
    models,
    observability,
    policies,
    prompt_bindings,
    prompt_experiments,
    prompts,
    providers,
    runtimes,
    schedules,
    serving,
    training,
)

BASE = "/llm-ops/v1"
#: Open on purpose: probes, Prometheus metrics and the API's own description.
PUBLIC = frozenset({"/health", "/ready", "/metrics", "/openapi.json"})


class DescribedApi(FastAPI):
    """FastAPI whose description, made when it is first asked for, has the gateway's routes as well."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        if self.openapi_schema is None:
            super().openapi()["paths"].update(description.paths())
        return super().openapi()


def create_api(
    platform: Platform, gateway: ChatGateway, dagster: DagsterProxy, listeners: Live | None = None
) -> FastAPI:
    """The FastAPI part. Raises RuntimeError when a route has no permission."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await gateway.start()
        await dagster.start()
        yield
        await dagster.stop()
        await gateway.stop()

    api = DescribedApi(title="llmops", version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    api.state.platform = platform
    api.state.gateway = gateway
    api.state.live = listeners or Live(platform)
    api.state.uploads = Uploads(platform.settings.upload_stall_seconds)
    problems.install(api)
    api.router.routes.extend(_routes())
    api.mount("/", Console(console_folder(platform)))
    return api


@cache
def _routes() -> tuple[BaseRoute, ...]:
    """The routes, made once a process, as they know nothing of a platform. Raises RuntimeError as `create_api`."""
    made = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    base = APIRouter(prefix=BASE, responses=FAILURES)
    rooms = (
        datasets, comparisons, models, imports, providers, prompts, prompt_bindings, prompt_experiments, lineage,
        approvals, experiments, live, training, evaluation, gates, human_reviews, judges, schedules, serving,
        endpoint_history, runtimes, governance, api_keys, policies, cost, observability,
    )  # fmt: skip
    for room in rooms:
        base.include_router(room.router)
    made.include_router(base)
    made.include_router(health.router)
    naked = sorted(unprotected(made.routes))
    if naked:
        raise RuntimeError(f"routes without a permission: {', '.join(naked)}")
    made.add_api_route(f"{BASE}/{{path:path}}", _nothing_here, methods=list(_ALL), include_in_schema=False)
    return tuple(made.routes)


def create_app(platform: Platform, listeners: Live | None = None) -> ASGIApp:
    """Everything that listens on the port. `listeners`: the event streams, which whoever stops the server ends."""
    gateway, dagster = ChatGateway(platform), DagsterProxy(platform)
    api = create_api(platform, gateway, dagster, listeners)

    async def rest(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        proxied = scope["type"] != "lifespan" and (path == "/dagster" or path.startswith("/dagster/"))
        await (dagster if proxied else api)(scope, receive, send)

    return Front(gateway, rest, platform.settings)


def unprotected(routes: Iterable[BaseRoute]) -> Iterator[str]:
    """Paths of routes that ask for no permission and are not public on purpose, included routers' routes too."""
    for route in routes:
        if (included := getattr(route, "original_router", None)) is not None:
            yield from unprotected(included.routes)
            continue
        path = getattr(route, "path", repr(route))
        if path not in PUBLIC and not (isinstance(route, APIRoute) and _has_permission(route.dependant)):
            yield path


def console_folder(platform: Platform) -> Path:
    """CONSOLE_DIR, or the build beside this package in a checkout."""
    return platform.settings.console_dir or Path(__file__).parent.parent / "ui_extensions" / "dist"


_ALL = ("GET", "POST", "PUT", "PATCH", "DELETE")


def _nothing_here(path: str) -> Any:
    raise NotFound(f"there is no route {BASE}/{path}", remedy="See /openapi.json for what there is.")


def _has_permission(dependant: Dependant) -> bool:
    return isinstance(dependant.call, Requires) or any(_has_permission(part) for part in dependant.dependencies)
