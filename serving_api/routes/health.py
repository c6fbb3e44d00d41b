"""Probes and Prometheus metrics: outside the base path, outside the envelope, open to whoever reaches the port."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import text

from llmops_resources.database import Actor
from llmops_resources.errors import PlatformError
from serving_api.dependencies import platform_of

router = APIRouter(tags=["health"], include_in_schema=True)
PROBE = Actor("system:probe")


@router.get("/health")
def health() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/ready")
def ready(request: Request, response: Response) -> dict[str, str]:
    """The database and the object store answer, and the gateway's routes are fresh; 503 otherwise."""
    platform = platform_of(request)
    found = {"database": "ok", "objects": "ok", "routes": request.app.state.gateway.freshness()}
    try:
        with platform.transaction(PROBE) as tx:
            tx.session.execute(text("SELECT 1"))
    except PlatformError as error:
        found["database"] = error.message
    try:
        platform.blobs.exists("probe/probe/probe")
    except PlatformError as error:
        found["objects"] = error.message
    if any(state != "ok" for state in found.values()):
        response.status_code = 503
    return found


@router.get("/metrics")
def metrics() -> Response:
    """Prometheus text format."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
