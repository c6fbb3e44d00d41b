"""Root causes: what a program or a pod left behind becomes one tag and a remedy, and nothing is guessed."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_resources.training.failures import (
    REMEDIES,
    Cause,
    RootCause,
    is_hopeless,
    of_exit,
    of_pods,
    of_waiting,
)

CUDA = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79 GiB"
TRACE = "Traceback (most recent call last):\n  File 'sft.py', line 3\n"


def _pod(name: str = "job-0", **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": status}


def _terminated(code: int, at: str = "2026-11-25T10:00:00Z", **more: Any) -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, "finishedAt": at, **more}}
    return {"phase": "Failed", "containerStatuses": [{"name": "train", "state": state}]}


def _waiting(reason: str, message: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"phase": "Pending", "containerStatuses": [{"name": "train", "state": state}]}


@pytest.mark.parametrize(
    ("status", "said", "tag"),
    [
        (1, TRACE + CUDA, RootCause.OUT_OF_MEMORY),
        (1, TRACE + "RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory", RootCause.OUT_OF_MEMORY),
        (2, "the loss is nan at step 12 lower learningRate or check the data", RootCause.NAN_LOSS),
        (2, "the loss is -inf at step 1", RootCause.NAN_LOSS),
        (2, "column 'text' was missing", RootCause.DATA_ERROR),
        (2, "there are not enough rows to hold some out", RootCause.DATA_ERROR),
        (1, TRACE + "UnicodeDecodeError: 'utf-8' codec can't decode byte", RootCause.DATA_ERROR),
        (1, TRACE + "OSError: [Errno 28] No space left on device", RootCause.INFRASTRUCTURE),
        (1, TRACE + "RuntimeError: NCCL error in: ProcessGroupNCCL.cpp", RootCause.INFRASTRUCTURE),
        (1, TRACE + "RuntimeError: [gloo] Connection closed by peer [10.0.0.2]:4242", RootCause.INFRASTRUCTURE),
        (1, TRACE + "KeyError: 'labels'", RootCause.USER_CODE),
        (143, "", RootCause.PREEMPTION),
        (-15, "", RootCause.PREEMPTION),
        (-9, "", RootCause.INFRASTRUCTURE),
        (-7, "", RootCause.INFRASTRUCTURE),
        (139, "", RootCause.USER_CODE),
        (1, "", RootCause.UNKNOWN),
        (255, "", RootCause.UNKNOWN),
        (None, "", RootCause.UNKNOWN),
    ],
)
def test_a_programs_end_has_one_tag(status: int | None, said: str, tag: RootCause) -> None:
    found = of_exit(status, said)
    assert (found.tag, found.remedy) == (tag, REMEDIES[tag])


def test_a_kill_for_memory_that_the_kernel_counted_is_out_of_memory_and_any_other_kill_only_says_so() -> None:
    assert of_exit(-9, oom_killed=True).tag is RootCause.OUT_OF_MEMORY
    assert "memory" in of_exit(-9).detail


def test_what_somebody_asked_for_is_not_called_a_failure_of_the_program() -> None:
    assert of_exit(1, TRACE + CUDA, cancelled=True).tag is RootCause.CANCELLED
    assert of_exit(-9, "", timed_out=True).tag is RootCause.TIMEOUT


def test_the_detail_is_the_line_that_says_it() -> None:
    assert of_exit(1, f"step 1\n{TRACE}{CUDA}\nmore").detail == CUDA
    assert of_exit(1, TRACE + "KeyError: 'labels'\n\n").detail == "KeyError: 'labels'"


def test_a_warning_before_the_failure_is_not_its_cause() -> None:
    said = f"metrics wait: Connection refused\n{TRACE}KeyError: 'labels'"
    assert of_exit(1, said).tag is RootCause.USER_CODE


@given(st.one_of(st.none(), st.integers(-70, 300)), st.text(max_size=300), st.booleans(), st.booleans())
def test_every_end_has_a_tag_and_a_remedy(status: int | None, said: str, cancelled: bool, timed_out: bool) -> None:
    found = of_exit(status, said, cancelled=cancelled, timed_out=timed_out)
    assert found.remedy
    assert found.detail
    assert len(found.detail) <= 500


def test_every_tag_has_a_remedy() -> None:
    assert set(REMEDIES) == set(RootCause)


@pytest.mark.parametrize(
    ("pod", "tag", "seen"),
    [
        (_pod(**_terminated(137, reason="OOMKilled")), RootCause.OUT_OF_MEMORY, "job-0"),
        (_pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory."),
         RootCause.OUT_OF_MEMORY, "memory"),
        (_pod(phase="Failed", reason="Evicted", message="Pod ephemeral local storage usage exceeds the total limit"),
         RootCause.INFRASTRUCTURE, "ephemeral"),
        (_pod(phase="Failed", reason="Evicted", message="The node had condition: [PIDPressure]."),
         RootCause.PREEMPTION, "PIDPressure"),
        (_pod(phase="Failed", reason="DeadlineExceeded"), RootCause.TIMEOUT, "deadline"),
        (_pod(**_terminated(143), conditions=[
            {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]),
         RootCause.PREEMPTION, "higher priority"),
        (_pod(**_terminated(1, message=TRACE + CUDA)), RootCause.OUT_OF_MEMORY, "CUDA"),
        (_pod(**_terminated(2, message="the loss is nan at step 3")), RootCause.NAN_LOSS, "step 3"),
        (_pod(**_terminated(1)), RootCause.UNKNOWN, "status 1"),
    ],
)  # fmt: skip
def test_a_failed_pod_tells_its_cause(pod: dict[str, Any], tag: RootCause, seen: str) -> None:
    found = of_pods({"status": {}}, [pod])
    assert found is not None
    assert found.tag is tag
    assert seen in found.detail


def test_the_first_pod_to_fail_is_the_cause_and_not_the_ones_that_lost_it() -> None:
    lost = _pod("job-0", **_terminated(1, "2026-11-25T10:00:09Z", message="Connection closed by peer"))
    asked = _pod("job-2", **_terminated(143, "2026-11-25T09:00:00Z"))
    first = _pod("job-1", **_terminated(137, "2026-11-25T10:00:01Z", reason="OOMKilled"))
    found = of_pods({"status": {}}, [asked, lost, first])
    assert found is not None
    assert (found.tag, found.may_pass) == (RootCause.OUT_OF_MEMORY, False)


def test_a_job_that_is_still_well_has_no_cause() -> None:
    assert of_pods({"status": {"active": 2}}, [_pod(phase="Running"), _pod("job-1", phase="Succeeded")]) is None


def test_a_job_without_pods_tells_by_its_condition_its_events_or_its_absence() -> None:
    overdue = {"status": {"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]}}
    quota = {"reason": "FailedCreate", "message": 'pods "x" is forbidden: exceeded quota: gpus, requested: 8, used: 8'}
    policy = {"reason": "FailedCreate", "message": "violates PodSecurity"}
    tags = [_tag(of_pods(overdue, [])), _tag(of_pods({}, [], [quota])), _tag(of_pods({}, [], [policy])),
            _tag(of_pods(None, []))]  # fmt: skip
    expected = [RootCause.TIMEOUT, RootCause.UNSCHEDULABLE, RootCause.INFRASTRUCTURE, RootCause.INFRASTRUCTURE]
    assert tags == expected


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName"])
def test_an_image_that_cannot_be_pulled_is_told_while_the_pod_waits(reason: str) -> None:
    pod = _pod(**_waiting(reason, 'failed to resolve reference "registry/x:1"'))
    assert _tag(of_waiting(pod)) is RootCause.IMAGE_PULL
    assert is_hopeless(pod) is (reason == "InvalidImageName")


def test_a_pod_without_a_place_says_what_is_missing_and_offers_the_cpu_when_it_is_a_gpu() -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                 "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."}  # fmt: skip
    found = of_waiting(_pod(phase="Pending", conditions=[condition]))
    assert found is not None
    assert (found.tag, "useGpu=false" in found.remedy) == (RootCause.UNSCHEDULABLE, True)


def test_a_pod_that_is_only_starting_has_nothing_to_say() -> None:
    assert of_waiting(_pod(**_waiting("ContainerCreating"))) is None


def _tag(found: Cause | None) -> RootCause | None:
    return found.tag if found else None
