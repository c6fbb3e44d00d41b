"""One runtime process: started without anything of our environment, asked whether it is ready, drained, ended."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import llmops_assets
from llmops_assets import programs
from llmops_resources.settings import Settings
from llmops_resources.training.pods import size

HOST: Final = "127.0.0.1"
PROBE_SECONDS: Final = 2.0
DRAIN_SECONDS: Final = 10  # for the answers that are running when it is told to end
KILL_AFTER: Final = DRAIN_SECONDS + 5.0
LONGEST_LOG: Final = 2**20  # bytes; a longer one is begun again at the next start
_CLOSING: Final = 2.0
#: What a runtime may see of our environment: where to find libraries and which GPUs it has. No keys, no addresses.
_INHERITED: Final = ("PATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "TMPDIR", "LANG")


@dataclass(frozen=True)
class Process:
    """A runtime over the verified files in `folder`, which goes when the process does."""

    child: "subprocess.Popen[str]"
    port: int
    folder: Path

    @property
    def status(self) -> int | None:
        """The exit status, once it ended."""
        return self.child.poll()

    @property
    def ready(self) -> bool:
        """Whether it says so within two seconds."""
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.port}/ready", timeout=PROBE_SECONDS) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def ask_to_end(self) -> None:
        """Tell it to finish what is running, and wait until it takes nothing new: a moment."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGTERM)
        deadline = time.monotonic() + _CLOSING
        while self.status is None and time.monotonic() < deadline and _listens(self.port):
            time.sleep(0.02)

    def end(self, grace: float) -> None:
        """End it within so many seconds, politely if it can be, and remove its files."""
        programs.stop(self.child, grace)
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass
class Draining:
    """Processes that were asked to end and still answer somebody."""

    _all: list[tuple[Process, float]] = field(default_factory=list)

    def add(self, process: Process) -> None:
        """Ask it to end; `reap` ends it by force when it takes too long."""
        process.ask_to_end()
        self._all.append((process, time.monotonic() + KILL_AFTER))
        self.reap()

    def reap(self, *, now: bool = False) -> None:
        """Take leave of those that ended, and end those whose time is up; `now`: everybody's is."""
        kept = []
        for process, deadline in self._all:
            if process.status is None and time.monotonic() < deadline and not now:
                kept.append((process, deadline))
            else:
                process.end(grace=0.0)
        self._all = kept

    def wait(self, seconds: float) -> None:
        """Give them so many seconds together, and end the rest."""
        deadline = time.monotonic() + seconds
        while self._all and time.monotonic() < deadline:
            self.reap()
            time.sleep(0.05)
        self.reap(now=True)

    def folders(self) -> Iterator[Path]:
        """The files that are still in use."""
        return (process.folder for process, _ in self._all)


def start(settings: Settings, home: Path, folder: Path, *, name: str, digest: str) -> Process:
    """A runtime for the model in `folder`, whose files it verifies again; `home` gets its log. Raises OSError."""
    port, threads = _free_port(), str(settings.runtime_threads)
    log = home / "runtime.log"
    mode = "wb" if log.exists() and log.stat().st_size > LONGEST_LOG else "ab"
    with log.open(mode) as output:
        child = programs.start(
            [
                sys.executable, "-m", "llmops_assets.serving.runtime", "--model", str(folder), "--digest", digest,
                "--served-model-name", name, "--host", HOST, "--port", str(port), "--threads", threads,
                "--memory", str(size(settings.runtime_memory_limit)), "--drain", str(DRAIN_SECONDS),
            ],
            environment={
                **{name: os.environ[name] for name in _INHERITED if name in os.environ},
                "PYTHONPATH": str(Path(llmops_assets.__file__).parents[1]),
                "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false",
                "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads,
            },
            output=output,
            home=home,
        )  # fmt: skip
    return Process(child, port, folder)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=0.2):
        return True
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
