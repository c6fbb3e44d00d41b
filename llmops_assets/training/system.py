"""What a training run takes of its machine: processor, memory and GPUs, as metrics beside the loss.

A metric is stored by name and step, so there is one point a step: the mean of what was seen since the step before it
that was reported. When no step was reported meanwhile, the samples wait for the next one. Nothing here fails the work.
"""

import importlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Protocol

import psutil

PERIOD: Final = 5.0  # seconds between two samples
GPUS: Final = 16  # of one machine

Sample = dict[tuple[str, str], float]  # by name and unit


class Reporting(Protocol):
    """What is needed of `metrics.Reporter`."""

    @property
    def step(self) -> int:
        """The newest step that a metric was reported for."""

    def metric(self, name: str, step: int, value: float, unit: str = "") -> None:
        """Record a figure."""


class SystemMetrics:
    """Reports `system/cpu_percent` (100 is one core), `system/memory_bytes` (resident, what processes share counted
    for each) and `system/gpu_<n>_…` of this process, and of all processes on this machine that do the same work.

    A context manager: on leaving, what was seen since the last report is reported.
    """

    def __init__(self, reporter: Reporting, environment: Mapping[str, str], period: float = PERIOD) -> None:
        self._reporter, self._period = reporter, period
        self._sources: tuple[_Processes, _Gpus] = (_Processes(environment), _Gpus(environment))
        self._speaks = environment.get("RANK", "0") == "0"
        self._samples: list[Sample] = []
        self._reported = -1
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="system", daemon=True)

    def __enter__(self) -> "SystemMetrics":
        if self._speaks:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(self._period)

    def _work(self) -> None:
        with suppress(Exception):  # measuring is a courtesy: whatever breaks it, training goes on
            stopping = False
            while not stopping:
                stopping = self._stopping.wait(self._period)
                self._samples.append({key: value for source in self._sources for key, value in source.sample()})
                self._report()

    def _report(self) -> None:
        step = self._reporter.step
        if step <= self._reported:
            return
        seen: dict[tuple[str, str], list[float]] = {}
        for sample in self._samples:
            for key, value in sample.items():
                seen.setdefault(key, []).append(value)
        for (name, unit), values in seen.items():
            self._reporter.metric(f"system/{name}", step, sum(values) / len(values), unit)
        self._samples.clear()
        self._reported = step


class _Processes:
    """Processor time and memory of this process; with `torchrun` of everything it has started here."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._root = psutil.Process()
        self._shared = int(environment.get("LOCAL_WORLD_SIZE", "1")) > 1
        if self._shared and (parent := self._root.parent()) is not None:
            self._root = parent
        self._before = (time.monotonic(), self._seconds())

    def sample(self) -> Iterator[tuple[tuple[str, str], float]]:
        now, seconds = time.monotonic(), self._seconds()
        passed, used = now - self._before[0], seconds - self._before[1]
        self._before = (now, seconds)
        if passed > 0:
            yield ("cpu_percent", "%"), max(0.0, 100 * used / passed)  # a process that ended takes its time with it
        yield ("memory_bytes", "bytes"), float(sum(self._of_all(lambda process: process.memory_info().rss)))

    def _seconds(self) -> float:
        return sum(self._of_all(lambda process: sum(process.cpu_times()[:2])))

    def _of_all(self, read: Callable[[psutil.Process], float]) -> Iterator[float]:
        for process in [self._root, *(self._root.children(recursive=True) if self._shared else [])]:
            with suppress(psutil.Error):
                yield read(process)


class _Gpus:
    """This machine's GPUs through NVML, those that the process may use; none where NVML or a GPU is missing."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._nvml: Any = None
        self._handles: list[tuple[int, Any]] = []
        try:
            self._nvml = importlib.import_module("pynvml")
            self._nvml.nvmlInit()
            for index in range(min(self._nvml.nvmlDeviceGetCount(), GPUS)):
                handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
                if _visible(environment.get("CUDA_VISIBLE_DEVICES"), index, str(self._nvml.nvmlDeviceGetUUID(handle))):
                    self._handles.append((index, handle))
        except Exception:  # noqa: BLE001  a missing package, driver or GPU, each with an error of its own
            self._handles = []

    def sample(self) -> Iterator[tuple[tuple[str, str], float]]:
        nvml = self._nvml
        for index, handle in self._handles:
            with suppress(Exception):  # some GPUs do not tell their power or use
                yield (f"gpu_{index}_memory_bytes", "bytes"), float(nvml.nvmlDeviceGetMemoryInfo(handle).used)
            with suppress(Exception):
                yield (f"gpu_{index}_percent", "%"), float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
            with suppress(Exception):
                yield (f"gpu_{index}_power_watts", "W"), nvml.nvmlDeviceGetPowerUsage(handle) / 1000


def _visible(allowed: str | None, index: int, uuid: str) -> bool:
    """Whether CUDA_VISIBLE_DEVICES lets the process use this GPU; it names them by index or by (part of) UUID."""
    if allowed is None:
        return True
    names = [name.strip() for name in allowed.split(",")]
    return str(index) in names or any(name and uuid.startswith(name) for name in names)
