"""Probes and Prometheus metrics: outside the base path, outside the envelope, open to whoever reaches the port."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from serving_api import probes
from serving_api.dependencies import platform_of

router = APIRouter(tags=["health"], include_in_schema=True)


@router.get("/health")
def health() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/ready")
def ready(request: Request, response: Response) -> dict[str, str]:
    """The database and the object store answer, and the gateway's routes are fresh; 503 otherwise."""
    good, found = probes.readiness(platform_of(request), request.app.state.gateway)
    if not good:
        response.status_code = 503
    return found


@router.get("/metrics")
def metrics() -> Response:
    """Prometheus text format."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
