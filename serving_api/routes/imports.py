"""Models brought in from elsewhere: from the Hugging Face Hub, or from a folder of the server."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from llmops_resources.catalog import imports
from llmops_resources.catalog.imports import ModelImport, Origin, Source
from llmops_resources.catalog.lifecycle import ModelType
from llmops_resources.database import Actor
from llmops_resources.governance.permissions import Permission
from serving_api.dependencies import Doors, IdempotencyKey, Requires, create_once
from serving_api.envelope import Envelope, ok
from serving_api.routes.models import LineageInput, TypeInput
from serving_api.schemas import Body

router = APIRouter(prefix="/catalog/models", tags=["models"])
Reader = Annotated[Actor, Depends(Requires(Permission.CATALOG_READ))]
Writer = Annotated[Actor, Depends(Requires(Permission.MODEL_WRITE))]


class ImportBody(Body):
    name: str
    version: str
    owner_team: str
    type: TypeInput = ModelType.BASE
    metadata: dict[str, Any] = Field(default_factory=dict)
    lineage: LineageInput = Field(default_factory=LineageInput)
    source: Source
    location: str = Field(min_length=1, max_length=1000)
    revision: str | None = Field(default=None, max_length=200)


@router.post("/import")
def import_model(
    platform: Doors, actor: Writer, request: Request, body: ImportBody, key: IdempotencyKey = None
) -> Envelope[ModelImport]:
    """Create a model in `draft` and have its files brought in: `huggingface` (org/name) or `directory`."""
    origin = imports.check_origin(
        Origin(source=body.source, location=body.location, revision=body.revision),
        root=platform.settings.model_import_root,
        offline=platform.settings.hf_hub_offline,
    )
    answer = create_once(
        platform,
        actor,
        request,
        key,
        body.model_dump_json(),
        lambda tx: imports.request(
            tx,
            origin,
            name=body.name,
            version=body.version,
            owner_team=body.owner_team,
            type=body.type,
            metadata=body.metadata,
            dataset_ids=body.lineage.dataset_ids,
        ),
    )
    return ok(answer, "the import is queued")


@router.get("/{model_id}/import")
def get_import(platform: Doors, actor: Reader, model_id: UUID) -> Envelope[ModelImport | None]:
    """How the last import of this version, or the conversion of its upload, went or is going; null without one."""
    with platform.transaction(actor) as tx:
        return ok(imports.find(tx, model_id))


@router.post("/{model_id}/import")
def import_again(
    platform: Doors, actor: Writer, request: Request, model_id: UUID, key: IdempotencyKey = None
) -> Envelope[ModelImport]:
    """Try a failed import of a draft once more."""
    answer = create_once(platform, actor, request, key, "", lambda tx: imports.again(tx, model_id))
    return ok(answer, "the import is queued")


@router.delete("/{model_id}/import")
def cancel_import(platform: Doors, actor: Writer, model_id: UUID) -> Envelope[ModelImport]:
    with platform.transaction(actor) as tx:
        return ok(imports.cancel(tx, model_id), "the import is asked to stop")
