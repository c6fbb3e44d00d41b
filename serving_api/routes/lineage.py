"""Lineage between exact versions."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends

from llmops_resources.catalog import versions
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.lineage import Direction, Graph
from llmops_resources.database import Actor
from llmops_resources.governance.permissions import Permission
from llmops_resources.impact import graph
from serving_api.dependencies import Doors, Requires
from serving_api.envelope import Envelope, ok

router = APIRouter(prefix="/catalog/lineage", tags=["lineage"])
Reader = Annotated[Actor, Depends(Requires(Permission.CATALOG_READ))]


@router.get("/{kind}/{version_id}")
def get_lineage(
    platform: Doors, actor: Reader, kind: Kind, version_id: UUID, direction: Direction = Direction.BOTH
) -> Envelope[Graph]:
    """The versions around a version; downwards also the evaluations and endpoints that came from it."""
    with platform.transaction(actor) as tx:
        return ok(graph.graph(tx, versions.get(tx, version_id, kind).id, direction))
