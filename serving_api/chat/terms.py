"""What holds for a caller on a route: found once for each state of the routes and the rules, not for each call."""

import msgspec

from llmops_resources.cost.budgets import Budget
from llmops_resources.errors import Unavailable
from llmops_resources.gateway.limits import Limit
from llmops_resources.gateway.policies import RoutePolicy
from llmops_resources.gateway.prompting import RoutePrompt
from llmops_resources.gateway.routes import Snapshot, Target
from llmops_resources.gateway.rules import Rules
from llmops_resources.governance.api_keys import Bearer


class Terms(msgspec.Struct, frozen=True):
    """Who can answer, the route's own target first, and what its calls are made with and within."""

    routes: Snapshot
    rules: Rules
    targets: tuple[Target, ...]
    policy: RoutePolicy
    prompt: RoutePrompt
    budgets: tuple[Budget, ...]
    limits: tuple[Limit, ...]

    @property
    def route(self) -> str:
        """Whose policy and prompt these are."""
        return self.targets[0].route


def terms_of(key: Bearer | None, target: Target, routes: Snapshot, rules: Rules) -> Terms:
    """The terms of whoever has this key, or none, with a target that is open to them.

    Raises what keeps the route from answering when nobody can; a model that lost its approval has no stand-in.
    """
    targets = _answering(key, target, routes, rules)
    return Terms(
        routes=routes,
        rules=rules,
        targets=targets,
        policy=rules.policy(targets[0].route),
        prompt=rules.prompt(targets[0]),
        budgets=rules.budgets_of(key),
        limits=rules.limits_of(key),
    )


def _answering(key: Bearer | None, target: Target, routes: Snapshot, rules: Rules) -> tuple[Target, ...]:
    """The target, then its fallback if the key opens that too."""
    fallback = rules.policy(target.route).fallback_route
    stand_in = routes.targets.get(fallback) if fallback else None
    if stand_in and not (stand_in.serves and (key is None or key.opens(stand_in.route))):
        stand_in = None
    if not target.serves and (refusal := target.refusal):
        if stand_in is None or not isinstance(refusal, Unavailable):
            raise refusal
        return (stand_in,)
    return (target, stand_in) if stand_in else (target,)
