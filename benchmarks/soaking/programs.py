"""Programs at one address each, killed and started again: the gateway, its model server and its database."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

import psutil

from llmops_resources import postgres
from llmops_resources.settings import Settings

ROOT: Final = Path(__file__).parents[2]
START_SECONDS: Final = 120.0


class Program:
    """A program of its own at `address`; `lives` counts how often it was started.

    `is_up` is what its clients may rely on: False from before it is stopped until it has said that it is ready.
    """

    def __init__(self, module: str, arguments: list[str], ready: str, port: int, log: Path, **settings: str) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.lives, self.is_up = 0, False
        self._command = [sys.executable, "-m", module, *arguments]
        self._ready, self._log = ready, log
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def memory(self) -> float:
        """Resident memory in MiB; 0 while it does not run."""
        try:
            return psutil.Process(self._process.pid).memory_info().rss / 2**20 if self._process else 0.0
        except psutil.Error:
            return 0.0

    def start(self) -> None:
        """Start it and wait until it is ready. Raises RuntimeError with the end of its log."""
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(
                self._command, stdout=subprocess.DEVNULL, stderr=out, cwd=self._log.parent, env=self._environment
            )
        until = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{self._command[2]} did not start:\n{self._log.read_text()[-3000:]}")
            time.sleep(0.05)
        self.lives += 1
        self.is_up = True

    def stop(self, sign: signal.Signals) -> None:
        """Send it a signal and wait for its end."""
        self.is_up = False
        if self._process is not None:
            self._process.send_signal(sign)
            self._process.wait(60)
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.address + self._ready, timeout=5) as answer:  # noqa: S310  our own address
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def model_server(port: int, folder: Path) -> Program:
    """A server that answers every chat at once."""
    return Program("benchmarks.soaking.model", [str(port)], "/health", port, folder / "model.log")


def gateway(settings: Settings, port: int, folder: Path) -> Program:
    """The chat gateway as it runs in a cluster."""
    words = {
        "LLMOPS_HOME": str(settings.home), "DATABASE_URL": str(settings.database_url), "API_PORT": str(port),
        "SECRET_KEY": str(settings.secret_key),
    }  # fmt: skip
    return Program("serving_api.gateway", [], "/ready", port, folder / "gateway.log", **words)


def kill_database(data: Path) -> None:
    """SIGKILL to the server, so that its next start is a recovery."""
    process = postgres.pid(data)
    if process is not None:
        os.kill(process, signal.SIGKILL)
        psutil.Process(process).wait(30) if psutil.pid_exists(process) else None
