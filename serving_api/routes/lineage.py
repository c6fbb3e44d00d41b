"""Lineage between exact versions."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends

from llmops_resources.catalog import lineage, versions
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.lineage import Direction, Graph
from llmops_resources.database import Actor
from llmops_resources.governance.permissions import Permission
from serving_api.dependencies import Doors, Requires
from serving_api.envelope import Envelope, ok

router = APIRouter(prefix="/catalog/lineage", tags=["lineage"])
Reader = Annotated[Actor, Depends(Requires(Permission.CATALOG_READ))]


@router.get("/{kind}/{version_id}")
def get_lineage(
    platform: Doors, actor: Reader, kind: Kind, version_id: UUID, direction: Direction = Direction.BOTH
) -> Envelope[Graph]:
    with platform.transaction(actor) as tx:
        return ok(lineage.graph(tx, versions.get(tx, version_id, kind).id, direction))
