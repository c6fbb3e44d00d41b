"""Routes: an immutable snapshot of who serves what, kept fresh in memory so that no request asks the database."""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

import psycopg

from llmops_resources.catalog import approvals, providers, versions
from llmops_resources.catalog.providers import Connection
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, InvalidInput, NotFound, PlatformError, Unavailable, ValidationFailed
from llmops_resources.serving import endpoints
from llmops_resources.serving.endpoints import CHANNEL, EXTERNAL, Endpoint, EndpointStatus, Environment
from llmops_resources.settings import Settings

logger = logging.getLogger(__name__)

#: Seconds: between two looks at the database without a notification; and when an old snapshot counts as stale.
POLL_EVERY = 1.0
STALE_AFTER = 30.0
_PAGE = 500
#: When a route is served in several environments and all are well, the most serious one answers.
_PREFERENCE = {Environment.PROD: 0, Environment.STG: 1, Environment.DEV: 2}


@dataclass(frozen=True)
class Target:
    """The endpoint behind a route. `base_url` is the model server's root, without `/v1`.

    A target with an `external` connection is asked at its provider; `fault` says why that connection is not sound.
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

    @property
    def served_name(self) -> str:
        """The name under which the model server knows its model: the route, or what its provider calls it."""
        return self.external.config.model_name if self.external else self.route

    def url(self, path: str) -> str:
        """Where a call to `/v1/…` goes."""
        if self.external:
            return self.external.config.api_base + path.removeprefix("/v1")
        return f"{self.base_url}{path}"

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
            shown = "".join(c for c in route[:80] if c.isprintable())
            raise NotFound(
                f"there is no route {shown!r}", remedy="GET /openai/v1/models lists the routes; deploy a model to one."
            )
        return target

    def serving(self, route: str) -> Target:
        """The target of a route that can answer now. Raises NotFound, Conflict (approval) or Unavailable."""
        target = self.find(route)
        if refusal := target.refusal:
            raise refusal
        return target


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


class RouteTable:
    """The current snapshot, and the task that replaces it within a second of a change.

    `read` loads a snapshot in a transaction of its own (it runs in a thread); `conninfo` is where to LISTEN. With the
    database away the last snapshot stays in use, and counts as stale after STALE_AFTER seconds.
    """

    def __init__(self, read: Callable[[], Snapshot], conninfo: str) -> None:
        self._read = read
        self._conninfo = conninfo
        self._snapshot: Snapshot | None = None
        self._refreshed_at = -math.inf
        self._failing = False
        self._wake = asyncio.Event()

    @property
    def snapshot(self) -> Snapshot:
        """The routes to answer by. Raises Unavailable before they were read for the first time."""
        if self._snapshot is None:
            raise Unavailable("the routes have not been read yet", remedy="Check that the database is up: GET /ready.")
        return self._snapshot

    @property
    def stale(self) -> bool:
        """Whether the routes have not been confirmed for STALE_AFTER seconds."""
        return time.monotonic() - self._refreshed_at > STALE_AFTER

    @contextlib.asynccontextmanager
    async def kept_fresh(self) -> AsyncIterator[None]:
        """Read the routes once, then keep them fresh while the block runs."""
        await self.refresh()
        tasks = [asyncio.create_task(self._poll()), asyncio.create_task(self._listen())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def refresh(self) -> None:
        """Read the routes now; when that fails, keep what there is."""
        asked_at = time.monotonic()
        try:
            self._snapshot = await asyncio.to_thread(self._read)
        except Exception as error:  # noqa: BLE001  whatever the database says, the old routes stay
            if not self._failing:
                logger.warning("the routes could not be read, the last ones stay in use: %r", error)
            self._failing = True
        else:
            self._refreshed_at, self._failing = asked_at, False

    async def _poll(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), POLL_EVERY)
            self._wake.clear()
            await self.refresh()

    async def _listen(self) -> None:
        while True:
            with contextlib.suppress(psycopg.Error, OSError):
                async with await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    self._wake.set()  # what changed while nobody listened
                    async for _ in connection.notifies():
                        self._wake.set()
            await asyncio.sleep(POLL_EVERY)
