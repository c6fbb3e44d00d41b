"""Rules: an immutable snapshot of everything a call is judged by, kept fresh in memory as the routes are."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from uuid import UUID

from llmops_resources.database import Transaction
from llmops_resources.errors import NotAuthenticated
from llmops_resources.gateway.fresh import Fresh
from llmops_resources.governance import api_keys
from llmops_resources.governance.api_keys import CHANNEL, Bearer


@dataclass(frozen=True)
class Rules:
    """Who may call, and within what, at one moment. `keys` by the hash of their secret."""

    keys: Mapping[str, Bearer] = field(default_factory=lambda: MappingProxyType({}))
    live: frozenset[UUID] = frozenset()

    def bearer(self, token: str) -> Bearer:
        """The key behind a token. Raises NotAuthenticated, in the same words whatever is wrong with it."""
        key = self.keys.get(api_keys.hash_of(token))
        if key is None or key.expires_at <= time.time():
            raise NotAuthenticated(
                "the API key is not known, has expired or was revoked", remedy="Ask whoever issued it for another one."
            )
        return key

    def holds(self, key: Bearer | None) -> bool:
        """Whether a call that began with this key may go on."""
        return key is None or (key.id in self.live and key.expires_at > time.time())


def load(tx: Transaction) -> Rules:
    """The rules as the database has them now."""
    keys = api_keys.bearers(tx)
    return Rules(MappingProxyType(keys), frozenset(key.id for key in keys.values()))


class RuleTable(Fresh[Rules]):
    """The current rules, replaced within a second of a change."""

    def __init__(self, read: Callable[[], Rules], conninfo: str) -> None:
        super().__init__("rules of the gateway", read, conninfo, CHANNEL)
