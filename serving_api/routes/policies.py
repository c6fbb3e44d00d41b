"""Policies of routes, and what teams may take in a minute."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field

from llmops_resources.database import Actor
from llmops_resources.gateway import policies
from llmops_resources.gateway.policies import RoutePolicy, TeamLimits
from llmops_resources.governance.api_keys import Name, PerMinute
from llmops_resources.governance.permissions import Permission
from serving_api.dependencies import Doors, Requires
from serving_api.envelope import Envelope, ok
from serving_api.schemas import Body

router = APIRouter(tags=["serving"])
Reader = Annotated[Actor, Depends(Requires(Permission.SERVING_READ))]
Deployer = Annotated[Actor, Depends(Requires(Permission.SERVING_DEPLOY))]
UsageReader = Annotated[Actor, Depends(Requires(Permission.USAGE_READ))]
Keeper = Annotated[Actor, Depends(Requires(Permission.BUDGET_WRITE))]


class PolicyChange(Body):
    """What is left out stays; null takes a setting away."""

    fallback_route: Annotated[str, Field(max_length=200)] | None = None
    timeout_seconds: Annotated[float, Field(ge=0.1, le=600)] | None = None
    max_prompt_bytes: Annotated[int, Field(ge=1, le=4 * 1024**2)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    mask_input: bool = False
    mask_output: bool = False
    cache_seconds: Annotated[int, Field(ge=1, le=86_400)] | None = None


class LimitsInput(Body):
    """Null, or left out, is without a limit."""

    requests_per_minute: PerMinute | None = None
    tokens_per_minute: PerMinute | None = None


@router.get("/serving/routes/{route}/policy")
def get_policy(platform: Doors, actor: Reader, route: str) -> Envelope[RoutePolicy]:
    with platform.transaction(actor) as tx:
        return ok(policies.of(tx, route))


@router.patch("/serving/routes/{route}/policy")
def change_policy(platform: Doors, actor: Deployer, route: str, body: PolicyChange) -> Envelope[RoutePolicy]:
    """Change how calls to a route are treated; it holds within a second, and for the next endpoint of this name too."""
    with platform.transaction(actor) as tx:
        return ok(policies.change(tx, route, body.model_dump(exclude_unset=True)), "the policy is changed")


@router.get("/governance/team-limits")
def list_team_limits(platform: Doors, actor: UsageReader) -> Envelope[list[TeamLimits]]:
    with platform.transaction(actor) as tx:
        return ok(policies.team_limits(tx))


@router.put("/governance/team-limits/{team}")
def limit_team(platform: Doors, actor: Keeper, team: Name, body: LimitsInput) -> Envelope[TeamLimits]:
    """Set what all keys of a team together may take in a minute."""
    with platform.transaction(actor) as tx:
        return ok(policies.limit_team(tx, TeamLimits(team=team, **body.model_dump())), "the limits are set")
