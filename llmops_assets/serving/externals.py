"""Endpoints of external models: no process to run, only a provider to ask now and then whether it answers."""

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from llmops_resources.catalog import probes, providers, secrets
from llmops_resources.catalog.probes import ConnectionReport, Verdict
from llmops_resources.catalog.providers import Connection
from llmops_resources.database import Actor
from llmops_resources.errors import PlatformError
from llmops_resources.platform import Platform
from llmops_resources.serving import endpoints, reconcile
from llmops_resources.serving.endpoints import EndpointStatus, Observation
from llmops_resources.serving.reconcile import Desired

WELL_SECONDS: Final = 60.0  # between two probes of a provider that answers
ILL_SECONDS: Final = 5.0
log = logging.getLogger("llmops.local_agent")


@dataclass
class _Watched:
    """What is known of the provider of one endpoint's revision."""

    revision: int
    key_changed_at: datetime | None
    api_base: str | None = None
    asking: "Future[ConnectionReport] | None" = None
    report: ConnectionReport | None = None
    fault: str = ""
    answered_once: bool = False
    due: float = 0.0


@dataclass
class Externals:
    """The providers this agent watches. Not thread-safe; only the probes happen beside the caller's thread."""

    platform: Platform
    actor: Actor
    _all: dict[UUID, _Watched] = field(default_factory=dict)
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4, "probe"))

    def step(self) -> list[tuple[str, Observation]]:
        """One pass: route and observation of each external endpoint. Raises Unavailable while the database is away."""
        with self.platform.transaction(self.actor) as tx:
            wanted = reconcile.desired(tx, endpoints.EXTERNAL)
            changed = secrets.changed_at(tx, {endpoint.model.id for endpoint in wanted})
        self._all = {endpoint.endpoint_id: self._watched(endpoint, changed) for endpoint in wanted}
        for endpoint in wanted:
            if endpoint.approved and endpoint.replicas:
                self._look(endpoint, self._all[endpoint.endpoint_id])
        return [(endpoint.route, _observation(endpoint, self._all[endpoint.endpoint_id])) for endpoint in wanted]

    def close(self) -> None:
        """Wait for the probes that are under way; each is bounded in time."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _watched(self, endpoint: Desired, changed: dict[UUID, datetime]) -> _Watched:
        watched, key_changed_at = self._all.get(endpoint.endpoint_id), changed.get(endpoint.model.id)
        if watched is None or watched.revision != endpoint.revision:
            return _Watched(endpoint.revision, key_changed_at)
        if watched.key_changed_at != key_changed_at:  # what the old key found out stands until the new one was tried
            watched.key_changed_at, watched.asking, watched.due = key_changed_at, None, 0.0
        return watched

    def _look(self, endpoint: Desired, watched: _Watched) -> None:
        """Take in a probe that ended; begin one that is due."""
        if watched.asking is not None and watched.asking.done():
            watched.report, watched.asking = watched.asking.result(), None
            well = watched.report.verdict in {Verdict.ANSWERED, Verdict.NO_LIST}
            watched.answered_once = watched.answered_once or well
            watched.due = time.monotonic() + (WELL_SECONDS if well else ILL_SECONDS)
        if watched.asking is None and time.monotonic() >= watched.due:
            try:
                connection = self._connection(endpoint)
            except PlatformError as error:
                watched.fault, watched.due = error.message, time.monotonic() + ILL_SECONDS
            else:
                watched.fault, watched.api_base = "", connection.config.api_base
                watched.asking = self._threads.submit(probes.probe, connection, self.platform.settings)

    def _connection(self, endpoint: Desired) -> Connection:
        with self.platform.transaction(self.actor) as tx:
            return providers.connect(tx, self.platform.settings, endpoint.model)


def _observation(wanted: Desired, watched: _Watched) -> Observation:
    status, detail = _status(wanted, watched)
    usable = status in {EndpointStatus.HEALTHY, EndpointStatus.DEGRADED}
    return Observation(
        endpoint_id=wanted.endpoint_id,
        revision=wanted.revision,
        status=status,
        detail=detail,
        base_url=watched.api_base if usable else None,
        ready=int(usable),
        total=wanted.replicas,
    )


def _status(wanted: Desired, watched: _Watched) -> tuple[EndpointStatus, str]:
    """Status and detail: a table read from top to bottom."""
    report = watched.report
    if not wanted.approved:
        return EndpointStatus.FAILED, "the model's approval was withdrawn; it is not served any more"
    if wanted.replicas == 0:
        return EndpointStatus.STOPPED, "scaled to zero"
    if report is None or watched.fault:
        return (EndpointStatus.FAILED, watched.fault) if watched.fault else (EndpointStatus.DEPLOYING, "asking")
    if report.verdict in {Verdict.ANSWERED, Verdict.NO_LIST}:
        return EndpointStatus.HEALTHY, report.detail
    if watched.answered_once and report.verdict is Verdict.FAILED:
        return EndpointStatus.DEGRADED, report.detail  # requests are still tried: it may be back before the next probe
    return EndpointStatus.FAILED, report.detail
