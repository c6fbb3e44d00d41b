"""The whole API on a real port, in a thread of the test process, over a fresh database."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import structlog
import uvicorn

from llmops_resources.platform import Platform
from serving_api.app import create_app
from serving_api.live import Live
from serving_api.server import Server
from tests.api.shell import Shell


@pytest.fixture
def api(platform: Platform) -> Iterator[httpx.Client]:
    """A client of the running API, with its base path."""
    with serving(platform) as client:
        yield client


@contextmanager
def serving(platform: Platform) -> Iterator[httpx.Client]:
    """One more server on the platform, as several replicas are."""
    with running(platform) as (client, _server, _thread):
        yield client


@contextmanager
def running(platform: Platform) -> Iterator[tuple[httpx.Client, Server, threading.Thread]]:
    """A server with what stops it, and the thread that it runs in."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    live = Live(platform)
    app = create_app(platform, live)
    server = Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None), live)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}/llm-ops/v1", timeout=60) as client:
        yield client, server, thread
    server.should_exit = True
    thread.join(timeout=10)


@pytest.fixture
def llmops(api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """The command line, which finds the running API as on a person's machine."""
    monkeypatch.setenv("API_PORT", str(api.base_url.port))
    monkeypatch.setenv("COLUMNS", "250")
    with structlog.testing.capture_logs():  # the API of this process would print between the command's words
        yield Shell()
