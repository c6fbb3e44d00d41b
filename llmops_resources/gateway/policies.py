"""Policies: what a route promises and allows beside its model; and the limits of teams over all of their keys."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import select

from llmops_resources import work
from llmops_resources.database import Transaction
from llmops_resources.errors import ValidationFailed, field_problem
from llmops_resources.gateway.tables import PolicyRow, TeamLimitRow
from llmops_resources.governance.api_keys import CHANNEL, Name, PerMinute
from llmops_resources.governance.permissions import Permission, require
from llmops_resources.serving import endpoints
from llmops_resources.serving.endpoints import normalize_route
from llmops_resources.values import Value, utc_now


class RoutePolicy(Value):
    """How calls to a route are treated; what is None or False does not apply.

    `fallback_route` answers when this route cannot, for those who may use it too. `timeout_seconds` bounds a whole
    call. `max_prompt_bytes` and `max_tokens` bound what is sent and what is asked for; a call that names no
    `max_tokens` gets the route's. Personal data is masked in what is sent (`mask_input`) and answered (`mask_output`).
    Equal calls of one team get a remembered answer for `cache_seconds`.
    """

    fallback_route: Annotated[str, Field(max_length=200)] | None = None
    timeout_seconds: Annotated[float, Field(ge=0.1, le=600)] | None = None
    max_prompt_bytes: Annotated[int, Field(ge=1, le=4 * 1024**2)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    mask_input: bool = False
    mask_output: bool = False
    cache_seconds: Annotated[int, Field(ge=1, le=86_400)] | None = None


class TeamLimits(Value):
    """What all keys of a team together may take in a minute; None is without a limit."""

    team: Name
    requests_per_minute: PerMinute | None = None
    tokens_per_minute: PerMinute | None = None
    updated_by: str = ""
    updated_at: datetime | None = None


NO_POLICY = RoutePolicy()


def of(tx: Transaction, route: str) -> RoutePolicy:
    """The policy of a route; the one that asks for nothing when none was set."""
    row = tx.session.get(PolicyRow, normalize_route(route))
    return RoutePolicy.model_validate(row.settings) if row else NO_POLICY


def change(tx: Transaction, route: str, changes: dict[str, Any]) -> RoutePolicy:
    """Set the named fields of a route's policy. Raises Forbidden, ValidationFailed."""
    require(tx.actor, Permission.SERVING_DEPLOY)
    name = normalize_route(route)
    row = tx.session.get(PolicyRow, name, with_for_update=True)
    before = RoutePolicy.model_validate(row.settings) if row else NO_POLICY
    after = RoutePolicy.model_validate({**before.model_dump(), **changes})
    if after.fallback_route is not None:
        after = after.model_copy(update={"fallback_route": _fallback(tx, name, after.fallback_route)})
    if row is None:
        row = PolicyRow(route=name)
        tx.session.add(row)
    row.settings, row.updated_by, row.updated_at = after.json_dict(), tx.actor.id, utc_now()
    tx.audit("policy.change", "route", name, before=before.json_dict(), after=after.json_dict())
    work.notify(tx, CHANNEL)
    tx.session.flush()
    return after


def limit_team(tx: Transaction, limits: TeamLimits) -> TeamLimits:
    """Set a team's limits. Raises Forbidden."""
    require(tx.actor, Permission.BUDGET_WRITE)
    row = tx.session.get(TeamLimitRow, limits.team, with_for_update=True)
    if row is None:
        row = TeamLimitRow(team=limits.team)
        tx.session.add(row)
    row.requests_per_minute, row.tokens_per_minute = limits.requests_per_minute, limits.tokens_per_minute
    row.updated_by, row.updated_at = tx.actor.id, utc_now()
    asked = limits.model_dump(include={"requests_per_minute", "tokens_per_minute"})
    tx.audit("team.limit", "team", limits.team, **asked)
    work.notify(tx, CHANNEL)
    tx.session.flush()
    return _limits(row)


def team_limits(tx: Transaction) -> list[TeamLimits]:
    """The limits of every team that has some, by name."""
    limited = TeamLimitRow.requests_per_minute.is_not(None) | TeamLimitRow.tokens_per_minute.is_not(None)
    return [_limits(row) for row in tx.session.scalars(select(TeamLimitRow).where(limited).order_by(TeamLimitRow.team))]


def all_of(tx: Transaction) -> dict[str, RoutePolicy]:
    """Every policy, by its route."""
    return {row.route: RoutePolicy.model_validate(row.settings) for row in tx.session.scalars(select(PolicyRow))}


def _fallback(tx: Transaction, route: str, wanted: str) -> str:
    name = normalize_route(wanted)
    if name == route:
        raise _bad_fallback(f"{name} cannot stand in for itself", "Name another route.")
    if not endpoints.search(tx, route=name, limit=1).items:
        raise _bad_fallback(f"there is no route {name!r}", "Deploy a model to it first.")
    return name


def _bad_fallback(problem: str, remedy: str) -> ValidationFailed:
    return ValidationFailed("the fallback is not usable", details=[field_problem("fallbackRoute", problem, remedy)])


def _limits(row: TeamLimitRow) -> TeamLimits:
    return TeamLimits(**{name: getattr(row, name) for name in TeamLimits.model_fields})
