"""Runtime processes of endpoints on this machine: started from verified files, probed, stopped, backed off."""

import contextlib
import logging
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID

from llmops_assets import programs, scratch
from llmops_resources.errors import PlatformError
from llmops_resources.platform import Platform
from llmops_resources.serving.endpoints import EndpointStatus, Observation
from llmops_resources.serving.reconcile import Action, Desired, Running, Verb

HOST: Final = "127.0.0.1"
PROBE_SECONDS: Final = 2.0
MISSES_ALLOWED: Final = 5  # probes in a row that a runtime which was ready may miss while it is busy
STOP_SECONDS: Final = 5.0
_STARTING: Final = 300.0  # seconds until a runtime that never became ready is started again
log = logging.getLogger("llmops.local_agent")


@dataclass
class _Runtime:
    """One endpoint's process, or its end."""

    endpoint_id: UUID
    route: str
    revision: int
    digest: str
    port: int = 0
    process: subprocess.Popen[str] | None = None
    ready: bool = False
    misses: int = 0
    failures: int = 0
    began: float = 0.0
    exited_at: float | None = None
    detail: str = "starting"


@dataclass
class Runtimes:
    """The processes of this agent. Not thread-safe; only downloads happen beside the caller's thread."""

    platform: Platform
    _all: dict[UUID, _Runtime] = field(default_factory=dict)
    _loading: dict[UUID, "Future[Path]"] = field(default_factory=dict)
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4, "download"))

    def clock(self) -> float:
        """Monotonic seconds, as `running()` uses them."""
        return time.monotonic()

    def running(self) -> list[Running]:
        """What the reconciler compares with what is wanted."""
        return [
            Running(
                endpoint_id=runtime.endpoint_id,
                revision=runtime.revision,
                digest=runtime.digest,
                ready=runtime.ready,
                failures=runtime.failures,
                exited_at=runtime.exited_at,
            )
            for runtime in self._all.values()
        ]

    def act(self, action: Action, wanted: Desired | None) -> None:
        """Do what the reconciler decided."""
        before = self._all.get(action.endpoint_id)
        if action.verb is Verb.STOP or wanted is None:
            self._stop(action.endpoint_id)
            return
        same = before is not None and (before.revision, before.digest) == (wanted.revision, wanted.model.digest)
        failures = before.failures if before is not None and same else 0
        self._stop(action.endpoint_id)
        self._all[wanted.endpoint_id] = _Runtime(
            wanted.endpoint_id, wanted.route, wanted.revision, wanted.model.digest or "", failures=failures,
            began=self.clock(),
        )  # fmt: skip
        self._loading[wanted.endpoint_id] = self._threads.submit(self._fetch, wanted)

    def probe(self) -> None:
        """Start what has been downloaded, notice what ended, ask the rest whether it is ready."""
        for runtime in self._all.values():
            loading = self._loading.get(runtime.endpoint_id)
            if loading is not None and loading.done():
                del self._loading[runtime.endpoint_id]
                self._start(runtime, loading)
            elif runtime.process is not None and runtime.exited_at is None:
                self._look(runtime)

    def observe(self, wanted: Desired) -> Observation:
        """What there is to say about a wanted endpoint."""
        runtime = self._all.get(wanted.endpoint_id)
        status, detail = _status(wanted, runtime)
        ready = runtime is not None and status in {EndpointStatus.HEALTHY, EndpointStatus.DEGRADED}
        return Observation(
            endpoint_id=wanted.endpoint_id,
            revision=wanted.revision,
            status=status,
            detail=detail,
            base_url=f"http://{HOST}:{runtime.port}" if ready and runtime is not None else None,
            ready=int(status is EndpointStatus.HEALTHY),
            total=wanted.replicas,
        )

    def stop_all(self) -> None:
        """End every process."""
        for endpoint_id in list(self._all):
            self._stop(endpoint_id)
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _fetch(self, wanted: Desired) -> Path:
        """The model's files under its digest, every hash verified again at each start."""
        folder = self._home(wanted.endpoint_id) / "model"
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        return scratch.fetch(self.platform, wanted.model, folder)

    def _start(self, runtime: _Runtime, loading: "Future[Path]") -> None:
        try:
            folder = loading.result()
            runtime.port = _free_port()
            threads = str(self.platform.settings.runtime_threads)
            with (self._home(runtime.endpoint_id) / "runtime.log").open("ab") as output:
                runtime.process = programs.start(
                    [
                        sys.executable, "-m", "llmops_assets.serving.runtime", "--model", str(folder),
                        "--served-model-name", runtime.route, "--host", HOST, "--port", str(runtime.port),
                    ],
                    environment={"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
                    output=output,
                )  # fmt: skip
        except (PlatformError, OSError) as error:
            self._ended(runtime, str(error))

    def _look(self, runtime: _Runtime) -> None:
        assert runtime.process is not None  # noqa: S101  the caller looked
        status = runtime.process.poll()
        if status is not None:
            self._ended(runtime, f"the runtime ended with status {status}: {self._last_words(runtime.endpoint_id)}")
        elif _answers(runtime.port):
            runtime.ready, runtime.misses, runtime.failures, runtime.detail = True, 0, 0, ""
        else:
            runtime.misses += 1
            if not runtime.ready and self.clock() - runtime.began > _STARTING:
                programs.stop(runtime.process, STOP_SECONDS)
                self._ended(runtime, f"it was not ready within {_STARTING:.0f} seconds")

    def _ended(self, runtime: _Runtime, detail: str) -> None:
        runtime.ready, runtime.exited_at, runtime.detail = False, self.clock(), detail
        runtime.failures += 1
        log.warning("%s: %s", runtime.route, detail)

    def _stop(self, endpoint_id: UUID) -> None:
        loading = self._loading.pop(endpoint_id, None)
        if loading is not None and not loading.cancel():
            with contextlib.suppress(PlatformError, OSError):
                loading.result()
        runtime = self._all.pop(endpoint_id, None)
        if runtime is not None and runtime.process is not None:
            programs.stop(runtime.process, STOP_SECONDS)
        shutil.rmtree(self._home(endpoint_id) / "model", ignore_errors=True)

    def _home(self, endpoint_id: UUID) -> Path:
        return self.platform.settings.home / "runtimes" / str(endpoint_id)

    def _last_words(self, endpoint_id: UUID) -> str:
        with contextlib.suppress(OSError):
            text = (self._home(endpoint_id) / "runtime.log").read_text(errors="replace")
            return " ".join(line for line in text.splitlines()[-3:] if line)[-400:]
        return ""


def _status(wanted: Desired, runtime: _Runtime | None) -> tuple[EndpointStatus, str]:
    """Status and detail: a table read from top to bottom."""
    if not wanted.approved:
        return EndpointStatus.FAILED, "the model's approval was withdrawn; it is not served any more"
    if wanted.replicas == 0:
        return EndpointStatus.STOPPED, "scaled to zero"
    if runtime is None or runtime.revision != wanted.revision:
        return EndpointStatus.DEPLOYING, "starting"
    if not runtime.ready:
        return EndpointStatus.DEPLOYING if runtime.exited_at is None else EndpointStatus.FAILED, runtime.detail
    if runtime.misses > MISSES_ALLOWED:
        return EndpointStatus.DEGRADED, "it does not answer its health probe"
    return EndpointStatus.HEALTHY, ""


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/ready", timeout=PROBE_SECONDS) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
