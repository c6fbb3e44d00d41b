"""What a handler may ask for: the platform, a permitted actor, and an idempotent transaction."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import Depends, Header, Query, Request

from llmops_resources.database import Actor, Transaction
from llmops_resources.errors import Forbidden, PlatformError
from llmops_resources.governance import audit
from llmops_resources.governance.idempotency import once
from llmops_resources.governance.permissions import Permission, may, require
from llmops_resources.platform import Platform
from llmops_resources.values import Value
from serving_api.identity import actor_of


def platform_of(request: Request) -> Platform:
    """The doors this process opened at start."""
    platform: Platform = request.app.state.platform
    return platform


class Requires:
    """The permissions of a route, any of which opens it. Every route has one; the census refuses a route without.

    A denial is written to the audit log before it is raised.
    """

    def __init__(self, *permissions: Permission) -> None:
        self.permissions = permissions

    def __call__(self, request: Request) -> Actor:
        platform = platform_of(request)
        actor = actor_of(platform.settings, request.headers)
        if not any(may(actor, permission) for permission in self.permissions):
            demand(platform, actor, self.permissions[0], str(next(iter(request.path_params.values()), "")))
        return actor


def demand(platform: Platform, actor: Actor, permission: Permission, resource: str) -> None:
    """Raises Forbidden unless the actor has the permission; the denial is audited."""
    try:
        require(actor, permission)
    except Forbidden as error:
        with platform.transaction(actor) as tx:
            audit.deny(tx, permission, permission.split(":")[0], resource[:200], error.message)
        raise


Doors = Annotated[Platform, Depends(platform_of)]
Limit = Annotated[int, Query(ge=1, le=500, description="how many entries a page has")]
Cursor = Annotated[str | None, Query(description="X-Next-Cursor of the page before", max_length=500)]
IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key", description="makes a repeat harmless")]


def create_once(
    platform: Platform,
    actor: Actor,
    request: Request,
    key: str | None,
    body: str,
    produce: Callable[[Transaction], Value],
) -> Any:
    """Run a creating verb in one transaction; under the same Idempotency-Key it happens once.

    `produce` returns a Value; the JSON of its first answer is what every repeat gets.
    """
    fingerprint = hashlib.sha256(f"{request.method} {request.url.path}\n{body}".encode()).hexdigest()
    with platform.transaction(actor) as tx:
        return once(tx, key, fingerprint, lambda: produce(tx).json_dict())


@contextmanager
def audited_refusal(platform: Platform, actor: Actor, action: str, resource: str) -> Iterator[None]:
    """Write a refused governance decision to the audit log, then let it through."""
    try:
        yield
    except PlatformError as error:
        with platform.transaction(actor) as tx:
            audit.deny(tx, action, action.split(".", maxsplit=1)[0], resource, error.message)
        raise
