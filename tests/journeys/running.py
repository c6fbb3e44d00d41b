"""A whole platform in processes of its own, as `llmops up` starts it, and hands to kill parts of it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

from llmops_assets.warm.kits import KITS
from llmops_cli.supervision.state import SupervisorState, read_state

Found = TypeVar("Found")
FORKED = {name: command for kit in KITS.values() for command, name in kit.programs.items()}


class RunningPlatform:
    """The platform under one home; `client` speaks to its API. A model provider may be at `provider_port`."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        api, dagster, code, self.provider_port = _free_ports(4)
        self.root = f"http://127.0.0.1:{api}"
        self.environment = {
            **os.environ,
            "LLMOPS_HOME": str(home),
            "API_PORT": str(api),
            "DAGSTER_PORT": str(dagster),
            "CODE_SERVER_PORT": str(code),
            "OUTBOUND_ALLOWED_HOSTS": f"127.0.0.1:{self.provider_port}",
            "PII_NER_SAMPLE_ROWS": "20",
            "HF_HUB_OFFLINE": "1",
            **settings,
        }
        self.client = httpx.Client(base_url=f"{self.root}/llm-ops/v1", timeout=60)

    def llmops(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line against this home; fails the test when the command fails."""
        done = subprocess.run(
            [sys.executable, "-m", "llmops_cli.main", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"llmops {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return done

    def logs(self) -> str:
        """The end of each process's log."""
        logs = sorted((self.home / "logs").glob("*.log"))
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-2500:]}" for log in logs)

    def state(self) -> SupervisorState:
        """What the supervisor says."""
        state = read_state(self.home)
        assert state is not None, "the supervisor is gone"
        return state

    def kill(self, name: str) -> int:
        """SIGKILL one supervised process, with no chance to clean up; returns the process id it had."""

        def alive() -> int | None:
            return next(process.pid for process in self.state().processes if process.name == name)

        victim = wait_for(alive, 60, f"a {name} to kill")  # it may just be coming back from the last kill
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        return victim

    def run_processes(self) -> list[psutil.Process]:
        """The processes that execute a Dagster run, and the programs they started."""
        programs = ("llmops_assets.training.sft", "llmops_assets.evaluation.score")
        marks = ("spawn_main(", "api execute_run", "checks.parsing", *programs)
        return [process for process in self._ours() if any(mark in _command(process) for mark in marks)]

    def training_programs(self) -> list[psutil.Process]:
        """The processes that train."""
        return [process for process in self._ours() if "llmops_assets.training.sft" in _command(process)]

    def wait_until_healthy(self, seconds: float = 90) -> None:
        """Until the supervisor calls every process healthy."""
        wait_for(lambda: self.state().ready or None, seconds, "every process to be healthy")

    def get(self, path: str, **params: Any) -> Any:
        """The data of a GET, which must succeed; a connection that breaks meanwhile is tried again."""
        return self._send("GET", path, params=params)

    def post(self, path: str, body: Any = None, **more: Any) -> Any:
        """The data of a POST that may be repeated."""
        return self._send("POST", path, json=body, **more)

    def finished(self, path: str, seconds: float = 180) -> Any:
        """Wait for a piece of work to end well; its value."""

        def done() -> Any:
            work = self.get(path)
            assert work["state"]["status"] not in {"failed", "cancelled"}, work["state"]
            return work if work["state"]["status"] == "succeeded" else None

        return wait_for(done, seconds, path)

    def _send(self, method: str, path: str, **more: Any) -> Any:
        deadline = time.monotonic() + 60
        while True:
            try:
                answer = self.client.request(method, path, **more)
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
                continue
            if answer.status_code == 503 and time.monotonic() < deadline:
                time.sleep(0.2)
                continue
            assert answer.status_code == 200, f"{method} {path}: {answer.status_code} {answer.text}"
            return answer.json()["data"]

    def _ours(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("LLMOPS_HOME") == str(self.home):
                    yield process


@contextlib.contextmanager
def running(home: Path, **settings: str) -> Iterator[RunningPlatform]:
    """Start the platform, hand it over, and stop it; its logs' ends are printed when the test fails."""
    platform = RunningPlatform(home, **settings)
    try:
        platform.llmops("up", "--detach")
        yield platform
    except BaseException:
        print(platform.logs())
        raise
    finally:
        platform.client.close()
        down = [sys.executable, "-m", "llmops_cli.main", "down"]
        subprocess.run(down, env=platform.environment, capture_output=True, check=False)


def wait_for(look: Callable[[], Found | None], seconds: float, what: str) -> Found:
    """Look again and again until something is there."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (found := look()) is not None:
            return found
        time.sleep(0.2)
    raise AssertionError(f"waited {seconds:.0f} s for {what}")


def _command(process: psutil.Process) -> str:
    """What it is: a program that was forked ready has the command line of its server, and a name of its own."""
    with contextlib.suppress(psutil.Error):
        return FORKED.get(process.name()) or " ".join(process.cmdline())
    return ""


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for probe in sockets:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in sockets]
    for probe in sockets:
        probe.close()
    return ports
