"""Routes: an immutable snapshot of who serves what, kept fresh in memory so that no request asks the database."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from types import MappingProxyType
from uuid import UUID

from llmops_resources.catalog import approvals, providers, versions
from llmops_resources.catalog.providers import Connection
from llmops_resources.cost.prices import INTERNAL
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, InvalidInput, NotFound, PlatformError, Unavailable, ValidationFailed
from llmops_resources.gateway import prompting
from llmops_resources.gateway.fresh import Fresh
from llmops_resources.gateway.prompting import NO_PROMPT, RoutePrompt
from llmops_resources.serving import endpoints
from llmops_resources.serving.endpoints import CHANNEL, EXTERNAL, Endpoint, EndpointStatus
from llmops_resources.serving.environments import Environment
from llmops_resources.settings import Settings

_PAGE = 500
#: When a route is served in several environments and all are well, the most serious one answers.
_PREFERENCE = {Environment.PROD: 0, Environment.STG: 1, Environment.DEV: 2}


@dataclass(frozen=True)
class Target:
    """The endpoint behind a route. `base_url` is the model server's root, without `/v1`.

    A target with an `external` connection is asked at its provider; `fault` says why that connection is not sound.
    `prompt` is what its calls are made with where its route has none.
    """

    endpoint_id: UUID
    route: str
    environment: Environment
    base_url: str | None
    status: EndpointStatus
    status_detail: str
    ready: int
    model_id: UUID
    model_digest: str
    model_name: str
    version: str
    revision: int
    approved: bool
    created_at: datetime
    external: Connection | None = None
    fault: str = ""
    prompt: RoutePrompt = NO_PROMPT

    @property
    def served_name(self) -> str:
        """The name under which the model server knows its model: the route, or what its provider calls it."""
        return self.external.config.model_name if self.external else self.route

    def url(self, path: str) -> str:
        """Where a call to `/v1/…` goes."""
        if self.external:
            return self.external.config.api_base + path.removeprefix("/v1")
        return f"{self.base_url}{path}"

    @cached_property
    def server(self) -> str:
        """Names the server that is asked: another address, or another endpoint, is another one."""
        return f"{self.endpoint_id} {self.url('')}"

    @cached_property
    def priced_as(self) -> tuple[str, str]:
        """The provider and the model under which its price is found."""
        if self.external:
            return self.external.config.provider.value, self.external.config.model_name
        return INTERNAL, self.model_name

    @cached_property
    def serves(self) -> bool:
        """Whether it can answer now."""
        return self.refusal is None

    @property
    def refusal(self) -> PlatformError | None:
        """Why this target cannot answer now; None when it can."""
        if not self.approved:
            return Conflict(
                f"the model behind {self.route} ({self.model_name} {self.version}) is no longer approved",
                remedy="Roll the endpoint back, or deploy an approved version to it.",
            )
        if self.fault:
            return Unavailable(f"the provider of {self.route} cannot be asked: {self.fault}", remedy=_MEND)
        if self.base_url and (self.status is EndpointStatus.HEALTHY or self._limps):
            return None
        detail = f" ({self.status_detail})" if self.status_detail else ""
        return Unavailable(f"the endpoint of {self.route} is {self.status}{detail}", remedy=_REMEDIES[self.status])

    @property
    def _limps(self) -> bool:
        return self.status is EndpointStatus.DEGRADED and self.ready > 0


_MEND = "Store the key again on the model's page in the catalog, or deploy a new version."
_REMEDIES = {
    EndpointStatus.DEPLOYING: "Wait until it is healthy; GET …/health on this route tells.",
    EndpointStatus.HEALTHY: "It has no address yet; try again in a moment.",
    EndpointStatus.DEGRADED: "Wait for it to recover, or redeploy it.",
    EndpointStatus.FAILED: "Look at the endpoint's log, then redeploy it or roll it back.",
    EndpointStatus.STOPPED: "Redeploy the endpoint to bring it back.",
}


@dataclass(frozen=True)
class Snapshot:
    """Every route at one moment."""

    targets: Mapping[str, Target] = field(default_factory=lambda: MappingProxyType({}))

    def find(self, route: str) -> Target:
        """The target of a route, given bare, as a path or in full. Raises NotFound."""
        target = self.targets.get(route)
        if target is None:
            with contextlib.suppress(ValidationFailed):
                target = self.targets.get(endpoints.normalize_route(route))
        if target is None:
            raise unknown(route)
        return target

    def serving(self, route: str) -> Target:
        """The target of a route that can answer now. Raises NotFound, Conflict (approval) or Unavailable."""
        target = self.find(route)
        if refusal := target.refusal:
            raise refusal
        return target


def unknown(route: str) -> NotFound:
    """The error for a route that is not there, or not there for the caller."""
    shown = "".join(c for c in route[:80] if c.isprintable())
    remedy = "GET /openai/v1/models lists the routes; deploy a model to one."
    return NotFound(f"there is no route {shown!r}", remedy=remedy)


def load(tx: Transaction, settings: Settings) -> Snapshot:
    """Every route as the database has it now; of several environments the one that can answer."""
    best: dict[str, Target] = {}
    for endpoint in _all(tx):
        target = _target(tx, settings, endpoint)
        rival = best.get(target.route)
        if rival is None or _rank(target) < _rank(rival):
            best[target.route] = target
    return Snapshot(MappingProxyType(best))


def _all(tx: Transaction) -> list[Endpoint]:
    found, after = [], None
    while True:
        page = endpoints.search(tx, after=after, limit=_PAGE)
        found += page.items
        if page.next is None:
            return found
        after = page.next


def _target(tx: Transaction, settings: Settings, endpoint: Endpoint) -> Target:
    external, fault = _connection(tx, settings, endpoint)
    return Target(
        endpoint_id=endpoint.id,
        route=endpoint.route,
        environment=endpoint.environment,
        base_url=endpoint.base_url,
        status=endpoint.status,
        status_detail=endpoint.status_detail,
        ready=endpoint.replicas.ready,
        model_id=endpoint.model_id,
        model_digest=endpoint.model_digest,
        model_name=endpoint.model_name,
        version=endpoint.version,
        revision=endpoint.revision,
        approved=approvals.is_live(tx, endpoint.model_id, endpoint.model_digest),
        created_at=endpoint.created_at,
        external=external,
        fault=fault,
        prompt=prompting.of_endpoint(tx, endpoint),
    )


def _connection(tx: Transaction, settings: Settings, endpoint: Endpoint) -> tuple[Connection | None, str]:
    """How an external endpoint's provider is asked, or why it cannot be; one bad secret must not stop all routes."""
    if endpoint.backend != EXTERNAL:
        return None, ""
    try:
        return providers.connect(tx, settings, versions.get(tx, endpoint.model_id)), ""
    except (Conflict, NotFound, InvalidInput) as error:
        return None, error.message


def _rank(target: Target) -> tuple[bool, bool, int]:
    return (target.refusal is not None, target.status is not EndpointStatus.HEALTHY, _PREFERENCE[target.environment])


class RouteTable(Fresh[Snapshot]):
    """The current routes, replaced within a second of a change."""

    def __init__(self, read: Callable[[], Snapshot], conninfo: str) -> None:
        super().__init__("routes", read, conninfo, CHANNEL)
