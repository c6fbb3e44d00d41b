"""Comparisons of two data set versions."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from llmops_resources.checks import comparisons
from llmops_resources.checks.comparisons import Comparison, FinishedComparison
from llmops_resources.checks.diff import DiffOptions
from llmops_resources.checks.export import as_csv
from llmops_resources.database import Actor
from llmops_resources.errors import Conflict
from llmops_resources.governance.permissions import Permission
from serving_api.comparisons import compared_at_once
from serving_api.dependencies import Doors, IdempotencyKey, Requires, create_once
from serving_api.envelope import Envelope, ok
from serving_api.schemas import Body

router = APIRouter(prefix="/catalog/datasets", tags=["datasets"])
Reader = Annotated[Actor, Depends(Requires(Permission.CATALOG_READ))]


class ComparisonCreate(Body):
    """`withId` is the older version; without `key` rows are compared as wholes."""

    with_id: UUID
    key: list[Annotated[str, Field(min_length=1, max_length=500)]] = Field(default_factory=list, max_length=20)


@router.post("/{dataset_id}/comparisons")
def create_comparison(
    platform: Doors,
    actor: Reader,
    request: Request,
    dataset_id: UUID,
    body: ComparisonCreate,
    key: IdempotencyKey = None,
) -> Envelope[Comparison]:
    """Compare this version with an older one: small files at once, larger ones by a run; asking again is free."""
    options = DiffOptions(key=tuple(body.key))
    result = compared_at_once(platform, actor, dataset_id, body.with_id, options)
    answer = create_once(
        platform,
        actor,
        request,
        key,
        body.model_dump_json(),
        lambda tx: comparisons.request(tx, dataset_id, body.with_id, options, result=result),
    )
    return ok(answer, "the comparison was asked for")


@router.get("/{dataset_id}/comparisons/{comparison_id}")
def get_comparison(
    platform: Doors, actor: Reader, dataset_id: UUID, comparison_id: UUID
) -> Envelope[FinishedComparison]:
    with platform.transaction(actor) as tx:
        return ok(comparisons.get(tx, dataset_id, comparison_id))


@router.get("/{dataset_id}/comparisons/{comparison_id}/rows.csv", response_class=Response)
def export_rows(platform: Doors, actor: Reader, dataset_id: UUID, comparison_id: UUID) -> Response:
    """The sample of changed rows for a spreadsheet, which will not run any of its cells."""
    with platform.transaction(actor) as tx:
        found = comparisons.get(tx, dataset_id, comparison_id)
    if found.result is None:
        raise Conflict("the comparison has no result yet", remedy="Wait until it has succeeded.")
    name = f"{found.newer.name}-{found.older.version}-{found.newer.version}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff"}
    return Response(as_csv(found.result), media_type="text/csv; charset=utf-8", headers=headers)
