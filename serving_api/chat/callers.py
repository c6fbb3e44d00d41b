"""Who calls the gateway: a person, or an API key, which is looked up in memory."""

from collections.abc import Mapping
from dataclasses import dataclass

from llmops_resources.database import Actor
from llmops_resources.gateway.rules import Rules
from llmops_resources.governance import api_keys
from llmops_resources.governance.api_keys import Bearer
from llmops_resources.settings import Settings
from serving_api.identity import actor_of, bearer


@dataclass(frozen=True)
class Caller:
    """Who calls; without a key there is no team, and no limit but the platform's own."""

    actor: Actor
    key: Bearer | None = None

    @property
    def team(self) -> str:
        return self.key.team if self.key else ""

    @property
    def tenant(self) -> str:
        """Among whom answers may be shared: a key's team, or a person alone."""
        return f"team:{self.key.team}" if self.key else f"actor:{self.actor.id}"

    def opens(self, route: str) -> bool:
        """Whether the caller may use this route."""
        return self.key is None or self.key.opens(route)


def caller_of(settings: Settings, rules: Rules, headers: Mapping[str, str]) -> Caller:
    """The caller behind a request's headers. Raises as `actor_of`, and NotAuthenticated for a key that is not valid."""
    token = bearer(headers)
    if api_keys.looks_like_one(token):
        key = rules.bearer(token)
        return Caller(key.actor, key)
    return Caller(actor_of(settings, headers))
