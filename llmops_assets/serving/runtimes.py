"""Runtime processes of endpoints on this machine: started from verified files, probed, drained, backed off."""

import contextlib
import logging
import os
import shutil
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

from llmops_assets import scratch
from llmops_assets.serving import processes
from llmops_assets.serving.processes import HOST, Draining, Process
from llmops_resources.errors import PlatformError
from llmops_resources.platform import Platform
from llmops_resources.serving.endpoints import EndpointStatus, Observation
from llmops_resources.serving.reconcile import Action, Desired, Running, Verb

MISSES_ALLOWED: Final = 5  # probes in a row that a runtime which was ready may miss while it is busy
HUNG: Final = 60.0  # seconds without an answer, after which a runtime that was ready is started again
STOP_SECONDS: Final = 5.0
LONGEST_TAIL: Final = 64 * 1024  # bytes
_STARTING: Final = 300.0  # seconds until a runtime that never became ready is started again
log = logging.getLogger("llmops.local_agent")


@dataclass
class _Runtime:
    """One endpoint's process, or its end."""

    endpoint_id: UUID
    route: str
    revision: int
    digest: str
    process: Process | None = None
    ready: bool = False
    misses: int = 0
    failures: int = 0
    began: float = 0.0
    answered_at: float = 0.0
    exited_at: float | None = None
    detail: str = "starting"


@dataclass
class Runtimes:
    """The processes of this agent. Not thread-safe; only downloads happen beside the caller's thread."""

    platform: Platform
    _all: dict[UUID, _Runtime] = field(default_factory=dict)
    _loading: dict[UUID, "Future[Path]"] = field(default_factory=dict)
    _draining: Draining = field(default_factory=Draining)
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
        self._stop(action.endpoint_id)
        if action.verb is Verb.STOP or wanted is None:
            return
        same = before is not None and (before.revision, before.digest) == (wanted.revision, wanted.model.digest)
        self._all[wanted.endpoint_id] = _Runtime(
            wanted.endpoint_id, wanted.route, wanted.revision, wanted.model.digest or "",
            failures=before.failures if before is not None and same else 0, began=self.clock(),
        )  # fmt: skip
        self._loading[wanted.endpoint_id] = self._threads.submit(self._fetch, wanted)

    def probe(self) -> None:
        """Start what has been downloaded, notice what ended, ask the rest whether it is ready."""
        self._draining.reap()
        for runtime in self._all.values():
            loading = self._loading.get(runtime.endpoint_id)
            if loading is not None and loading.done():
                del self._loading[runtime.endpoint_id]
                self._start(runtime, loading)
            elif runtime.process is not None and runtime.exited_at is None:
                self._look(runtime, runtime.process)

    def observe(self, wanted: Desired) -> Observation:
        """What there is to say about a wanted endpoint."""
        runtime = self._all.get(wanted.endpoint_id)
        status, detail = _status(wanted, runtime)
        ready = runtime is not None and status in {EndpointStatus.HEALTHY, EndpointStatus.DEGRADED}
        process = runtime.process if ready and runtime is not None else None
        return Observation(
            endpoint_id=wanted.endpoint_id,
            revision=wanted.revision,
            status=status,
            detail=detail,
            base_url=f"http://{HOST}:{process.port}" if process is not None else None,
            ready=int(status is EndpointStatus.HEALTHY),
            total=wanted.replicas,
        )

    def tail(self, endpoint_id: UUID) -> str:
        """The end of what an endpoint's runtimes have said."""
        with contextlib.suppress(OSError), (self._home(endpoint_id) / "runtime.log").open("rb") as kept:
            kept.seek(max(0, kept.seek(0, os.SEEK_END) - LONGEST_TAIL))
            return kept.read().decode(errors="replace")
        return ""

    def stop_all(self) -> None:
        """End every process, all within seconds."""
        for endpoint_id in list(self._all):
            self._stop(endpoint_id)
        self._draining.wait(STOP_SECONDS)
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _fetch(self, wanted: Desired) -> Path:
        """The model's files under its digest, every hash verified again at each start."""
        home = self._home(wanted.endpoint_id)
        home.mkdir(parents=True, exist_ok=True)
        for left in set(home.glob("model*")) - set(self._draining.folders()):  # by an agent that was killed
            shutil.rmtree(left, ignore_errors=True)
        return scratch.fetch(self.platform, wanted.model, home / f"model-{uuid4().hex}")

    def _start(self, runtime: _Runtime, loading: "Future[Path]") -> None:
        try:
            runtime.process = processes.start(
                self.platform.settings,
                self._home(runtime.endpoint_id),
                loading.result(),
                name=runtime.route,
                digest=runtime.digest,
            )
        except (PlatformError, OSError) as error:
            self._ended(runtime, str(error))

    def _look(self, runtime: _Runtime, process: Process) -> None:
        if (status := process.status) is not None:
            process.end(grace=0.0)
            self._ended(runtime, f"the runtime ended with status {status}: {self._last_words(runtime.endpoint_id)}")
        elif process.ready:
            runtime.ready, runtime.misses, runtime.failures, runtime.detail = True, 0, 0, ""
            runtime.answered_at = self.clock()
        else:
            runtime.misses += 1
            if not runtime.ready and self.clock() - runtime.began > _STARTING:
                process.end(STOP_SECONDS)
                self._ended(runtime, f"it was not ready within {_STARTING:.0f} seconds")
            elif runtime.ready and self.clock() - runtime.answered_at > HUNG:
                process.end(STOP_SECONDS)
                self._ended(runtime, f"it did not answer for {HUNG:.0f} seconds")

    def _ended(self, runtime: _Runtime, detail: str) -> None:
        runtime.ready, runtime.exited_at, runtime.detail = False, self.clock(), detail
        runtime.failures += 1
        log.warning("%s: %s", runtime.route, detail)

    def _stop(self, endpoint_id: UUID) -> None:
        loading = self._loading.pop(endpoint_id, None)
        if loading is not None and not loading.cancel():
            loading.add_done_callback(_discard)
        runtime = self._all.pop(endpoint_id, None)
        if runtime is not None and runtime.process is not None:
            self._draining.add(runtime.process)

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


def _discard(loading: "Future[Path]") -> None:
    """Files whose runtime is not wanted any more."""
    with contextlib.suppress(PlatformError, OSError):
        shutil.rmtree(loading.result(), ignore_errors=True)
