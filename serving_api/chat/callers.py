"""Who calls the gateway: a person, or an API key, which is looked up in memory."""

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from llmops_resources.database import Actor
from llmops_resources.gateway.rules import Rules
from llmops_resources.governance import api_keys
from llmops_resources.governance.api_keys import Bearer
from llmops_resources.settings import Settings
from serving_api.chat.exchange import Exchange
from serving_api.chat.terms import Terms
from serving_api.identity import actor_of, bearer

_MANY: Final = 10_000


@dataclass(frozen=True)
class Caller:
    """Who calls; without a key there is no team, and no limit but the platform's own.

    `terms` are remembered by what routes were called.
    """

    actor: Actor
    key: Bearer | None = None
    terms: dict[str, Terms] = field(default_factory=dict, compare=False, repr=False)

    @property
    def team(self) -> str:
        return self.key.team if self.key else ""

    @cached_property
    def tenant(self) -> str:
        """Among whom answers may be shared: a key's team, or a person alone."""
        return f"team:{self.key.team}" if self.key else f"actor:{self.actor.id}"

    def opens(self, route: str) -> bool:
        """Whether the caller may use this route."""
        return self.key is None or self.key.opens(route)


class Callers:
    """Finds who calls; a key that was found valid is remembered as long as the rules are the same."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rules: Rules | None = None
        self._known: dict[bytes, Caller] = {}

    def of(self, rules: Rules, exchange: Exchange) -> Caller:
        """The caller behind a request.

        Raises as `actor_of`, and NotAuthenticated for a key that is not valid.
        """
        if rules is not self._rules or len(self._known) > _MANY:
            self._rules, self._known = rules, {}
        authorization = exchange.sent.get(b"authorization", b"")
        caller = self._known.get(authorization)
        if caller is not None and caller.key is not None and caller.key.expires_at > time.time():
            return caller
        headers = exchange.headers
        token = bearer(headers)
        if not api_keys.looks_like_one(token):
            return Caller(actor_of(self._settings, headers))
        key = rules.bearer(token)
        caller = self._known[authorization] = Caller(key.actor, key)
        return caller
