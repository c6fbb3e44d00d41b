"""Prompt templates: written, previewed, compared, approved, rolled back."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field, model_validator

from llmops_resources.catalog import versions
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Actor
from llmops_resources.governance.permissions import Permission
from llmops_resources.prompts import library, templates
from llmops_resources.prompts.content import PromptContent, Text
from llmops_resources.prompts.diff import PromptDifference
from llmops_resources.prompts.library import Prompt
from llmops_resources.prompts.templates import PromptPreview, RenderedPrompt
from serving_api import paging
from serving_api.dependencies import Cursor, Doors, IdempotencyKey, Limit, Requires, create_once
from serving_api.envelope import Envelope, ok
from serving_api.routes.lifecycle import add_lifecycle_routes
from serving_api.routes.reviews import add_review_routes
from serving_api.schemas import Body, StatusInput

router = APIRouter(prefix="/prompts/templates", tags=["prompts"])
Reader = Annotated[Actor, Depends(Requires(Permission.CATALOG_READ))]
Writer = Annotated[Actor, Depends(Requires(Permission.PROMPT_WRITE))]


class PromptCreate(Body):
    """A new version; without `version` it gets the next number of its name."""

    name: Text
    version: Text | None = None
    owner_team: Text
    change_log: Text = ""
    metadata: dict[str, Any] = Field(default_factory=dict)
    content: PromptContent


class PromptChange(Body):
    """A draft written again; `digest` is that of the content the editor started from."""

    content: PromptContent
    digest: str | None = None
    change_log: Text | None = None
    metadata: dict[str, Any] | None = None


class PreviewRequest(Body):
    """Content that is not stored yet, or the id of a stored version; and values for its variables."""

    content: PromptContent | None = None
    prompt_id: UUID | None = None
    values: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_of_the_two(self) -> "PreviewRequest":
        if (self.content is None) == (self.prompt_id is None):
            raise ValueError("give either content or promptId")
        return self


class RenderRequest(Body):
    values: dict[str, Any] = Field(default_factory=dict)


@router.get("")
def list_prompts(
    platform: Doors,
    actor: Reader,
    response: Response,
    name: str | None = None,
    version: str | None = None,
    status: StatusInput | None = None,
    owner_team: Annotated[str | None, Query(alias="ownerTeam")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Envelope[list[Version]]:
    key = platform.settings.signing_key()
    filters = {"version": version, "status": status, "owner_team": owner_team}
    with platform.transaction(actor) as tx:
        page = versions.search(
            tx, Kind.PROMPT, filters=filters, name_contains=name, after=paging.decode(cursor, key), limit=limit
        )
    return ok(paging.send(response, page, key))


@router.post("")
def create_prompt(
    platform: Doors, actor: Writer, request: Request, body: PromptCreate, key: IdempotencyKey = None
) -> Envelope[Prompt]:
    answer = create_once(
        platform,
        actor,
        request,
        key,
        body.model_dump_json(),
        lambda tx: library.create(
            tx,
            name=body.name,
            version=body.version,
            owner_team=body.owner_team,
            change_log=body.change_log,
            metadata=body.metadata,
            content=body.content,
        ),
    )
    return ok(answer, "the prompt was created as a draft")


@router.post("/preview")
def preview_prompt(platform: Doors, actor: Writer, body: PreviewRequest) -> Envelope[PromptPreview]:
    """Render what is being written. Errors are part of the answer, each with its line."""
    content = body.content
    if content is None:
        with platform.transaction(actor) as tx:
            content = library.read(tx, str(body.prompt_id)).content
    return ok(templates.preview(content, body.values))


@router.get("/{prompt_id}")
def get_prompt(platform: Doors, actor: Reader, prompt_id: UUID) -> Envelope[Prompt]:
    with platform.transaction(actor) as tx:
        return ok(library.read(tx, prompt_id))


@router.patch("/{prompt_id}")
def change_prompt(platform: Doors, actor: Writer, prompt_id: UUID, body: PromptChange) -> Envelope[Prompt]:
    """Write a draft again."""
    with platform.transaction(actor) as tx:
        changed = library.revise(
            tx, prompt_id, body.content, seen=body.digest, change_log=body.change_log, metadata=body.metadata
        )
    return ok(changed, "the draft was changed")


@router.post("/{prompt_id}/render")
def render_prompt(platform: Doors, actor: Reader, prompt_id: UUID, body: RenderRequest) -> Envelope[RenderedPrompt]:
    """Fill in the values; 422 names each value that is missing or refused."""
    with platform.transaction(actor) as tx:
        prompt = library.read(tx, prompt_id)
    return ok(templates.Compiled(prompt.content).render(body.values))


@router.get("/{prompt_id}/diff")
def diff_prompt(
    platform: Doors,
    actor: Reader,
    prompt_id: UUID,
    other: Annotated[str, Query(alias="with", max_length=64, description="an id, or a version of the same name")],
) -> Envelope[PromptDifference]:
    """What changed from the other version to this one."""
    with platform.transaction(actor) as tx:
        return ok(library.compare(tx, prompt_id, other))


add_review_routes(router, Kind.PROMPT, writer=Permission.PROMPT_WRITE)
add_lifecycle_routes(router, Kind.PROMPT, writer=Permission.PROMPT_WRITE, deleter=Permission.PROMPT_DELETE)
