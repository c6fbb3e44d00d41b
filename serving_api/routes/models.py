"""Models: listed, read, approved; those that a training job makes arrive here by themselves."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BeforeValidator, Field

from llmops_resources.catalog import approvals, evidence, versions
from llmops_resources.catalog.approvals import Approval
from llmops_resources.catalog.evidence import Evidence
from llmops_resources.catalog.lifecycle import Kind, ModelType
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Actor
from llmops_resources.governance.permissions import Permission
from serving_api import paging
from serving_api.dependencies import (
    Cursor,
    Doors,
    IdempotencyKey,
    Limit,
    Requires,
    audited_refusal,
    create_once,
    demand,
)
from serving_api.envelope import Envelope, ok
from serving_api.schemas import Body, DecisionBody, StatusChange, StatusInput, permission_to_move

router = APIRouter(prefix="/catalog/models", tags=["models"])
Reader = Annotated[Actor, Depends(Requires(Permission.CATALOG_READ))]
Writer = Annotated[Actor, Depends(Requires(Permission.MODEL_WRITE))]
Mover = Annotated[Actor, Depends(Requires(Permission.MODEL_WRITE, Permission.VERSION_APPROVE))]
Approver = Annotated[Actor, Depends(Requires(Permission.VERSION_APPROVE))]
TypeInput = Annotated[ModelType, BeforeValidator(lambda value: "fine-tuned" if value == "fine_tuned" else value)]


class ModelCreate(Body):
    name: str
    version: str
    type: TypeInput
    owner_team: str
    metadata: dict[str, Any] = Field(default_factory=dict)


class CardChange(Body):
    metadata: dict[str, Any]


@router.get("")
def list_models(
    platform: Doors,
    actor: Reader,
    response: Response,
    name: str | None = None,
    type: TypeInput | None = None,  # noqa: A002  the specification's name
    status: StatusInput | None = None,
    owner_team: Annotated[str | None, Query(alias="ownerTeam")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Envelope[list[Version]]:
    key = platform.settings.signing_key()
    filters = {"type": type, "status": status, "owner_team": owner_team}
    with platform.transaction(actor) as tx:
        page = versions.search(
            tx, Kind.MODEL, filters=filters, name_contains=name, after=paging.decode(cursor, key), limit=limit
        )
    return ok(paging.send(response, page, key))


@router.post("")
def create_model(
    platform: Doors, actor: Writer, request: Request, body: ModelCreate, key: IdempotencyKey = None
) -> Envelope[Version]:
    answer = create_once(
        platform,
        actor,
        request,
        key,
        body.model_dump_json(),
        lambda tx: versions.create(
            tx,
            Kind.MODEL,
            name=body.name,
            version=body.version,
            type=body.type,
            owner_team=body.owner_team,
            metadata=body.metadata,
        ),
    )
    return ok(answer, "the model was created")


@router.get("/{model_id}")
def get_model(platform: Doors, actor: Reader, model_id: UUID) -> Envelope[Version]:
    with platform.transaction(actor) as tx:
        return ok(versions.get(tx, model_id, Kind.MODEL))


@router.patch("/{model_id}")
def change_card(platform: Doors, actor: Writer, model_id: UUID, body: CardChange) -> Envelope[Version]:
    """Fill in the model card of a draft."""
    with platform.transaction(actor) as tx:
        return ok(versions.change_card(tx, model_id, body.metadata))


@router.get("/{model_id}/versions")
def list_versions(platform: Doors, actor: Reader, model_id: UUID) -> Envelope[list[Version]]:
    with platform.transaction(actor) as tx:
        return ok(versions.of_name(tx, Kind.MODEL, versions.get(tx, model_id, Kind.MODEL).name))


@router.get("/{model_id}/evidence")
def list_evidence(platform: Doors, actor: Reader, model_id: UUID) -> Envelope[list[Evidence]]:
    """What training and evaluation found out about this version."""
    with platform.transaction(actor) as tx:
        return ok(evidence.of_version(tx, versions.get(tx, model_id, Kind.MODEL).id))


@router.get("/{model_id}/card")
def get_card(platform: Doors, actor: Reader, model_id: UUID) -> Envelope[str]:
    """The generated model card (Markdown), empty when the version has none."""
    with platform.transaction(actor) as tx:
        model = versions.get(tx, model_id, Kind.MODEL)
    if not any(file.path == "README.md" for file in model.files):
        return ok("")
    key = f"models/{model.id}/{model.version}/README.md"
    return ok(platform.blobs.read_range(key, 0, 262_144).decode(errors="replace"))


@router.get("/{model_id}/approvals")
def list_approvals(platform: Doors, actor: Reader, model_id: UUID) -> Envelope[list[Approval]]:
    with platform.transaction(actor) as tx:
        return ok(approvals.history(tx, versions.get(tx, model_id, Kind.MODEL).id))


@router.post("/{model_id}/submit")
def submit_model(platform: Doors, actor: Writer, model_id: UUID) -> Envelope[Version]:
    with platform.transaction(actor) as tx:
        versions.get(tx, model_id, Kind.MODEL)
        return ok(approvals.submit(tx, model_id), "the version is under review")


@router.patch("/{model_id}/status")
def change_status(platform: Doors, actor: Mover, model_id: UUID, body: StatusChange) -> Envelope[Version]:
    demand(platform, actor, permission_to_move(body.status, Permission.MODEL_WRITE), str(model_id))
    with audited_refusal(platform, actor, "model.status", str(model_id)), platform.transaction(actor) as tx:
        versions.get(tx, model_id, Kind.MODEL)
        return ok(approvals.change_status(tx, model_id, body.status, body.notes))


@router.post("/{model_id}/versions/{version}/approve")
def decide(
    platform: Doors, actor: Approver, model_id: UUID, version: str, body: DecisionBody
) -> Envelope[Version]:
    with audited_refusal(platform, actor, "model.approve", str(model_id)), platform.transaction(actor) as tx:
        target = versions.of_entry(tx, model_id, Kind.MODEL, version)
        return ok(approvals.decide(tx, target.id, body.decision, digest=body.digest, notes=body.notes))
