"""Data sets: created, uploaded, checked, previewed, approved."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from llmops_resources.catalog import versions
from llmops_resources.catalog.lifecycle import Kind, PiiStatus
from llmops_resources.catalog.versions import Version
from llmops_resources.checks import validations
from llmops_resources.checks.preview import Preview
from llmops_resources.checks.schema import ExpectedSchema
from llmops_resources.checks.validations import Validation
from llmops_resources.database import Actor
from llmops_resources.governance.permissions import Permission
from serving_api import paging
from serving_api.dependencies import Cursor, Doors, IdempotencyKey, Limit, Requires, create_once
from serving_api.envelope import Envelope, ok
from serving_api.preview import preview_of
from serving_api.routes.lifecycle import add_lifecycle_routes
from serving_api.routes.reviews import add_review_routes
from serving_api.routes.uploads import add_upload_routes
from serving_api.schemas import Body, StatusInput

router = APIRouter(prefix="/catalog/datasets", tags=["datasets"])
Reader = Annotated[Actor, Depends(Requires(Permission.CATALOG_READ))]
Writer = Annotated[Actor, Depends(Requires(Permission.DATASET_WRITE))]


class DatasetCreate(Body):
    name: str
    version: str
    owner_team: str
    change_log: str = ""
    metadata: dict[str, Any] = Field(default_factory=dict)
    expected_schema: ExpectedSchema | None = Field(default=None, alias="schema")
    benchmark: bool = False


class DatasetChange(Body):
    """What is not given stays."""

    change_log: str | None = None
    metadata: dict[str, Any] | None = None


@router.get("")
def list_datasets(
    platform: Doors,
    actor: Reader,
    response: Response,
    name: str | None = None,
    version: str | None = None,
    owner_team: Annotated[str | None, Query(alias="ownerTeam")] = None,
    status: StatusInput | None = None,
    pii_status: Annotated[PiiStatus | None, Query(alias="piiStatus")] = None,
    min_quality: Annotated[float | None, Query(alias="minQuality", ge=0, le=100)] = None,
    max_quality: Annotated[float | None, Query(alias="maxQuality", ge=0, le=100)] = None,
    benchmark: bool | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Envelope[list[Version]]:
    key = platform.settings.signing_key()
    filters = {
        "version": version,
        "owner_team": owner_team,
        "status": status,
        "pii_status": pii_status,
        "benchmark": benchmark,
    }
    with platform.transaction(actor) as tx:
        page = versions.search(
            tx,
            Kind.DATASET,
            filters=filters,
            name_contains=name,
            min_quality=min_quality,
            max_quality=max_quality,
            after=paging.decode(cursor, key),
            limit=limit,
        )
    return ok(paging.send(response, page, key))


@router.post("")
def create_dataset(
    platform: Doors, actor: Writer, request: Request, body: DatasetCreate, key: IdempotencyKey = None
) -> Envelope[Version]:
    answer = create_once(
        platform,
        actor,
        request,
        key,
        body.model_dump_json(),
        lambda tx: versions.create(
            tx,
            Kind.DATASET,
            name=body.name,
            version=body.version,
            owner_team=body.owner_team,
            change_log=body.change_log,
            metadata=body.metadata,
            expected_schema=body.expected_schema.json_dict() if body.expected_schema else None,
            benchmark=body.benchmark,
        ),
    )
    return ok(answer, "the data set was created; upload its files next")


@router.patch("/{dataset_id}")
def describe_dataset(platform: Doors, actor: Writer, dataset_id: UUID, body: DatasetChange) -> Envelope[Version]:
    """Write down what changed, or replace the metadata, while it is a draft."""
    with platform.transaction(actor) as tx:
        dataset = versions.get(tx, dataset_id, Kind.DATASET)
        return ok(versions.describe(tx, dataset.id, metadata=body.metadata, change_log=body.change_log))


@router.get("/{dataset_id}")
def get_dataset(platform: Doors, actor: Reader, dataset_id: UUID) -> Envelope[Version]:
    with platform.transaction(actor) as tx:
        return ok(versions.get(tx, dataset_id, Kind.DATASET))


@router.get("/{dataset_id}/preview")
def preview_dataset(
    platform: Doors,
    actor: Reader,
    dataset_id: UUID,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> Envelope[Preview]:
    with platform.transaction(actor) as tx:
        dataset = versions.get(tx, dataset_id, Kind.DATASET)
    return ok(preview_of(platform, dataset, offset=offset, limit=limit))


@router.get("/{dataset_id}/validation")
def get_validation(platform: Doors, actor: Reader, dataset_id: UUID) -> Envelope[Validation]:
    with platform.transaction(actor) as tx:
        versions.get(tx, dataset_id, Kind.DATASET)
        return ok(validations.latest(tx, dataset_id))


@router.post("/{dataset_id}/validation")
def request_validation(platform: Doors, actor: Writer, dataset_id: UUID) -> Envelope[Validation]:
    with platform.transaction(actor) as tx:
        return ok(validations.request(tx, dataset_id), "the validation has been requested")


add_upload_routes(router, Kind.DATASET, writer=Permission.DATASET_WRITE)
add_review_routes(router, Kind.DATASET, writer=Permission.DATASET_WRITE)
add_lifecycle_routes(router, Kind.DATASET, writer=Permission.DATASET_WRITE, deleter=Permission.DATASET_DELETE)
