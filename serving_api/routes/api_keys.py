"""API keys of the gateway: issued, listed, revoked. A secret is in the answer that issues it and nowhere else."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field, field_validator

from llmops_resources.database import Actor, Transaction
from llmops_resources.errors import Conflict
from llmops_resources.governance import api_keys
from llmops_resources.governance.api_keys import LONGEST_DAYS, ApiKey, KeyWish, Name, PerMinute
from llmops_resources.governance.permissions import Permission
from llmops_resources.serving.endpoints import normalize_route
from serving_api import paging
from serving_api.dependencies import Cursor, Doors, IdempotencyKey, Limit, Requires, create_once
from serving_api.envelope import Envelope, ok
from serving_api.schemas import Body

router = APIRouter(prefix="/governance/api-keys", tags=["governance"])
Issuer = Annotated[Actor, Depends(Requires(Permission.KEY_WRITE))]


class KeyCreate(Body):
    """`routes` left out: every route. Limits are per minute; left out, only the team's hold."""

    name: Name
    team: Name
    owner: Name | None = None
    routes: Annotated[list[str], Field(min_length=1, max_length=100)] | None = None
    expires_in_days: Annotated[int, Field(ge=1, le=LONGEST_DAYS)] = 90
    requests_per_minute: PerMinute | None = None
    tokens_per_minute: PerMinute | None = None

    @field_validator("name", "team", "owner")
    @classmethod
    def _printable(cls, value: str | None) -> str | None:
        if value is not None and not value.isprintable():
            raise ValueError("use printable characters only")
        return value

    def wish(self) -> KeyWish:
        """The same, its routes by their bare names. Raises ValidationFailed for one that cannot be."""
        routes = tuple(normalize_route(route) for route in self.routes) if self.routes is not None else None
        return KeyWish(**{**self.model_dump(), "routes": routes})


class IssuedKey(ApiKey):
    """A new key with its secret: `Authorization: Bearer <secret>`."""

    secret: str


@router.post("")
def create_key(
    platform: Doors, actor: Issuer, request: Request, body: KeyCreate, key: IdempotencyKey = None
) -> Envelope[IssuedKey]:
    """Issue a key. Keep its secret: this answer alone has it, and a repeat under an Idempotency-Key is a 409."""
    wish, secrets = body.wish(), list[str]()

    def issue(tx: Transaction) -> ApiKey:
        made, secret = api_keys.create(tx, wish)
        secrets.append(secret)
        return made

    # What is remembered under an Idempotency-Key is the key without its secret.
    made = create_once(platform, actor, request, key, body.model_dump_json(), issue)
    if not secrets:
        raise Conflict(
            f"the API key {made['id']} was issued by this request before, and its secret was shown then",
            remedy="If the secret is lost, revoke the key and issue another under a new Idempotency-Key.",
        )
    return ok(IssuedKey(**made, secret=secrets[0]), "keep the secret, it is not shown again")


@router.get("")
def list_keys(
    platform: Doors,
    actor: Issuer,
    response: Response,
    team: str | None = None,
    owner: str | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Envelope[list[ApiKey]]:
    """Keys, newest first, revoked ones too; without `key:manage` one's own."""
    signing = platform.settings.signing_key()
    with platform.transaction(actor) as tx:
        page = api_keys.search(tx, team=team, owner=owner, after=paging.decode(cursor, signing), limit=limit)
    return ok(paging.send(response, page, signing))


@router.delete("/{key_id}")
def revoke_key(platform: Doors, actor: Issuer, key_id: UUID) -> Envelope[ApiKey]:
    """Revoke a key for good; calls with it are refused within seconds, and its open streams end."""
    with platform.transaction(actor) as tx:
        return ok(api_keys.revoke(tx, key_id), "the key is revoked")
