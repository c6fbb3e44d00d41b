"""`python -m serving_api` with an S3 that it cannot use, and with one that is only down."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from llmops_resources.settings import Settings

pytestmark = pytest.mark.slow


def _start(settings: Settings, port: int, log: Path, **environment: str) -> subprocess.Popen[bytes]:
    with log.open("wb") as told:
        return subprocess.Popen(
            [sys.executable, "-m", "serving_api"],
            stdout=told,
            stderr=told,
            env={
                **os.environ,
                "LLMOPS_HOME": str(settings.home),
                "DATABASE_URL": str(settings.database_url),
                "SECRET_KEY": "a test's signing key, long enough",
                "API_PORT": str(port),
                "OBJECT_STORE_URL": "s3://bucket/prefix",
                "AWS_ACCESS_KEY_ID": "key",
                "AWS_SECRET_ACCESS_KEY": "secret",
                **environment,
            },
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200
    except httpx.TransportError:
        return False


def test_an_s3_that_the_settings_describe_wrongly_ends_the_start_with_words(settings: Settings, tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = _start(settings, _free_port(), log, OBJECT_STORE_ENDPOINT="http://no host")
    assert process.wait(60) == 1
    told = log.read_text()
    assert "The API cannot start: the object store cannot be opened" in told
    assert "OBJECT_STORE_ENDPOINT" in told
    assert "Traceback" not in told


def test_the_api_starts_while_its_s3_is_down(settings: Settings, tmp_path: Path) -> None:
    port = _free_port()
    process = _start(settings, port, tmp_path / "log", OBJECT_STORE_ENDPOINT=f"http://127.0.0.1:{_free_port()}")
    try:
        deadline = time.monotonic() + 60
        while not _answers(port):
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
