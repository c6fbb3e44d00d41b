"""A job in pods of its own, seen from its run: made, watched, listened to, and removed whatever happens.

The Job comes first and is suspended; its service and its secret belong to it, and it belongs to the run's pod. So
there is no moment at which a killed run leaves anything that Kubernetes would not remove with its owner. A run that
is tried again takes over the Job that its predecessor left, if it asks for the same and is still well; a predecessor
that lives on unnoticed cannot remove it any more, since the Job carries the number of the attempt it belongs to.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal

from llmops_assets import scratch
from llmops_assets.claims import Cancelled
from llmops_assets.programs import Event
from llmops_assets.training import parcels
from llmops_resources.blobs.signing import LONGEST, sign
from llmops_resources.catalog.versions import Version
from llmops_resources.cluster import ATTEMPT, JOB, ROLE, Cluster, Object, QuotaExceeded, Role, owner
from llmops_resources.cluster.values import Change, ChangeKind
from llmops_resources.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    PlatformError,
    Unavailable,
    UpstreamFailed,
    ValidationFailed,
)
from llmops_resources.governance.keys import issue_job_token
from llmops_resources.platform import Platform
from llmops_resources.settings import Settings
from llmops_resources.training import failures, job
from llmops_resources.training.errand import Index, errand, folder, keys_of
from llmops_resources.training.failures import Cause, JobFailed, RootCause
from llmops_resources.training.job import Ask

INDEX: Final = "batch.kubernetes.io/job-completion-index"
RENEWAL: Final = timedelta(days=1)  # of the links, which are good for a week at most
STARTING: Final = {RootCause.IMAGE_PULL: 600.0, RootCause.UNSCHEDULABLE: 1800.0, RootCause.INFRASTRUCTURE: 300.0}
OUTAGE: Final = 900.0  # seconds for which the API may be away while pods train on
LOOK: Final = 5.0  # seconds between two looks at pods that do not start
GOING: Final = 300.0  # seconds for a predecessor's pods to be gone


class ClusterRun:
    """One attempt of a job. `clock` and `sleep` are given by tests."""

    def __init__(
        self,
        platform: Platform,
        cluster: Cluster,
        ask: Ask,
        *,
        on_event: Callable[[Event], None],
        should_stop: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._platform, self._cluster, self._ask = platform, cluster, ask
        self._on_event, self._should_stop, self._clock = on_event, should_stop, clock
        self._mine = {JOB: str(ask.job_id), ROLE: Role.NODE.value}
        self._minikube = cluster.is_minikube()
        self._heard = ""  # the time of the last line of the log
        self._refused: Event | None = None
        self._name = ask.name
        self._waiting: dict[str, tuple[Cause, float]] = {}
        self._looked = 0.0

    def train(self, recipe: str, inputs: Mapping[str, Version], output: Path) -> None:
        """Train in pods, and unpack the model into the new folder `output`.

        Raises Cancelled, JobFailed with the cause, InvalidInput when the program blames its input, Unavailable when
        the API stays away; then the Job is left to the next attempt.
        """
        if self._collect(output):  # an attempt that died after its pods had sent the model
            self.remove()
            return
        try:
            self._name, signed = self._begin(recipe, inputs)
        except PlatformError as error:
            with suppress(PlatformError):
                self.remove()
            raise _refused(error) from error
        try:
            self._follow(recipe, inputs, signed)
            self._listen()
            if not self._collect(output):
                raise JobFailed(failures.cause(RootCause.UNKNOWN, "the pods ended well and left no model"))
        except (Cancelled, UpstreamFailed, InvalidInput, Conflict):
            self.remove()
            raise
        self.remove()

    def remove(self) -> None:
        """Remove the Job, and so everything of it, unless another attempt has taken it over."""
        for _ in range(5):
            there = self._cluster.find("Job", self._name)
            if there is None or there["metadata"]["labels"].get(ATTEMPT) != str(self._ask.attempt):
                return
            try:
                self._cluster.delete("Job", self._name, version=there["metadata"]["resourceVersion"])
            except Conflict:
                continue  # its status has changed meanwhile
            return

    # -- the beginning -----------------------------------------------------------------------------------------------

    def _begin(self, recipe: str, inputs: Mapping[str, Version]) -> tuple[str, float]:
        """Make the Job or take over the one that is there; its name, and when its links were signed."""
        settings = self._platform.settings
        wanted = job.node_job(self._ask, settings, minikube=self._minikube, owner=_own_pod(settings))
        made = self._take_over(wanted) or self._cluster.ensure(wanted)
        name = made["metadata"]["name"]
        held = owner(made, api_version="batch/v1", kind="Job")
        first = self._ask.model_copy(update={"attempt": int(name.rpartition("-")[2])})  # what its pods are called by
        lifetime = timedelta(minutes=self._ask.max_minutes) + timedelta(hours=2)
        token = issue_job_token(settings.signing_key(), self._ask.job_id, lifetime=lifetime)
        self._cluster.apply(job.rendezvous(first, held))
        self._cluster.apply(job.secret(first, held, token=token, errand=self._errand(recipe, inputs)))
        if made["spec"].get("suspend"):
            self._cluster.patch("Job", name, {"spec": {"suspend": False}})
        return name, self._clock()

    def _take_over(self, wanted: Object) -> Object | None:
        """The Job of an earlier attempt that asks for the same and is well; any other is removed first."""
        for there in self._cluster.select("Job", self._mine):
            meta = there["metadata"]
            if meta["name"] == wanted["metadata"]["name"]:
                return there
            same = meta.get("annotations", {}).get(job.MANIFEST) == wanted["metadata"]["annotations"][job.MANIFEST]
            if same and "deletionTimestamp" not in meta and not _condition(there, "Failed"):
                change = {"labels": {ATTEMPT: str(self._ask.attempt)},
                          "ownerReferences": wanted["metadata"].get("ownerReferences")}  # fmt: skip
                return self._cluster.patch("Job", meta["name"], {"metadata": change})
            self._cluster.delete("Job", meta["name"])
        deadline = self._clock() + GOING
        while self._clock() < deadline and self._pods():
            self._cluster.sleep(1.0)  # they may be sending their last checkpoint
        return None

    def _errand(self, recipe: str, inputs: Mapping[str, Version]) -> str:
        blobs = self._platform.blobs

        def signing(method: Literal["GET", "PUT"], keys: Any) -> list[str]:
            return sign(blobs, method, keys, LONGEST)

        files = {name: (scratch.prefix_of(version), version.manifest) for name, version in inputs.items()}
        return errand(self._ask.job_id, recipe, files, signing).model_dump_json(by_alias=True)

    # -- the middle --------------------------------------------------------------------------------------------------

    def _follow(self, recipe: str, inputs: Mapping[str, Version], signed: float) -> None:
        """Until the Job is complete. Raises Cancelled or JobFailed."""
        for change in self._changes():
            if self._should_stop():
                raise Cancelled
            if change is not None and change.name == self._name:
                if change.kind is ChangeKind.DELETED:
                    raise JobFailed(failures.of_pods(None, []) or _unknown())
                if _condition(change.object, "Complete"):
                    return
                if _condition(change.object, "Failed"):
                    self._raise_cause(change.object)
            self._listen()
            self._look_at_waiting()
            if self._clock() - signed > RENEWAL.total_seconds():
                signed = self._clock()
                renewed = {"stringData": {"errand.json": self._errand(recipe, inputs)}}
                self._cluster.patch("Secret", self._name, renewed)

    def _changes(self) -> Iterator[Change | None]:
        """The watch, begun again while the API is away; its pods train on meanwhile. Raises Unavailable."""
        away: float | None = None
        while True:
            try:
                for change in self._cluster.watch("Job", self._mine):
                    away = None
                    yield change
            except Unavailable:
                away = away or self._clock()
                if self._clock() - away > OUTAGE:
                    raise
                self._cluster.sleep(2.0)
                yield None

    def _listen(self) -> None:
        """Hand over what the first pod has said since the last time. While the API is away it can wait."""
        try:
            for pod in self._pods():
                if pod["metadata"]["labels"].get(INDEX) == "0":
                    text = self._cluster.log(pod["metadata"]["name"], container="train", since=self._heard or None)
                    for event in self._events(text):
                        self._on_event(event)
        except (Unavailable, NotFound):
            return

    def _events(self, text: str) -> Iterator[Event]:
        for line in text.splitlines(keepends=True):
            at, _, said = line.partition(" ")
            if not line.endswith("\n") or at <= self._heard:
                continue
            self._heard = at
            try:
                event = json.loads(said)
            except ValueError:
                yield {"event": "log", "message": said.rstrip()}
                continue
            if isinstance(event, dict):
                if event.get("event") == "refused":
                    self._refused = event
                if event.get("event") != "checkpoint":  # its folder is the pod's, which sends it itself
                    yield event

    def _look_at_waiting(self) -> None:
        """Say why pods do not start, and give up when that lasts. Raises JobFailed."""
        now = self._clock()
        if now - self._looked < LOOK:
            return
        self._looked = now
        try:
            there, pods = self._cluster.find("Job", self._name), self._pods()
            none = self._cluster.events(self._name) if not pods else ()
        except Unavailable:
            return
        if there is None:  # removed while nobody watched
            raise JobFailed(failures.of_pods(None, []) or _unknown())
        told = {pod["metadata"]["name"]: why for pod in pods if (why := failures.of_waiting(pod))}
        if (refused := failures.refused(none)) is not None:
            told[self._name] = refused
        self._waiting = {name: (why, self._waiting.get(name, (why, now))[1]) for name, why in told.items()}
        for name, (why, since) in self._waiting.items():
            hopeless = any(failures.is_hopeless(pod) for pod in pods if pod["metadata"]["name"] == name)
            if hopeless or now - since > STARTING.get(why.tag, OUTAGE):
                raise JobFailed(why)
            self._on_event({"event": "progress", "fraction": 0.0, "message": f"waiting: {why.detail}"[:300]})

    # -- the end -----------------------------------------------------------------------------------------------------

    def _raise_cause(self, ended: Object) -> None:
        self._listen()
        if self._refused is not None:
            raise InvalidInput(str(self._refused.get("message")), remedy=str(self._refused.get("remedy") or ""))
        why = failures.of_pods(ended, self._pods(), self._cluster.events(self._name))
        raise JobFailed(why or _unknown())

    def _collect(self, output: Path) -> bool:
        """Fetch the model the first pod has sent; False when there is none."""
        blobs = self._platform.blobs
        index_key, keys = keys_of(f"{folder(self._ask.job_id)}/output")
        try:
            index = Index.model_validate_json(b"".join(blobs.read(index_key)))
        except NotFound:
            return False
        parcels.unpack((chunk for key, _ in zip(keys, index.parts, strict=False) for chunk in blobs.read(key)), output)
        return True

    def _pods(self) -> list[Object]:
        return self._cluster.select("Pod", self._mine)


def run(
    platform: Platform,
    ask: Ask,
    work: Path,
    *,
    recipe: str,
    inputs: Mapping[str, Version],
    on_event: Callable[[Event], None],
    should_stop: Callable[[], bool],
) -> None:
    """Train a job in pods of its own; afterwards `work/output` holds the model, and nothing is left in the cluster.

    In the object store the model and the checkpoints stay below `checkpoints/<job id>`, until the caller has published.

    Raises Cancelled, JobFailed with the cause, InvalidInput when the program blames its input, Unavailable.
    """
    with platform.cluster() as cluster:
        attempt = ClusterRun(platform, cluster, ask, on_event=on_event, should_stop=should_stop)
        attempt.train(recipe, inputs, work / "output")


def _own_pod(settings: Settings) -> Object | None:
    """A reference to the pod we run in, which its environment names (`pods.ITSELF`); None outside a cluster."""
    name, uid = settings.pod_name, settings.pod_uid
    return owner({"metadata": {"name": name, "uid": uid}}, api_version="v1", kind="Pod") if name and uid else None


def _refused(error: PlatformError) -> PlatformError:
    """A cluster that does not take a job is not the fault of its data."""
    if isinstance(error, Unavailable | ValidationFailed):
        return error
    tag = RootCause.UNSCHEDULABLE if isinstance(error, QuotaExceeded) else RootCause.INFRASTRUCTURE
    return JobFailed(failures.cause(tag, str(error), error.remedy))


def _condition(ended: Object, kind: str) -> bool:
    conditions = (ended.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == kind and c.get("status") == "True" for c in conditions)


def _unknown() -> Cause:
    return failures.cause(RootCause.UNKNOWN, "the job failed, and its pods do not say why")
