"""Who calls. In local mode the caller says so in headers, which is why the API then listens on loopback only."""

import asyncio
import logging
import re
from collections.abc import Iterable, Mapping

from llmops_resources.database import Actor
from llmops_resources.errors import Forbidden, InvalidInput, PlatformError
from llmops_resources.governance import api_keys, audit
from llmops_resources.governance.permissions import Permission, Role, require
from llmops_resources.platform import Platform
from llmops_resources.settings import Settings

LOCAL_ADMIN = "local-admin"
LOCAL_USER = "local-user"
#: Headers that say who calls; a proxy to another program must not pass them on.
IDENTITY_HEADERS = frozenset({"authorization", "x-user-id", "x-user-roles"})

# No colon: `system:…` and `job:…` are not for people to claim.
_USER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")
_JWT = re.compile(r"eyJ[\w-]*\.[\w-]+\.[\w-]*")

logger = logging.getLogger(__name__)


def header_map(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """ASGI headers by lower-case name; of a repeated one the first counts, as in Starlette."""
    headers: dict[str, str] = {}
    for name, value in raw:
        headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return headers


def actor_of(settings: Settings, headers: Mapping[str, str]) -> Actor:
    """The caller behind a request's headers (looked up in lower case).

    A bearer that looks like a JSON Web Token must be a valid job token. An API key is refused: it is for the gateway,
    which knows them. Any other bearer is ignored in local mode, since the OpenAI SDKs cannot be stopped from sending
    one. Raises NotAuthenticated, Forbidden, or InvalidInput for an id or a role that cannot be.
    """
    token = bearer(headers)
    if _JWT.fullmatch(token):
        from llmops_resources.governance import keys  # noqa: PLC0415  PyJWT brings 8 MB, for job tokens alone

        return keys.job_actor(settings.signing_key(), token)
    if api_keys.looks_like_one(token):
        raise Forbidden(
            "an API key opens the chat routes only",
            remedy="Use it below /llm-ops/v1/serve/ and /openai/v1; for everything else sign in as a person.",
        )
    user, roles = headers.get("x-user-id"), headers.get("x-user-roles")
    if user is None and roles is None:
        return Actor(LOCAL_ADMIN, frozenset({Role.ADMIN.value}))
    return Actor(_user_id(user), _roles(roles or ""))


def bearer(headers: Mapping[str, str]) -> str:
    """The token of `Authorization: Bearer …`, or nothing."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


async def permitted(platform: Platform, headers: Mapping[str, str], permission: Permission, resource: str) -> Actor:
    """The caller, if the permission is theirs; for the ASGI paths outside FastAPI.

    A denial is written to the audit log, in a thread, before Forbidden is raised.
    """
    actor = actor_of(platform.settings, headers)
    await demanded(platform, actor, permission, resource)
    return actor


async def demanded(platform: Platform, actor: Actor, permission: Permission, resource: str) -> None:
    """Raises Forbidden, after auditing it in a thread, unless the permission is the actor's."""
    try:
        require(actor, permission)
    except Forbidden as error:
        await denied(platform, actor, permission, resource, error.message)
        raise


async def denied(platform: Platform, actor: Actor, permission: Permission, resource: str, reason: str) -> None:
    """Write a denial to the audit log, in a thread."""
    await asyncio.to_thread(_record_denial, platform, actor, permission, resource, reason)


def _record_denial(platform: Platform, actor: Actor, permission: Permission, resource: str, reason: str) -> None:
    try:
        with platform.transaction(actor) as tx:
            audit.deny(tx, permission, permission.split(":", maxsplit=1)[0], resource[:200], reason)
    except PlatformError as error:
        # The caller is refused either way; a database that is down must not turn a 403 into something else.
        logger.error("a denial could not be audited: %s (%s)", reason, error.message)  # noqa: TRY400


def _user_id(user: str | None) -> str:
    if user is None:
        return LOCAL_USER
    if not _USER_ID.fullmatch(user):
        raise InvalidInput(
            "X-User-Id is not a usable id", remedy="Use up to 128 letters, digits or . _ @ + - without spaces."
        )
    return user


def _roles(listed: str) -> frozenset[str]:
    roles = frozenset(part.strip() for part in listed.split(",") if part.strip())
    known = {role.value for role in Role}
    if roles - known:
        shown = ", ".join(sorted(role[:40] for role in roles - known)[:5])
        raise InvalidInput(
            f"X-User-Roles names unknown roles: {shown}", remedy=f"Known are: {', '.join(sorted(known))}."
        )
    return roles
