"""Why a training job failed, and what to do next: pure functions over what is known once it has ended.

On one machine that is the program's exit status and the end of what it said on stderr; in a cluster it is the status
of the job and its pods and their events, as the Kubernetes API tells them. Among several processes the first to fail
is the cause: the others end because it did.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from signal import Signals
from typing import Any, Final

from llmops_resources.errors import UpstreamFailed
from llmops_resources.values import Value

Object = Mapping[str, Any]
INPUT_AT_FAULT: Final = 2  # the exit status with which our programs blame their input
READ: Final = 20_000  # characters of the end of stderr that are looked at
SHOWN: Final = 500


class RootCause(StrEnum):
    """The tag of a failed experiment."""

    OUT_OF_MEMORY = "out_of_memory"
    NAN_LOSS = "nan_loss"
    DATA_ERROR = "data_error"
    PREEMPTION = "preemption"
    IMAGE_PULL = "image_pull"
    UNSCHEDULABLE = "unschedulable"
    TIMEOUT = "timeout"
    USER_CODE = "user_code"
    CANCELLED = "cancelled"
    INFRASTRUCTURE = "infrastructure"
    UNKNOWN = "unknown"


REMEDIES: Final[Mapping[RootCause, str]] = {
    RootCause.OUT_OF_MEMORY: "Use a smaller batchSize or context, LoRA, more GPUs, or ask for more memory.",
    RootCause.NAN_LOSS: "Lower learningRate or gradientClip, lengthen the warm-up, and look for empty or odd rows.",
    RootCause.DATA_ERROR: "Correct the data set, have its new version approved, and submit the job again.",
    RootCause.PREEMPTION: "Retry: it goes on from its last checkpoint. A higher priority is preempted less often.",
    RootCause.IMAGE_PULL: "Check the image's name and the pull secret: TRAINING_IMAGE, TRAINING_IMAGE_PULL_SECRET.",
    RootCause.UNSCHEDULABLE: "Ask for fewer or other GPUs, less memory or fewer nodes, or have the cluster extended.",
    RootCause.TIMEOUT: "Raise maxDuration and retry: it goes on from its last checkpoint.",
    RootCause.USER_CODE: "Read the end of the log: the program itself failed, and would fail again.",
    RootCause.CANCELLED: "Nothing to do; retry it to go on from its last checkpoint.",
    RootCause.INFRASTRUCTURE: "Retry: the machine, its network or its storage failed. Tell an operator if it recurs.",
    RootCause.UNKNOWN: "Read the end of the log, and the run in Dagster.",
}  # fmt: skip
#: What may well succeed when it is tried again as it is.
PASSING: Final = frozenset({RootCause.PREEMPTION, RootCause.INFRASTRUCTURE})

_OUT_OF_MEMORY: Final = (
    r"out of memory|outofmemoryerror|cannot allocate memory|can't allocate memory|memoryerror|bad_alloc|oom-kill"
    r"|signal 9 \(sigkill\)"  # what torchrun says when one of its processes was killed
)
_PEERS: Final = (
    r"nccl error|ncclsystemerror|processgroup\w+ .*time|collective operation timeout|connection closed by peer"
    r"|connection reset by peer|rendezvous\w*error|rendezvous\w*timeout"
)
#: What a program says on stderr, in the order in which it is believed.
SAID: Final[tuple[tuple[re.Pattern[str], RootCause], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE), cause)
    for pattern, cause in (
        (_OUT_OF_MEMORY, RootCause.OUT_OF_MEMORY),
        (r"\bloss is -?(nan|inf)|returned nan values|non-finite (loss|grad)", RootCause.NAN_LOSS),
        (r"no space left on device|disk quota exceeded|input/output error|read-only file system",
         RootCause.INFRASTRUCTURE),
        (_PEERS, RootCause.INFRASTRUCTURE),
        (r"uncorrectable ecc|no cuda-capable device|cuda driver|unspecified launch failure|gpu is lost",
         RootCause.INFRASTRUCTURE),
        (r"object store cannot be used|connection refused|temporary failure in name resolution|service unavailable",
         RootCause.INFRASTRUCTURE),
        (r"unicodedecodeerror|arrowinvalid|jsondecodeerror|invalid parquet|computeerror", RootCause.DATA_ERROR),
        (r"traceback \(most recent call last\)", RootCause.USER_CODE),
    )
)  # fmt: skip
_BY_SIGNAL: Final[Mapping[Signals, tuple[RootCause, str]]] = {
    Signals.SIGTERM: (RootCause.PREEMPTION, "the machine asked it to end (SIGTERM)"),
    Signals.SIGKILL: (RootCause.INFRASTRUCTURE, "it was killed from outside (SIGKILL); most often memory had run out"),
    Signals.SIGBUS: (RootCause.INFRASTRUCTURE, "its shared memory was full (SIGBUS)"),
    Signals.SIGILL: (RootCause.INFRASTRUCTURE, "a library was built for another processor (SIGILL)"),
    Signals.SIGSEGV: (RootCause.USER_CODE, "a library crashed (SIGSEGV)"),
    Signals.SIGABRT: (RootCause.USER_CODE, "a library gave up (SIGABRT)"),
}
_DISRUPTIONS: Final = {
    "PreemptionByScheduler": "a pod of higher priority took its place",
    "DeletionByTaintManager": "its node was tainted",
    "EvictionByEvictionAPI": "it was evicted, as when its node is drained",
    "DeletionByPodGC": "its node is gone",
    "TerminationByKubelet": "its node was shutting down or under pressure",
}
_IMAGE: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError",
     "RegistryUnavailable", "SignatureValidationFailed"}
)  # fmt: skip
_NOT_CREATED: Final = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreCreateHookError",
     "PostStartHookError", "CrashLoopBackOff"}
)  # fmt: skip
#: Waiting reasons that do not go away by waiting.
HOPELESS: Final = frozenset({"InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError"})


class Cause(Value):
    """Why a job failed, for the experiment record. `detail` says what was seen, `remedy` what to do."""

    tag: RootCause
    detail: str
    remedy: str

    @property
    def may_pass(self) -> bool:
        """Whether trying again as it is may well succeed."""
        return self.tag in PASSING


class JobFailed(UpstreamFailed):
    """A training job ended badly, and this is why."""

    def __init__(self, why: Cause) -> None:
        super().__init__(f"{why.tag.value.replace('_', ' ')}: {why.detail}", remedy=why.remedy)
        self.cause = why


def cause(tag: RootCause, detail: str, remedy: str = "") -> Cause:
    """A cause with the remedy of its tag, unless there is a better one."""
    return Cause(tag=tag, detail=detail.strip()[:SHOWN], remedy=remedy or REMEDIES[tag])


def of_exit(
    status: int | None, said: str = "", *, cancelled: bool = False, timed_out: bool = False, oom_killed: bool = False
) -> Cause:
    """The cause of a program's bad end on this machine.

    `status` as `subprocess` gives it (negative: a signal) or as a shell does (128 + signal); None: it never ended.
    `oom_killed`: the kernel counted a kill for memory (`memory.events` of its control group).
    """
    if cancelled:
        return cause(RootCause.CANCELLED, "somebody asked it to stop")
    if timed_out:
        return cause(RootCause.TIMEOUT, "it did not end within maxDuration")
    if oom_killed:
        return cause(RootCause.OUT_OF_MEMORY, "the kernel killed it: its memory limit was reached")
    return _of_program(status, said[-READ:])


def _of_program(status: int | None, end: str) -> Cause:
    if (told := _told(end)) is not None and not (status == INPUT_AT_FAULT and told.tag is RootCause.USER_CODE):
        return told
    if status == INPUT_AT_FAULT:
        return cause(RootCause.DATA_ERROR, _last_line(end) or "the program refused its input")
    if (signal := _signal(status)) is not None and signal in _BY_SIGNAL:
        return cause(*_BY_SIGNAL[signal])
    ended = "it never ended" if status is None else f"it ended with status {status}"
    return cause(RootCause.UNKNOWN, f"{ended}: {_last_line(end)}" if end.strip() else ended)


def of_pods(job: Object | None, pods: Iterable[Object], events: Sequence[Object] = ()) -> Cause | None:
    """The cause that a job's status, its pods' statuses and their events show; None when they show no failure.

    `job` None: somebody deleted it.
    """
    found = [ended for pod in pods if (ended := _ended(pod)) is not None]
    if found:  # the first that failed by itself; one that was only told to end comes last
        return min(found, key=lambda entry: (entry[1].tag is RootCause.PREEMPTION and "SIGTERM" in entry[1].detail,
                                             entry[0]))[1]  # fmt: skip
    if job is None:
        return cause(RootCause.INFRASTRUCTURE, "its Job was deleted from the cluster by somebody else")
    for condition in _conditions(job, "Failed"):
        if condition.get("reason") == "DeadlineExceeded":
            return cause(RootCause.TIMEOUT, "it did not end within its deadline")
        return cause(RootCause.UNKNOWN, f"{condition.get('reason', 'it failed')}: {condition.get('message', '')}")
    return refused(events)


def of_waiting(pod: Object) -> Cause | None:
    """Why a pod does not start, when there is a reason to say; it may still start."""
    status = pod.get("status") or {}
    for waiting in _container_states(status, "waiting"):
        reason, message = str(waiting.get("reason", "")), str(waiting.get("message", ""))
        if reason in _IMAGE:
            return cause(RootCause.IMAGE_PULL, f"{reason}: {message}")
        if reason in _NOT_CREATED:
            return cause(RootCause.INFRASTRUCTURE, f"{reason}: {message}")
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            message = str(condition.get("message", ""))
            if "nvidia.com/gpu" in message:
                remedy = "Wait for GPUs, ask for fewer or another gpuType, or submit it with useGpu=false."
                return cause(RootCause.UNSCHEDULABLE, message, remedy)
            return cause(RootCause.UNSCHEDULABLE, message or str(condition.get("reason", "")))
    return None


def is_hopeless(pod: Object) -> bool:
    """Whether a pod waits for something that does not come by waiting."""
    return any(state.get("reason") in HOPELESS for state in _container_states(pod.get("status") or {}, "waiting"))


def refused(events: Iterable[Object]) -> Cause | None:
    """Why a job's pods are not even made, from the job's events: a quota, or a policy of the cluster."""
    for event in events:
        message = str(event.get("message", ""))
        if event.get("reason") == "FailedCreate":
            if "exceeded quota" in message:
                return cause(RootCause.UNSCHEDULABLE, message, "Wait for other jobs to end, or have the quota raised.")
            return cause(RootCause.INFRASTRUCTURE, message, "An operator must look: the cluster refuses its pods.")
    return None


def _ended(pod: Object) -> tuple[str, Cause] | None:
    """When and why a pod failed; the time is sortable text, empty where none is known."""
    status = pod.get("status") or {}
    name = str((pod.get("metadata") or {}).get("name", "a pod"))
    terminated = next((s for s in _container_states(status, "terminated") if s.get("exitCode") != 0), None)
    when = str((terminated or {}).get("finishedAt") or "")
    if terminated is not None and terminated.get("reason") == "OOMKilled":
        return when, cause(RootCause.OUT_OF_MEMORY, f"{name} went over its memory limit and was killed")
    if status.get("reason") == "Evicted":
        return when, _evicted(name, str(status.get("message", "")))
    if status.get("reason") == "DeadlineExceeded":
        return when, cause(RootCause.TIMEOUT, f"{name} did not end within its deadline")
    for condition in _conditions(pod, "DisruptionTarget"):
        reason = str(condition.get("reason", ""))
        return when, cause(RootCause.PREEMPTION, f"{name}: {_DISRUPTIONS.get(reason, reason)}")
    if status.get("phase") == "Failed" or terminated is not None:
        said = str((terminated or {}).get("message", ""))
        found = of_exit((terminated or {}).get("exitCode"), said)
        return when, found.model_copy(update={"detail": f"{name}: {found.detail}"[:SHOWN]})
    return None


def _evicted(name: str, message: str) -> Cause:
    if "ephemeral" in message:
        return cause(
            RootCause.INFRASTRUCTURE, f"{name} was evicted: {message}", "Raise TRAINING_SCRATCH_LIMIT, and retry."
        )
    if "memory" in message:
        return cause(RootCause.OUT_OF_MEMORY, f"{name} was evicted: {message}")
    return cause(RootCause.PREEMPTION, f"{name} was evicted: {message}")


def _told(end: str) -> Cause | None:
    failure = end[max(end.find("Traceback"), 0) :]  # what came before it are warnings
    for pattern, tag in SAID:
        if (match := pattern.search(failure)) is not None:
            return cause(tag, _line_of(failure, match.start()) if tag is not RootCause.USER_CODE else _last_line(end))
    return None


def _signal(status: int | None) -> Signals | None:
    number = None if status is None else -status if status < 0 else status - 128
    try:
        return Signals(number) if number is not None and number > 0 else None
    except ValueError:
        return None


def _line_of(text: str, place: int) -> str:
    return text[text.rfind("\n", 0, place) + 1 :].partition("\n")[0].strip()


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def _conditions(thing: Object, kind: str) -> list[Object]:
    conditions = (thing.get("status") or {}).get("conditions") or ()
    return [c for c in conditions if c.get("type") == kind and c.get("status") == "True"]


def _container_states(status: Object, state: str) -> list[Object]:
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return [found for container in containers if (found := (container.get("state") or {}).get(state))]
