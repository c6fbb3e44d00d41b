"""The runtime images that a deployment may choose from."""

from typing import Annotated

from fastapi import APIRouter, Depends

from llmops_resources.database import Actor
from llmops_resources.governance.permissions import Permission
from llmops_resources.serving.runtimes import CuratedImage, curated
from serving_api.dependencies import Doors, Requires
from serving_api.envelope import Envelope, ok

router = APIRouter(prefix="/serving/runtimes", tags=["serving"])
Reader = Annotated[Actor, Depends(Requires(Permission.SERVING_READ))]


@router.get("")
def list_runtimes(platform: Doors, _actor: Reader) -> Envelope[list[CuratedImage]]:
    return ok(curated(platform.settings))
