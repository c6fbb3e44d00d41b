"""Models: listed, read, approved; those that a training job makes arrive here by themselves."""

import hmac
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BeforeValidator, Field, model_validator

from llmops_resources.catalog import evidence, lineage, providers, versions
from llmops_resources.catalog.evidence import Evidence
from llmops_resources.catalog.lifecycle import Kind, ModelType
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Actor, Transaction
from llmops_resources.errors import ValidationFailed, field_problem
from llmops_resources.governance.permissions import Permission
from llmops_resources.settings import Settings
from serving_api import paging
from serving_api.dependencies import Cursor, Doors, IdempotencyKey, Limit, Requires, create_once
from serving_api.envelope import Envelope, ok
from serving_api.routes.lifecycle import add_lifecycle_routes
from serving_api.routes.providers import ProviderInput, lifted
from serving_api.routes.reviews import add_review_routes
from serving_api.routes.uploads import add_upload_routes
from serving_api.schemas import Body, StatusInput

router = APIRouter(prefix="/catalog/models", tags=["models"])
Reader = Annotated[Actor, Depends(Requires(Permission.CATALOG_READ))]
Writer = Annotated[Actor, Depends(Requires(Permission.MODEL_WRITE))]
TypeInput = Annotated[ModelType, BeforeValidator(lambda value: "fine-tuned" if value == "fine_tuned" else value)]


class LineageInput(Body):
    """The data set versions a model made elsewhere was trained on."""

    dataset_ids: list[UUID] = Field(default_factory=list, max_length=500)


class ModelCreate(Body):
    name: str
    version: str
    type: TypeInput
    owner_team: str
    metadata: dict[str, Any] = Field(default_factory=dict)
    lineage: LineageInput = Field(default_factory=LineageInput)
    provider: ProviderInput | None = None

    _lifted = model_validator(mode="before")(lifted)


class CardChange(Body):
    metadata: dict[str, Any]


@router.get("")
def list_models(
    platform: Doors,
    actor: Reader,
    response: Response,
    name: str | None = None,
    version: str | None = None,
    type: TypeInput | None = None,  # noqa: A002  the specification's name
    status: StatusInput | None = None,
    owner_team: Annotated[str | None, Query(alias="ownerTeam")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Envelope[list[Version]]:
    key = platform.settings.signing_key()
    filters = {"version": version, "type": type, "status": status, "owner_team": owner_team}
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
        f"{body.model_dump_json()}{_mark_of_key(platform.settings, body)}",
        lambda tx: _create(tx, platform.settings, body),
    )
    return ok(answer, "the model was created")


def _create(tx: Transaction, settings: Settings, body: ModelCreate) -> Version:
    model = _entry(tx, settings, body)
    lineage.declare(tx, model.id, body.lineage.dataset_ids)
    return versions.get(tx, model.id)


def _entry(tx: Transaction, settings: Settings, body: ModelCreate) -> Version:
    if body.type is not ModelType.EXTERNAL and body.provider is None:
        fields = body.model_dump(exclude={"provider", "lineage"})
        return versions.create(tx, Kind.MODEL, **fields)
    if body.type is not ModelType.EXTERNAL or body.provider is None:
        is_missing = body.provider is None
        problem = "is required for an external model" if is_missing else f"is not used by a {body.type} model"
        remedy = "Give provider, modelName and endpoint." if is_missing else "Leave it out, or use the type external."
        raise ValidationFailed("the entry is not complete", details=[field_problem("provider", problem, remedy)])
    config = providers.configure(**dict(body.provider), allowed_hosts=settings.outbound_allowed_hosts)
    return providers.register(
        tx, settings, name=body.name, version=body.version, owner_team=body.owner_team, metadata=body.metadata,
        config=config, api_key=body.provider.api_key,
    )  # fmt: skip


def _mark_of_key(settings: Settings, body: ModelCreate) -> str:
    """Tells one API key from another without holding it: the dump of the body masks it."""
    key = body.provider.api_key if body.provider else None
    return hmac.new(settings.signing_key(), key.get_secret_value().encode(), "sha256").hexdigest() if key else ""


@router.get("/{model_id}")
def get_model(platform: Doors, actor: Reader, model_id: UUID) -> Envelope[Version]:
    with platform.transaction(actor) as tx:
        return ok(versions.get(tx, model_id, Kind.MODEL))


@router.patch("/{model_id}")
def change_card(platform: Doors, actor: Writer, model_id: UUID, body: CardChange) -> Envelope[Version]:
    """Fill in the model card of a draft."""
    with platform.transaction(actor) as tx:
        model = versions.get(tx, model_id, Kind.MODEL)
        if model.type is ModelType.EXTERNAL:
            return ok(providers.change_card(tx, model, body.metadata))
        return ok(versions.change_card(tx, model.id, body.metadata))


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


add_upload_routes(router, Kind.MODEL, writer=Permission.MODEL_WRITE)
add_review_routes(router, Kind.MODEL, writer=Permission.MODEL_WRITE)
add_lifecycle_routes(router, Kind.MODEL, writer=Permission.MODEL_WRITE, deleter=Permission.MODEL_DELETE)
