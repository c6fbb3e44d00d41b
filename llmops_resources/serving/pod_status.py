"""What an endpoint's pods say about it: a pure function from what the cluster reports to a status a person can act on.

Replicas decide first, since one that answers is worth keeping in traffic: all ready is healthy, some ready degraded;
with none ready one that failed makes it failed, and anything else is still deploying. Where no pods are to be seen, the
Deployment's or the InferenceService's own conditions speak (FR-006r).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from llmops_resources.cluster.values import Object
from llmops_resources.errors import in_sentences
from llmops_resources.serving.endpoints import EndpointStatus
from llmops_resources.serving.placing import FETCHER, MISMATCH, REVISION, STORE_SECRET, Placement

_IMAGE: Final = frozenset(
    {"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
)
_SETUP: Final = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_LONGEST: Final = 400
_GPU: Final = "nvidia.com/gpu"
#: What of a pod's requests is short, and what to do about it; read from top to bottom.
_SHORTAGES: Final = (
    (_GPU, "Redeploy with useGpu false, or wait until a GPU is free."),
    ("Insufficient memory", "Lower memoryRequest, or add a node with more memory."),
    ("Insufficient cpu", "Lower cpuRequest, or add a node with more cores."),
    ("taint", "Free a node of its taint, or add one without."),
)


@dataclass(frozen=True)
class Verdict:
    """A status, why, and how many replicas are ready of how many."""

    status: EndpointStatus
    detail: str
    ready: int
    total: int


@dataclass(frozen=True)
class Trouble:
    """What is wrong with a pod. `final` when waiting alone will not mend it."""

    told: str
    final: bool


def assess(placed: Placement, pods: Sequence[Object] | None, workload: Object | None) -> Verdict:
    """The endpoint's status. `pods` are its own, None when they cannot be seen; `workload` is what made them."""
    alive = [pod for pod in pods or () if "deletionTimestamp" not in pod["metadata"]]
    if placed.max_replicas == 0:
        left = len(alive)
        status = EndpointStatus.DEPLOYING if left else EndpointStatus.STOPPED
        return Verdict(status, f"scaling to zero: {left} left" if left else "scaled to zero", 0, 0)
    mine = [pod for pod in alive if _revision(pod) == str(placed.revision)]
    older = [pod for pod in alive if _revision(pod) != str(placed.revision)]
    if placed.options.on_knative and any(map(_is_ready, mine)):
        older = []  # Knative sends them nothing any more, and takes them away in its own time
    if not alive:
        return _of_workload(placed, workload, seen=pods is not None)
    troubles = [found for pod in mine if (found := trouble(pod)) is not None]
    ready, total = sum(map(_is_ready, mine)), max(placed.min_replicas, len(mine))
    told = next((found.told for found in sorted(troubles, key=lambda found: not found.final)), "")
    if ready == total and not older:
        return Verdict(EndpointStatus.HEALTHY, "", ready, total)
    answering = ready + sum(map(_is_ready, older))
    if answering:
        progress = f"{ready} of {total} replicas of revision {placed.revision} are ready"
        still = f"; {len(older)} of an earlier one still answer" if older else ""
        return Verdict(EndpointStatus.DEGRADED, in_sentences(progress + still, told), answering, total)
    if any(found.final for found in troubles):
        return Verdict(EndpointStatus.FAILED, told, 0, total)
    return Verdict(EndpointStatus.DEPLOYING, told or _phase(mine) or _conditions(workload), 0, total)


def trouble(pod: Object) -> Trouble | None:
    """What keeps a pod from being ready, where the cluster says so."""
    if _is_ready(pod):
        return None
    status = pod.get("status", {})
    if status.get("phase") == "Failed" and not _has_containers(status):
        said = f"a pod failed: {status.get('reason', '')} {status.get('message', '')}"
        return Trouble(in_sentences(_short(said), "It is replaced; see the node's disk and memory."), True)
    for container in _containers(status):
        found = _of_container(pod, container)
        if found is not None:
            return found
    return _unscheduled(status)


def without_gpu_since(placed: Placement, pods: Sequence[Object]) -> datetime | None:
    """Since when an endpoint answers nobody because no node has a GPU for its pods; None when that is not why."""
    alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    mine = [pod for pod in alive if _revision(pod) == str(placed.revision)]
    if any(map(_is_ready, alive)):
        return None
    refused = [
        (pod, condition)
        for pod in mine
        for condition in pod.get("status", {}).get("conditions", ())
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False"
        and _GPU in str(condition.get("message", ""))
    ]  # fmt: skip
    if not mine or len(refused) < len(mine):
        return None
    said = [c.get("lastTransitionTime") or pod["metadata"].get("creationTimestamp") for pod, c in refused]
    return max((datetime.fromisoformat(str(each)) for each in said), default=None) if all(said) else None


def _of_container(pod: Object, container: Object) -> Trouble | None:
    state = container.get("state", {})
    waiting, name = state.get("waiting", {}), container["name"]
    reason = waiting.get("reason", "")
    if reason in _IMAGE:
        image = _image(pod, name)
        problem = _short(f"the image {image} cannot be pulled ({reason}): {waiting.get('message', '')}")
        remedy = "Check its name, its tag and the pull secret, or redeploy with another servingRuntimeImage."
        return Trouble(in_sentences(problem, remedy), True)
    if reason in _SETUP:
        problem = _short(f"the container {name} cannot be made ({reason}): {waiting.get('message', '')}")
        remedy = f"See that the namespace has what the pod names, above all the secret {STORE_SECRET}."
        return Trouble(in_sentences(problem, remedy), True)
    ended = state.get("terminated") or container.get("lastState", {}).get("terminated")
    if ended is None or ended.get("exitCode") == 0:
        return None
    over = "running" not in state  # it ended and was not begun again yet, or waits for that ever longer
    return Trouble(_end(name, ended, container.get("restartCount", 0)), over)


def _end(name: str, ended: Object, restarts: int) -> str:
    """How a container ended, and what helps."""
    code, message = ended.get("exitCode"), str(ended.get("message", "")).strip()[-300:]
    if ended.get("reason") == "OOMKilled":
        problem, remedy = f"the container {name} ran out of memory", "Redeploy with a higher memoryLimit."
    elif name == FETCHER and code == MISMATCH:
        problem = "the model's files in the object store are not the bytes that were approved"
        remedy = "Find out who changed them, then upload the version again under a new number."
    elif name == FETCHER:
        problem = f"the model's files cannot be fetched from the object store: {message or f'exit status {code}'}"
        remedy = f"Check the keys in the secret {STORE_SECRET} and that the pod may reach the store."
    else:
        problem = f"the runtime ended with status {code}: {message or ended.get('reason', 'no reason given')}"
        remedy = "See the pod's log; try another servingRuntimeImage, or roll the endpoint back."
    again = f" ({restarts} restarts)" if restarts else ""
    return in_sentences(_short(problem) + again, remedy)


def _unscheduled(status: Object) -> Trouble | None:
    for condition in status.get("conditions", ()):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            said = str(condition.get("message", ""))
            remedy = next((remedy for part, remedy in _SHORTAGES if part in said), "See the nodes of the cluster.")
            return Trouble(in_sentences(_short(f"no node has room for a pod: {said}"), remedy), False)
    return None


def _of_workload(placed: Placement, workload: Object | None, *, seen: bool) -> Verdict:
    """Without pods: what the Deployment or the InferenceService says of itself."""
    wanted = placed.min_replicas
    if workload is not None and _sleeps(placed, workload):
        return Verdict(EndpointStatus.HEALTHY, "no replica runs: the next call wakes one, and waits for it", 0, 0)
    if workload is None:
        return Verdict(EndpointStatus.DEPLOYING, "its objects are being made", 0, wanted)
    conditions = {c["type"]: c for c in workload.get("status", {}).get("conditions", ())}
    failure, progress = conditions.get("ReplicaFailure", {}), conditions.get("Progressing", {})
    if failure.get("status") == "True":
        said = _short(f"the cluster makes no pods: {failure.get('message', '')}")
        full = "quota" in said
        remedy = "Lower its requests, or have the namespace's quota raised." if full else "See the namespace's events."
        return Verdict(EndpointStatus.FAILED, in_sentences(said, remedy), 0, wanted)
    if progress.get("reason") == "ProgressDeadlineExceeded":
        return Verdict(EndpointStatus.FAILED, "it did not come up in time. See its events.", 0, wanted)
    ready = conditions.get("Ready") or conditions.get("Available") or {}
    if ready.get("status") == "True" and not seen:
        return Verdict(EndpointStatus.HEALTHY, "told by its conditions, since its pods cannot be seen", wanted, wanted)
    return Verdict(EndpointStatus.DEPLOYING, _conditions(workload), 0, wanted)


def _sleeps(placed: Placement, workload: Object) -> bool:
    """Whether Knative has this revision ready, and no replica of it because nobody calls."""
    if not placed.options.on_knative or placed.min_replicas:
        return False
    current = workload["metadata"].get("annotations", {}).get(REVISION) == str(placed.revision)
    status = workload.get("status", {})
    seen = status.get("observedGeneration") in {None, workload["metadata"].get("generation")}
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ()))
    return current and seen and ready


def _conditions(workload: Object | None) -> str:
    """What a workload that is not ready says about it; KServe says nothing while its controller is not there."""
    if workload is None:
        return "its objects are being made"
    conditions = workload.get("status", {}).get("conditions", ())
    if not conditions and workload["kind"] == "InferenceService":
        return "KServe has not looked at it yet; see that its controller runs"
    said = next((c.get("message") for c in conditions if c["type"] == "Ready" and c["status"] != "True"), None)
    return _short(f"waiting for its pods: {said}") if said else "waiting for its pods"


def _phase(pods: Sequence[Object]) -> str:
    """What pods without trouble are doing."""
    for pod in pods:
        status = pod.get("status", {})
        for container in status.get("initContainerStatuses", ()):
            if "running" in container.get("state", {}):
                return "fetching the model's files"
        if any("running" in container.get("state", {}) for container in status.get("containerStatuses", ())):
            return "the runtime loads the model"
    return "waiting for its pods to start" if pods else ""


def _containers(status: Object) -> Iterator[Any]:
    yield from status.get("initContainerStatuses", ())
    yield from status.get("containerStatuses", ())


def _has_containers(status: Object) -> bool:
    return any("terminated" in container.get("state", {}) for container in _containers(status))


def _is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _revision(pod: Object) -> str:
    return str(pod["metadata"].get("labels", {}).get(REVISION, ""))


def _image(pod: Object, name: str) -> str:
    spec = pod.get("spec", {})
    containers = [*spec.get("initContainers", ()), *spec.get("containers", ())]
    return next((str(container["image"]) for container in containers if container["name"] == name), "")


def _short(text: str) -> str:
    return " ".join(text.split())[:_LONGEST].rstrip(" :")
