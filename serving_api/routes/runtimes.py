"""What a deployment may choose from: where it runs, and in which image."""

from typing import Annotated

from fastapi import APIRouter, Depends

from llmops_resources.database import Actor
from llmops_resources.governance.permissions import Permission
from llmops_resources.serving.options import Backend, backends
from llmops_resources.serving.runtimes import CuratedImage, curated
from serving_api.dependencies import Doors, Requires
from serving_api.envelope import Envelope, ok

router = APIRouter(prefix="/serving", tags=["serving"])
Reader = Annotated[Actor, Depends(Requires(Permission.SERVING_READ))]


@router.get("/runtimes")
def list_runtimes(platform: Doors, _actor: Reader) -> Envelope[list[CuratedImage]]:
    return ok(curated(platform.settings))


@router.get("/backends")
def list_backends(platform: Doors, _actor: Reader) -> Envelope[list[Backend]]:
    """Where models may run here, the default first, and what a deployment there gets that asks for nothing."""
    return ok(backends(platform.settings))
