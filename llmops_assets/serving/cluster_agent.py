"""The cluster backends: endpoints as Deployments or InferenceServices, applied, watched and withdrawn.

Every two seconds it reads the wanted endpoints, lists what the cluster has of them, applies and removes what differs
(`llmops_resources/serving/converging.py`), and writes down what their pods say (`pod_status.py`). It remembers nothing
that matters: killed at any point, the next one finds by labels what there is and goes on. One endpoint's refusal holds
up no other, and is tried again after a pause. A cluster that cannot be reached changes nothing that was observed; only
an approval that was withdrawn is written down at once, so that the gateway stops asking.
"""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from llmops_assets.serving.log_tails import LogTails, of_pods
from llmops_resources.catalog import approvals
from llmops_resources.cluster import Cluster, Object
from llmops_resources.cluster.values import ENDPOINT
from llmops_resources.database import Actor, Transaction
from llmops_resources.errors import NotFound, PlatformError, Unavailable
from llmops_resources.platform import Platform
from llmops_resources.serving import converging, deployments, endpoints, events, falling_back, manifests, pod_status
from llmops_resources.serving.converging import Step
from llmops_resources.serving.endpoints import EndpointStatus, Observation
from llmops_resources.serving.environments import Environment
from llmops_resources.serving.options import IN_A_CLUSTER
from llmops_resources.serving.placing import MARKS, Placement, namespace, placement, short
from llmops_resources.serving.pod_status import Verdict
from llmops_resources.serving.reconcile import Desired, backoff, desired
from llmops_resources.values import utc_now

ACTOR: Final = Actor("system:cluster-agent")
PERIOD: Final = 2.0
#: Seconds after which everything is applied once more, and namespaces without endpoints are searched for leftovers.
RESYNC: Final = 120.0
USABLE: Final = frozenset({EndpointStatus.HEALTHY, EndpointStatus.DEGRADED})
log = logging.getLogger("llmops.cluster_agent")


@dataclass
class _Failing:
    """An endpoint whose last pass was refused; it is tried again at `due` (monotonic seconds)."""

    revision: int
    failures: int
    due: float


@dataclass(frozen=True)
class _Held:
    """What a namespace has of our endpoints, each by the endpoint's id. `pods` is None when they cannot be listed."""

    objects: Mapping[str, list[Object]]
    pods: Mapping[str, list[Object]] | None
    kserve: bool  # whether InferenceServices are known here


@dataclass
class ClusterAgent:
    """One agent over every environment's namespace. Not thread-safe."""

    platform: Platform
    cluster: Cluster
    _failing: dict[str, _Failing] = field(default_factory=dict)
    _occupied: set[str] = field(default_factory=set)
    _synced: float = float("-inf")
    _seen: dict[object, Observation] = field(default_factory=dict)
    _tails: dict[str, LogTails] = field(default_factory=dict)

    def step(self) -> None:
        """One pass. Raises Unavailable when the database is away; and at its end when a namespace could not be seen."""
        with self.platform.transaction(ACTOR) as tx:
            wanted = desired(tx, *IN_A_CLUSTER)
        for endpoint in wanted:
            if not endpoint.approved:
                self._note(endpoint, _withdrawn())
        again, failed = time.monotonic() - self._synced >= RESYNC, None
        for environment in Environment:
            here = [endpoint for endpoint in wanted if endpoint.environment == environment]
            if here or again or environment in self._occupied:
                try:
                    self._environment(environment, here, again)
                except Unavailable as error:  # a namespace that is closed to us is no reason to leave the next
                    failed = error
        if failed is not None:
            raise failed
        if again:
            self._synced = time.monotonic()

    def _environment(self, environment: str, wanted: Sequence[Desired], again: bool) -> None:
        door = self.cluster.within(namespace(self.platform.settings, environment))
        try:
            held = _look(door)
        except Unavailable as error:
            for endpoint in wanted:
                self._not_seen(endpoint, error)
            if wanted:
                raise
            return  # nothing is wanted of a namespace that we may not even look into
        by_id = {str(endpoint.endpoint_id): endpoint for endpoint in wanted}
        for endpoint_id in held.objects.keys() - by_id.keys():
            self._remove(door, endpoint_id, held.objects[endpoint_id])
        for endpoint_id, endpoint in by_id.items():
            self._endpoint(door, endpoint, held, held.objects.get(endpoint_id, []), again)
        tails = self._tails.setdefault(environment, LogTails(self.platform, ACTOR))
        tails.bring(wanted, of_pods(door, held.pods or {}))
        (self._occupied.add if held.objects or wanted else self._occupied.discard)(environment)

    def _remove(self, door: Cluster, endpoint_id: str, found: list[Object]) -> None:
        """Take a deleted endpoint's objects away; what fails is tried again at the next pass."""
        try:
            _carry_out(door, converging.converge([], found))
        except PlatformError as error:
            log.warning("what is left of endpoint %s stays for now: %s", endpoint_id, error)

    def _endpoint(self, door: Cluster, wanted: Desired, held: _Held, found: list[Object], again: bool) -> None:
        key = str(wanted.endpoint_id)
        failing = self._failing.get(key)
        if failing and failing.revision == wanted.revision and wanted.approved and time.monotonic() < failing.due:
            return
        try:
            verdict, placed = self._bring_about(door, wanted, held, found, again)
        except PlatformError as error:
            failures = failing.failures + 1 if failing and failing.revision == wanted.revision else 1
            self._failing[key] = _Failing(wanted.revision, failures, time.monotonic() + backoff(failures))
            self._not_seen(wanted, error)
            return
        self._failing.pop(key, None)
        if placed is None:
            return  # withdrawn; that was noted already
        url = manifests.address(placed, self.platform.settings) if verdict.status in USABLE else None
        self._note(wanted, verdict, url)
        self._fall_back(placed, (held.pods or {}).get(key, []))

    def _bring_about(
        self, door: Cluster, wanted: Desired, held: _Held, found: list[Object], again: bool
    ) -> tuple[Verdict, Placement | None]:
        """Apply and remove what differs, then judge by what there is."""
        pods = None if held.pods is None else held.pods.get(str(wanted.endpoint_id), [])
        placed = placement(wanted) if wanted.approved else None
        objects = manifests.build(placed, self.platform.settings) if placed else []
        if not held.kserve and any(thing["kind"] == "InferenceService" for thing in objects):
            raise NotFound("KServe is not installed in the cluster", remedy="Install it, or use backend kubernetes.")
        withdrawn = bool(placed) and self._holds_withdrawn(wanted, pods or [])
        _carry_out(door, converging.converge(objects, found, again=again, withdrawn=withdrawn))
        if placed is None:
            return _withdrawn(), None
        if withdrawn:
            return Verdict(EndpointStatus.DEPLOYING, "replicas with withdrawn bytes are ending", 0, 0), placed
        workload = next((thing for thing in found if thing["kind"] in converging.WORKLOADS), None)
        return pod_status.assess(placed, pods, workload), placed

    def _fall_back(self, placed: Placement, pods: Sequence[Object]) -> None:
        """Have it served on CPUs when no GPU was free for as long as the installation waits."""
        if not falling_back.is_due(placed, pods, self.platform.settings, utc_now()):
            return
        try:
            with self.platform.transaction(ACTOR) as tx:
                falling_back.fall_back(tx, self.platform.settings, placed)
        except PlatformError as error:  # somebody changed it meanwhile, say; the next pass looks again
            log.warning("%s is not moved to CPUs: %s", placed.route, error)

    def _holds_withdrawn(self, wanted: Desired, pods: Sequence[Object]) -> bool:
        """Whether pods of an earlier revision serve bytes that may not be served any more."""
        other = converging.digests(pods) - {short(wanted.model.digest or "")}
        if not other:
            return False
        with self.platform.transaction(ACTOR) as tx:
            return bool(other - _live(tx, wanted))

    def _not_seen(self, wanted: Desired, error: PlatformError) -> None:
        """Note why a revision does not come about; what answered so far is not said to have stopped."""
        before = self._seen.get(wanted.endpoint_id)
        if not wanted.approved or (
            isinstance(error, Unavailable) and before and before.revision == wanted.revision and before.base_url
        ):
            log.warning("%s: %s", wanted.route, error)
            return
        status = EndpointStatus.DEPLOYING if isinstance(error, Unavailable) else EndpointStatus.FAILED
        self._note(wanted, Verdict(status, error.told, 0, wanted.replicas))

    def _note(self, wanted: Desired, verdict: Verdict, url: str | None = None) -> None:
        seen = Observation(
            endpoint_id=wanted.endpoint_id,
            revision=wanted.revision,
            status=verdict.status,
            detail=verdict.detail,
            base_url=url,
            ready=verdict.ready,
            total=verdict.total,
        )
        with self.platform.transaction(ACTOR) as tx:
            endpoints.observe(tx, seen)
            if self._seen.get(wanted.endpoint_id) != seen:
                events.forget(tx, wanted.endpoint_id)
        if self._seen.get(wanted.endpoint_id) != seen:
            log.info("%s is %s %s", wanted.route, seen.status, seen.detail)
            self._seen[wanted.endpoint_id] = seen


def run(platform: Platform, stop: threading.Event) -> None:
    """Reconcile until `stop` is set; waits for a cluster that is not there yet."""
    while not stop.is_set():
        try:
            with platform.cluster() as cluster:
                agent = ClusterAgent(platform, cluster)
                while not stop.is_set():
                    try:
                        agent.step()
                    except PlatformError as error:
                        log.warning("%s", error)
                    stop.wait(PERIOD)
        except PlatformError as error:  # no kubeconfig yet
            log.warning("%s", error)
            stop.wait(5 * PERIOD)


def _look(door: Cluster) -> _Held:
    """What there is. Raises Unavailable when it cannot be listed; pods alone may be out of sight."""
    objects: list[Object] = []
    kserve = True
    for kind in manifests.APPLIED:
        try:
            objects += [{"kind": kind, **thing} for thing in door.select(kind, MARKS)]
        except (NotFound, Unavailable):
            if kind != "InferenceService":
                raise
            kserve = False  # its definition is not installed, or not ours to see
    return _Held(converging.by_endpoint(objects), _pods(door), kserve)


def _pods(door: Cluster) -> dict[str, list[Object]] | None:
    """The pods of each endpoint; None when they cannot be seen."""
    found: dict[str, list[Object]] = {}
    try:
        for pod in door.select("Pod", MARKS):
            found.setdefault(pod["metadata"]["labels"].get(ENDPOINT, ""), []).append(pod)
    except PlatformError as error:
        log.warning("pods cannot be seen: %s", error)
        return None
    return found


def _carry_out(door: Cluster, steps: Sequence[Step]) -> None:
    """Every step in order. A removal that fails holds up no other, and is raised at the end."""
    failed: PlatformError | None = None
    for step in steps:
        log.info("%s %s %s: %s", step.verb, step.kind, step.name, step.reason)
        if step.manifest is not None:
            door.apply(step.manifest)
            continue
        try:
            door.delete(step.kind, step.name)
        except PlatformError as error:
            failed = failed or error
    if failed is not None:
        raise failed


def _live(tx: Transaction, wanted: Desired) -> frozenset[str]:
    """Of the bytes the endpoint ever had, those whose approval is live."""
    ever = deployments.contents(tx, wanted.endpoint_id)
    return frozenset(short(digest) for model_id, digest in ever if approvals.is_live(tx, model_id, digest))


def _withdrawn() -> Verdict:
    return Verdict(EndpointStatus.FAILED, "the model's approval was withdrawn; it is not served any more", 0, 0)
