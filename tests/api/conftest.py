"""The whole API on a real port, in a thread of the test process, over a fresh database."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
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
    live = Live(platform)
    server = Server(uvicorn.Config(create_app(platform, live), log_config=None), live.end)
    with (
        in_a_thread(server) as (root, thread),
        httpx.Client(base_url=f"{root}/llm-ops/v1", timeout=60, verify=not root.startswith("http://")) as client,
    ):
        yield client, server, thread


@contextmanager
def in_a_thread(server: uvicorn.Server) -> Iterator[tuple[str, threading.Thread]]:
    """Run a server on a port that is its own before anybody hears of it; its address, and its thread."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", thread
        server.should_exit = True
        thread.join(timeout=10)


@pytest.fixture
def llmops(api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """The command line, which finds the running API as on a person's machine."""
    monkeypatch.setenv("API_PORT", str(api.base_url.port))
    monkeypatch.setenv("COLUMNS", "250")
    return Shell()
