"""Events of training jobs; see `serving_api.live`."""

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request, Response
from starlette.concurrency import run_in_threadpool

from llmops_resources.database import Actor
from llmops_resources.governance.permissions import Permission
from llmops_resources.platform import Platform
from llmops_resources.training import jobs, watching
from serving_api.dependencies import Doors, Requires
from serving_api.live import EventStream, Live

router = APIRouter(prefix="/training/jobs", tags=["training"])
Reader = Annotated[Actor, Depends(Requires(Permission.TRAINING_READ))]
LastId = Annotated[
    str | None, Header(alias="Last-Event-ID", max_length=100, description="the id of the last event that arrived")
]
STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Server-sent events `changed`, each with the state's fingerprint as its id.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}
OVER: Final[dict[int | str, dict[str, Any]]] = {204: {"description": "The job has ended, and this is known."}}


@router.get("/events", response_class=Response, responses=STREAM)
async def follow_jobs(platform: Doors, _actor: Reader, request: Request, last_id: LastId = None) -> Response:
    """An event whenever a job is submitted or any job's state changes; nothing is repeated after `Last-Event-ID`."""
    return _stream(request, platform, None, last_id)


@router.get("/{job_id}/events", response_class=Response, responses=STREAM | OVER)
async def follow_job(
    platform: Doors, actor: Reader, request: Request, job_id: UUID, last_id: LastId = None
) -> Response:
    """An event whenever the job, its metrics or its log change: `{status, progress, log}`; ends with the job."""
    if await run_in_threadpool(_is_over, platform, actor, job_id, last_id):
        return Response(status_code=204)
    return _stream(request, platform, job_id, last_id)


def _is_over(platform: Platform, actor: Actor, job_id: UUID, last_id: str | None) -> bool:
    """Whether the listener knows how the job ended: a browser comes back until it is told so with 204."""
    with platform.transaction(actor) as tx:
        jobs.get(tx, job_id)
        now = watching.glance(tx, [job_id])[job_id]
    return now.ended and now.fingerprint == last_id


def _stream(request: Request, platform: Platform, job_id: UUID | None, last_id: str | None) -> Response:
    live: Live = request.app.state.live
    return EventStream(live, live.open(job_id, last_id), platform.settings.live_heartbeat_seconds)
