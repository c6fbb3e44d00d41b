"""API keys of the gateway: issued to a team, shown once, stored as a hash, expiring, revoked for good.

A key is `llmops-` and 256 random bits, so that its plain SHA-256 cannot be searched for. It chats on the routes it
names, under its own limits and its team's, and can do nothing else.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Annotated, Final
from uuid import UUID

from pydantic import Field
from sqlalchemy import select

from llmops_resources import pages, work
from llmops_resources.database import Actor, Transaction
from llmops_resources.errors import NotFound
from llmops_resources.governance.permissions import Permission, may, require
from llmops_resources.governance.tables import ApiKeyRow
from llmops_resources.pages import Page, Position
from llmops_resources.values import Value, utc_now

CHANNEL: Final = "llmops_rules"
PREFIX: Final = "llmops-"
LONGEST_DAYS: Final = 366
Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^\S(.*\S)?$")]
PerMinute = Annotated[int, Field(ge=1, le=1_000_000_000)]
_SECRET: Final = re.compile(r"llmops-[A-Za-z0-9_-]{43}")


class ApiKey(Value):
    """A key as people see it; no answer has its secret. `routes`: None is every route. Times are UTC."""

    id: UUID
    name: str
    team: str
    owner: str
    hint: str
    routes: tuple[str, ...] | None
    requests_per_minute: int | None
    tokens_per_minute: int | None
    created_by: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    revoked_by: str | None


class KeyWish(Value):
    """What somebody asks for. `routes`: bare names, None for every route; limits are calls and tokens a minute."""

    name: Name
    team: Name
    owner: Name | None = None
    routes: Annotated[tuple[str, ...], Field(min_length=1, max_length=100)] | None = None
    expires_in_days: Annotated[int, Field(ge=1, le=LONGEST_DAYS)] = 90
    requests_per_minute: PerMinute | None = None
    tokens_per_minute: PerMinute | None = None


@dataclass(frozen=True)
class Bearer:
    """What the gateway keeps of a key in memory. `expires_at` in Unix seconds; `routes` None is every route."""

    id: UUID
    team: str
    routes: frozenset[str] | None
    expires_at: float
    requests_per_minute: int | None
    tokens_per_minute: int | None

    @cached_property
    def actor(self) -> Actor:
        return Actor(id=f"key:{self.id}", key_id=self.id)

    def opens(self, route: str) -> bool:
        """Whether the key may call this route."""
        return self.routes is None or route in self.routes


def looks_like_one(token: str) -> bool:
    """Whether a bearer token claims to be a key of ours."""
    return token.lower().startswith(PREFIX)


def hash_of(token: str) -> str:
    """The hash under which a token would be known; "" when it cannot be a key."""
    return hashlib.sha256(token.encode()).hexdigest() if _SECRET.fullmatch(token) else ""


def create(tx: Transaction, wish: KeyWish) -> tuple[ApiKey, str]:
    """Issue a key; returns it with its secret, which nobody can tell again. Raises Forbidden."""
    require(tx.actor, Permission.KEY_WRITE)
    secret = PREFIX + secrets.token_urlsafe(32)
    row = ApiKeyRow(
        **wish.model_dump(exclude={"owner", "routes", "expires_in_days"}),
        owner=wish.owner or tx.actor.id,
        routes=sorted(set(wish.routes)) if wish.routes is not None else None,
        secret_hash=hash_of(secret),
        hint=f"…{secret[-4:]}",
        created_by=tx.actor.id,
        expires_at=utc_now() + timedelta(days=wish.expires_in_days),
    )
    tx.session.add(row)
    tx.session.flush()
    work.notify(tx, CHANNEL)
    tx.audit(
        "key.create", "key", row.id, name=row.name, team=row.team, owner=row.owner, routes=row.routes,
        expiresAt=row.expires_at.isoformat(),
    )  # fmt: skip
    return _value(row), secret


def search(
    tx: Transaction,
    *,
    team: str | None = None,
    owner: str | None = None,
    after: Position | None = None,
    limit: int = 50,
) -> Page[ApiKey]:
    """Keys, newest first; who does not manage all of them sees those they own or issued. Raises Forbidden."""
    require(tx.actor, Permission.KEY_WRITE)
    exact = {"team": team, "owner": owner}
    query = select(ApiKeyRow).filter_by(**{name: wanted for name, wanted in exact.items() if wanted is not None})
    if not may(tx.actor, Permission.KEY_MANAGE):
        query = query.where((ApiKeyRow.owner == tx.actor.id) | (ApiKeyRow.created_by == tx.actor.id))
    return pages.fetch(tx, query, (ApiKeyRow.created_at, ApiKeyRow.id), after=after, limit=limit, value=_value)


def revoke(tx: Transaction, key_id: UUID) -> ApiKey:
    """Take a key back for good; doing it twice changes nothing. Raises NotFound, for somebody else's key too."""
    require(tx.actor, Permission.KEY_WRITE)
    row = tx.session.get(ApiKeyRow, key_id, with_for_update=True)
    mine = row is not None and tx.actor.id in {row.owner, row.created_by}
    if row is None or not (mine or may(tx.actor, Permission.KEY_MANAGE)):
        raise NotFound(f"there is no API key {key_id}", remedy="List the keys to find its id.")
    if row.revoked_at is None:
        row.revoked_at, row.revoked_by = utc_now(), tx.actor.id
        tx.audit("key.revoke", "key", row.id, name=row.name, team=row.team)
        work.notify(tx, CHANNEL)
        tx.session.flush()
    return _value(row)


def bearers(tx: Transaction) -> dict[str, Bearer]:
    """Every key that is valid now, by its secret's hash."""
    valid = select(ApiKeyRow).where(ApiKeyRow.revoked_at.is_(None), ApiKeyRow.expires_at > utc_now())
    return {
        row.secret_hash: Bearer(
            id=row.id,
            team=row.team,
            routes=frozenset(row.routes) if row.routes is not None else None,
            expires_at=row.expires_at.timestamp(),
            requests_per_minute=row.requests_per_minute,
            tokens_per_minute=row.tokens_per_minute,
        )
        for row in tx.session.scalars(valid)
    }


def _value(row: ApiKeyRow) -> ApiKey:
    return ApiKey(**{name: getattr(row, name) for name in ApiKey.model_fields})
