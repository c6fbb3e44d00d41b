"""Which prompt a route's calls are made with: bound, rolled back, taken away."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from llmops_resources.database import Actor
from llmops_resources.governance.permissions import Permission
from llmops_resources.prompts import bindings
from llmops_resources.prompts.bindings import BINDERS, Binding
from llmops_resources.prompts.content import Text
from llmops_resources.prompts.experiments import running
from serving_api.dependencies import Doors, Requires, audited_refusal
from serving_api.envelope import Envelope, ok
from serving_api.schemas import Body

router = APIRouter(tags=["prompts"])
Reader = Annotated[Actor, Depends(Requires(Permission.SERVING_READ))]
Binder = Annotated[Actor, Depends(Requires(*BINDERS))]
Why = Annotated[Text, Field(max_length=2_000)]


class BindRequest(Body):
    """An approved version, and why."""

    prompt_id: UUID
    reason: Why = ""


class Reason(Body):
    reason: Why = ""


@router.get("/prompts/bindings")
def list_bindings(
    platform: Doors, actor: Reader, name: Annotated[str | None, Query(description="of this prompt's versions")] = None
) -> Envelope[list[Binding]]:
    """What every route with a prompt is bound to."""
    with platform.transaction(actor) as tx:
        return ok(bindings.every(tx, name=name))


@router.get("/serving/routes/{route}/prompt")
def get_binding(platform: Doors, actor: Reader, route: str) -> Envelope[Binding | None]:
    with platform.transaction(actor) as tx:
        return ok(bindings.current(tx, route))


@router.get("/serving/routes/{route}/prompt/history")
def list_history(platform: Doors, actor: Reader, route: str) -> Envelope[list[Binding]]:
    """What the route was bound to, newest first."""
    with platform.transaction(actor) as tx:
        return ok(bindings.history(tx, route))


@router.put("/serving/routes/{route}/prompt")
def bind_prompt(platform: Doors, actor: Binder, route: str, body: BindRequest) -> Envelope[Binding]:
    """Make calls to the route with this version, within a second."""
    with audited_refusal(platform, actor, "prompt.bind", route), platform.transaction(actor) as tx:
        return ok(bindings.bind(tx, route, body.prompt_id, reason=body.reason), "the prompt is bound")


@router.delete("/serving/routes/{route}/prompt")
def unbind_prompt(
    platform: Doors, actor: Binder, route: str, reason: Annotated[str, Query(max_length=2_000)] = ""
) -> Envelope[Binding | None]:
    """Take the binding away: the endpoint's own prompt decides, or calls pass as they are sent."""
    with platform.transaction(actor) as tx:
        return ok(bindings.unbind(tx, route, reason=reason), "no prompt is bound")


@router.post("/serving/routes/{route}/prompt/rollback")
def roll_back(platform: Doors, actor: Binder, route: str, body: Reason | None = None) -> Envelope[Binding | None]:
    """Undo the last change: stop the experiment that runs at the route, or go back to the prompt before."""
    with audited_refusal(platform, actor, "prompt.rollback", route), platform.transaction(actor) as tx:
        return ok(running.rollback(tx, route, body.reason if body else ""), "the last change is undone")
