"""The local runtime as a process, for tests."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

QUIET = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(model: Path, port: int, *more: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "llmops_assets.serving.runtime", "--model", str(model)]
    command += ["--served-model-name", "tiny", "--port", str(port), *more]
    return subprocess.Popen(command, env=os.environ | QUIET, stderr=subprocess.PIPE, text=True)


def wait_until_ready(process: "subprocess.Popen[str]", url: str) -> list[int]:
    """Waits for `/ready`; the statuses that `/ready` had on the way."""
    statuses: list[int] = []
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            statuses.append(httpx.get(f"{url}/ready").status_code)
        if statuses and statuses[-1] == 200:
            return statuses
        time.sleep(0.05)
    raise AssertionError(f"not ready: {process.poll()}")


@contextlib.contextmanager
def served(model: Path, *more: str, port: int | None = None) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A ready server over a model folder, and its address; ended by force afterwards."""
    port = port or free_port()
    with start(model, port, *more) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until_ready(process, url)
            yield process, url
        finally:
            process.kill()


def figures(url: str) -> dict[str, float]:
    """The server's own figures by their name and labels."""
    lines = [line for line in httpx.get(f"{url}/metrics").text.splitlines() if not line.startswith("#")]
    return {(found := line.rsplit(" ", 1))[0].removeprefix("llmops_runtime_"): float(found[1]) for line in lines}


def idle(url: str, seconds: float = 10) -> bool:
    """Whether nothing runs or waits any more within so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        now = figures(url)
        if not now["requests_running"] + now["requests_waiting"]:
            return True
        time.sleep(0.05)
    return False
