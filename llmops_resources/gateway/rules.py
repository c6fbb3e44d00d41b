"""Rules: an immutable snapshot of everything a call is judged by, kept fresh in memory as the routes are."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from uuid import UUID

from llmops_resources.cost import budgets, prices
from llmops_resources.cost.budgets import Budget
from llmops_resources.cost.prices import PriceList
from llmops_resources.database import Transaction
from llmops_resources.errors import NotAuthenticated
from llmops_resources.gateway import policies, processes, prompting
from llmops_resources.gateway.fresh import Fresh
from llmops_resources.gateway.limits import Limit
from llmops_resources.gateway.policies import NO_POLICY, RoutePolicy, TeamLimits
from llmops_resources.gateway.prompting import RoutePrompt
from llmops_resources.gateway.routes import Target
from llmops_resources.governance import api_keys
from llmops_resources.governance.api_keys import CHANNEL, Bearer


@dataclass(frozen=True)
class Rules:
    """Who may call, and within what, at one moment. `keys` by the hash of their secret."""

    keys: Mapping[str, Bearer] = field(default_factory=lambda: MappingProxyType({}))
    live: frozenset[UUID] = frozenset()
    policies: Mapping[str, RoutePolicy] = field(default_factory=lambda: MappingProxyType({}))
    teams: Mapping[str, TeamLimits] = field(default_factory=lambda: MappingProxyType({}))
    prices: PriceList = field(default_factory=PriceList)
    budgets: Mapping[str, tuple[Budget, ...]] = field(default_factory=lambda: MappingProxyType({}))
    processes: int = 1
    prompts: Mapping[str, RoutePrompt] = field(default_factory=lambda: MappingProxyType({}))

    def bearer(self, token: str) -> Bearer:
        """The key behind a token. Raises NotAuthenticated, in the same words whatever is wrong with it."""
        key = self.keys.get(api_keys.hash_of(token))
        if key is None or key.expires_at <= time.time():
            raise NotAuthenticated(
                "the API key is not known, has expired or was revoked", remedy="Ask whoever issued it for another one."
            )
        return key

    def policy(self, route: str) -> RoutePolicy:
        """How calls to a route are treated."""
        return self.policies.get(route, NO_POLICY)

    def prompt(self, target: Target) -> RoutePrompt:
        """What calls to a target are made with: what its route has, or else the endpoint's own."""
        return self.prompts.get(target.route, target.prompt)

    def limits_of(self, key: Bearer | None) -> tuple[Limit, ...]:
        """The limits of a key and of its team."""
        team = self.teams.get(key.team) if key else None
        named = ((f"key {key.id}", key), (f"team {key.team}", team)) if key else ()
        return tuple(
            Limit(scope, unit, most)
            for scope, limits in named
            for unit in ("requests", "tokens")
            if (most := getattr(limits, f"{unit}_per_minute", None)) is not None
        )

    def budgets_of(self, key: Bearer | None) -> tuple[Budget, ...]:
        """The budgets that pay for a call: those of its team, and those of the key itself."""
        mine = self.budgets.get(key.team, ()) if key else ()
        return tuple(budget for budget in mine if key and budget.key_id in {None, key.id})

    def holds(self, key: Bearer | None) -> bool:
        """Whether a call that began with this key may go on."""
        return key is None or (key.id in self.live and key.expires_at > time.time())


def load(tx: Transaction) -> Rules:
    """The rules as the database has them now."""
    keys = api_keys.bearers(tx)
    teams = {limits.team: limits for limits in policies.team_limits(tx)}
    paying: dict[str, tuple[Budget, ...]] = {}
    for budget in budgets.in_force(tx):
        paying[budget.team] = (*paying.get(budget.team, ()), budget)
    return Rules(
        keys=MappingProxyType(keys),
        live=frozenset(key.id for key in keys.values()),
        policies=MappingProxyType(policies.all_of(tx)),
        teams=MappingProxyType(teams),
        prices=prices.load(tx),
        budgets=MappingProxyType(paying),
        processes=processes.count(tx),
        prompts=MappingProxyType(prompting.load(tx)),
    )


class RuleTable(Fresh[Rules]):
    """The current rules, replaced within a second of a change."""

    def __init__(self, read: Callable[[], Rules], conninfo: str) -> None:
        super().__init__("rules of the gateway", read, conninfo, CHANNEL)
