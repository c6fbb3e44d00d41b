"""What a run takes of its machine: measured beside the work, one point a step, and never in its way."""

import sys
import time
import types
from typing import Any

import pytest

from llmops_assets.training.system import SystemMetrics

Point = tuple[str, int, float, str]


class Listener:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.step = 0
        self.points: list[Point] = []

    def metric(self, name: str, step: int, value: float, unit: str = "") -> None:
        self.points.append((name, step, value, unit))


def until(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_processor_and_memory_are_measured_once_a_step() -> None:
    listener = Listener()
    with SystemMetrics(listener, {}, period=0.02):
        for step in range(3):
            listener.step = step
            until(lambda: any(point[1] == listener.step for point in listener.points))
            sum(range(300_000))
        time.sleep(0.1)  # no new step: nothing more is said
    keys = [(name, step) for name, step, _, _ in listener.points]
    assert len(keys) == len(set(keys))
    assert set(keys) == {(f"system/{name}", step) for name in ("cpu_percent", "memory_bytes") for step in range(3)}
    assert all(value > 1_000_000 for name, _, value, _ in listener.points if name == "system/memory_bytes")
    assert {unit for _, _, _, unit in listener.points} == {"%", "bytes"}


def test_a_run_shorter_than_a_period_has_its_point() -> None:
    listener = Listener()
    with SystemMetrics(listener, {}):
        listener.step = 7
    assert {step for _, step, _, _ in listener.points} == {7}


def test_of_several_processes_one_measures() -> None:
    listener = Listener()
    with SystemMetrics(listener, {"RANK": "1"}, period=0.01):
        time.sleep(0.05)
    assert listener.points == []


def test_whatever_goes_wrong_the_work_goes_on() -> None:
    class Broken(Listener):
        def metric(self, *_: Any) -> None:
            raise RuntimeError("the pipe is gone")

    with SystemMetrics(Broken(), {}, period=0.01):
        time.sleep(0.05)


@pytest.mark.parametrize(("allowed", "seen"), [(None, {0, 1}), ("1", {1}), ("GPU-a", {0}), ("", set())])
def test_the_gpus_that_the_run_may_use_are_measured(
    monkeypatch: pytest.MonkeyPatch, allowed: str | None, seen: set[int]
) -> None:
    """Through a module that answers as NVML does, since machines that run tests have no GPU."""

    def no_power(_handle: int) -> int:
        raise OSError("not supported")

    answers: dict[str, Any] = {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetUUID": lambda handle: f"GPU-{'ab'[handle]}123",
        "nvmlDeviceGetMemoryInfo": lambda handle: types.SimpleNamespace(used=1_000 + handle),
        "nvmlDeviceGetUtilizationRates": lambda _: types.SimpleNamespace(gpu=50),
        "nvmlDeviceGetPowerUsage": no_power,
    }
    module = types.ModuleType("pynvml")
    module.__dict__.update(answers)
    monkeypatch.setitem(sys.modules, "pynvml", module)
    listener = Listener()
    with SystemMetrics(listener, {} if allowed is None else {"CUDA_VISIBLE_DEVICES": allowed}):
        pass
    gpus = {point for point in listener.points if "gpu" in point[0]}
    assert gpus == {(f"system/gpu_{index}_memory_bytes", 0, 1_000.0 + index, "bytes") for index in seen} | {
        (f"system/gpu_{index}_percent", 0, 50.0, "%") for index in seen
    }
