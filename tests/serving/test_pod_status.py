"""What pods say, as a status that a person can act on."""

from datetime import UTC, datetime
from typing import Any

import pytest

from llmops_resources.serving import falling_back
from llmops_resources.serving.pod_status import assess
from tests.serving.cluster_things import cluster_settings, container, place, ready

SETTINGS = cluster_settings()


def _pod(status: dict[str, Any], *, revision: int = 3, **metadata: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "kserve-container", "image": "example.com/vllm:9"}]}
    return {"metadata": {"name": "p", "labels": {"llmops/revision": str(revision)}, **metadata}, "spec": spec,
            "status": status}  # fmt: skip


def _waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    return container(state={"waiting": {"reason": reason, "message": message}}, **more)


def _ended(code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


def _unscheduled(message: str) -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {"phase": "Pending", "conditions": [condition]}


CRASHING = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 4}


@pytest.mark.parametrize(("status", "shown", "problem", "remedy"), [
    (_waiting("ImagePullBackOff", "manifest unknown"), "failed", "example.com/vllm:9 cannot be pulled",
     "another servingRuntimeImage"),
    (_waiting("ErrImageNeverPull"), "failed", "ErrImageNeverPull", "pull secret"),
    (_waiting("CreateContainerConfigError", "secret not found"), "failed", "secret not found",
     "llm-ops-object-store-credentials"),
    (container(**CRASHING, lastState=_ended(137, "OOMKilled")), "failed", "ran out of memory (4 restarts)",
     "memoryLimit"),
    (container(**CRASHING, lastState=_ended(1, message="no kernel image")), "failed", "status 1: no kernel image",
     "roll the endpoint back"),
    (container(state={"running": {}}, lastState=_ended(137, "OOMKilled")), "deploying", "ran out of memory",
     "memoryLimit"),
    (container("fetch", init=True, **CRASHING, lastState=_ended(3)), "failed", "not the bytes that were approved",
     "who changed them"),
    (container("fetch", init=True, **CRASHING, lastState=_ended(1, message="403 Forbidden")), "failed",
     "cannot be fetched from the object store: 403", "keys in the secret"),
    (_unscheduled("0/3 nodes are available: 3 Insufficient nvidia.com/gpu."), "deploying", "no node has room",
     "useGpu false"),
    (_unscheduled("0/3 nodes are available: 3 Insufficient memory."), "deploying", "no node has room",
     "memoryRequest"),
    (_unscheduled("0/3 nodes are available: 3 Insufficient cpu."), "deploying", "no node", "cpuRequest"),
    ({"phase": "Failed", "reason": "Evicted", "message": "low on ephemeral-storage"}, "failed", "Evicted", "disk"),
    (container("fetch", init=True, state={"running": {}}), "deploying", "fetching the model's files", ""),
    (container(state={"running": {}}), "deploying", "loads the model", ""),
    ({"phase": "Pending"}, "deploying", "waiting for its pods", ""),
])  # fmt: skip
def test_a_pod_that_is_not_ready_says_why_and_what_helps(
    status: dict[str, Any], shown: str, problem: str, remedy: str
) -> None:
    verdict = assess(place(SETTINGS), [_pod(status)], None)
    assert (str(verdict.status), verdict.ready, verdict.total) == (shown, 0, 1)
    assert problem in verdict.detail
    assert remedy in verdict.detail


def test_replicas_that_answer_are_counted_first() -> None:
    placed = place(SETTINGS, min_replicas=2, max_replicas=2)
    crashing = _pod(container(**CRASHING, lastState=_ended(1)))
    both = assess(placed, [_pod(ready()), _pod(ready())], None)
    assert (str(both.status), both.ready, both.total, both.detail) == ("healthy", 2, 2, "")
    one = assess(placed, [_pod(ready()), crashing], None)
    assert (str(one.status), one.ready, one.total) == ("degraded", 1, 2)
    assert "1 of 2 replicas" in one.detail
    assert "status 1" in one.detail
    assert str(assess(placed, [crashing, _pod(container(state={"running": {}}))], None).status) == "failed"
    assert str(assess(placed, [_pod(ready())], None).status) == "degraded"  # the other is not even made yet


def test_while_a_revision_rolls_out_the_earlier_one_keeps_the_endpoint_in_traffic() -> None:
    old = _pod(ready(), revision=2)
    verdict = assess(place(SETTINGS), [old, _pod(_waiting("ImagePullBackOff"))], None)
    assert (str(verdict.status), verdict.ready) == ("degraded", 1)
    assert "1 of an earlier one still answer" in verdict.detail
    assert "cannot be pulled" in verdict.detail
    ending = _pod(ready(), revision=2, deletionTimestamp="2026-01-01T00:00:00Z")
    assert str(assess(place(SETTINGS), [ending, _pod(ready())], None).status) == "healthy"


NO_GPU = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."


def _waiting_since(moment: str, message: str = NO_GPU) -> dict[str, Any]:
    status = _unscheduled(message)
    status["conditions"][0]["lastTransitionTime"] = moment
    return _pod(status)


def test_an_endpoint_that_answers_nobody_for_want_of_a_gpu_is_told_apart_and_for_how_long() -> None:
    settings = SETTINGS.model_copy(update={"serving_gpu_fallback_minutes": 10.0})
    placed = place(settings, options={"use_gpu": True})
    early, late = _waiting_since("2026-01-01T10:00:00Z"), _waiting_since("2026-01-01T10:05:00Z")

    def due(minute: int, *pods: dict[str, Any], of: Any = placed, by: Any = settings) -> bool:
        return falling_back.is_due(of, pods, by, datetime(2026, 1, 1, 10, minute, tzinfo=UTC))

    assert [due(minute, early) for minute in (9, 10)] == [False, True]
    assert [due(minute, early, late) for minute in (14, 15)] == [False, True]  # the last of them decides
    assert not due(59, early, by=SETTINGS)  # where the installation does not ask for it, it waits
    assert not due(59)
    assert not due(59, early, _pod(ready()))
    assert not due(59, early, _pod(ready(), revision=2))  # an earlier revision still answers
    assert not due(59, early, _waiting_since("2026-01-01T10:00:00Z", "3 Insufficient memory"))
    assert not due(59, early, of=place(settings, options={"use_gpu": False}))


def test_scaled_to_zero_it_is_stopped_once_the_last_pod_is_gone() -> None:
    placed = place(SETTINGS, min_replicas=0, max_replicas=0)
    assert str(assess(placed, [_pod(ready())], None).status) == "deploying"
    assert str(assess(placed, [], None).status) == "stopped"


def _workload(kind: str, *conditions: dict[str, str]) -> dict[str, Any]:
    return {"kind": kind, "status": {"conditions": list(conditions)}}


def test_with_knative_an_endpoint_that_nobody_calls_sleeps_and_is_well() -> None:
    placed = place(SETTINGS, backend="kserve", options={"kserve_mode": "knative"}, min_replicas=0, max_replicas=2)
    workload = _workload("InferenceService", {"type": "Ready", "status": "True"})
    workload["metadata"] = {"annotations": {"llmops/revision": "3"}, "generation": 4}

    def shown(seen: int, pods: list[Any], **changed: Any) -> str:
        workload["status"]["observedGeneration"] = seen
        return str(assess(placed.model_copy(update=changed), pods, workload).status)

    assert shown(4, []) == "healthy"
    assert "the next call wakes one" in assess(placed, [], workload).detail
    assert shown(3, []) == "deploying"  # what it says is of the generation before
    assert shown(4, [], revision=4) == "deploying"  # the next one is not even applied
    assert shown(4, [], min_replicas=1) == "deploying"
    assert shown(4, [_pod(ready())]) == "healthy"
    assert shown(4, [_pod(ready()), _pod(ready(), revision=2)]) == "healthy"  # Knative asks the new one alone
    assert shown(4, [_pod(ready(), revision=2)]) == "degraded"


@pytest.mark.parametrize(("workload", "pods", "shown", "said"), [
    (None, [], "deploying", "being made"),
    (_workload("Deployment", {"type": "ReplicaFailure", "status": "True",
                              "message": 'pods "x" is forbidden: exceeded quota: gpus'}), [], "failed", "quota raised"),
    (_workload("Deployment", {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}), [],
     "failed", "in time"),
    (_workload("Deployment", {"type": "Available", "status": "True"}), None, "healthy", "conditions"),
    (_workload("InferenceService", {"type": "Ready", "status": "True"}), None, "healthy", "conditions"),
    (_workload("InferenceService", {"type": "Ready", "status": "False", "message": "no ingress"}), None, "deploying",
     "no ingress"),
    (_workload("InferenceService"), [], "deploying", "controller"),
])  # fmt: skip
def test_without_pods_the_workload_speaks(workload: Any, pods: Any, shown: str, said: str) -> None:
    verdict = assess(place(SETTINGS), pods, workload)
    assert str(verdict.status) == shown
    assert said in verdict.detail
