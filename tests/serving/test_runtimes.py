"""The agent's runtimes: started without our secrets, started again when they die, drained when they are replaced."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from llmops_assets.claims import ACTOR
from llmops_assets.serving import local_agent
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.database import Actor
from llmops_resources.platform import Platform
from llmops_resources.serving import endpoints
from llmops_resources.serving.endpoints import Endpoint, EndpointStatus, Environment
from tests.factories import approved
from tests.tiny_model import write_tiny_model


@pytest.fixture
def agent(platform: Platform) -> Iterator[None]:
    """The agent, in a thread."""
    stop = threading.Event()
    thread = threading.Thread(target=local_agent.run, args=(platform.settings, stop))
    thread.start()
    yield
    stop.set()
    thread.join(30)
    assert not thread.is_alive()


@pytest.fixture
def endpoint(platform: Platform, admin: Actor, agent: None, tmp_path: Path) -> Endpoint:
    """A served tiny model."""
    folder = write_tiny_model(tmp_path / "model")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    model = approved(platform, Kind.MODEL, "tiny", files=files)
    with platform.transaction(admin) as tx:
        wanted = endpoints.deploy(tx, model_id=model.id, environment=Environment.DEV, backend="local", route="tiny")
    return becomes(platform, wanted, lambda seen: seen.status is EndpointStatus.HEALTHY)


def becomes(platform: Platform, endpoint: Endpoint, true: Callable[[Endpoint], bool]) -> Endpoint:
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline:
        with platform.transaction(ACTOR) as tx:
            seen = endpoints.get(tx, endpoint.id)
        if true(seen):
            return seen
        time.sleep(0.1)
    raise AssertionError(f"it stayed {seen.status} {seen.status_detail}")


def process_of(endpoint: Endpoint) -> psutil.Process:
    """The runtime behind an endpoint."""
    port = int((endpoint.base_url or "").rsplit(":", 1)[1])
    (listener,) = {
        (each.pid, each.laddr.ip)
        for each in psutil.net_connections(kind="tcp")
        if each.status == psutil.CONN_LISTEN and each.laddr.port == port
    }
    assert listener[1] == "127.0.0.1", "it can be asked past the gateway"
    return psutil.Process(listener[0])


def answer(endpoint: Endpoint) -> str:
    body = {"model": "tiny", "prompt": "What", "max_tokens": 8}
    found = httpx.post(f"{endpoint.base_url}/v1/completions", json=body, timeout=30).json()
    return str(found["choices"][0]["text"])


@pytest.mark.slow
def test_a_killed_runtime_is_started_again_and_answers_as_before(platform: Platform, endpoint: Endpoint) -> None:
    before, killed = answer(endpoint), process_of(endpoint)
    killed.send_signal(signal.SIGKILL)
    becomes(platform, endpoint, lambda seen: seen.status is not EndpointStatus.HEALTHY)
    again = becomes(platform, endpoint, lambda seen: seen.status is EndpointStatus.HEALTHY)
    assert process_of(again).pid != killed.pid
    assert answer(again) == before


@pytest.mark.slow
def test_a_runtime_sees_no_secrets_is_bounded_and_its_files_go_when_it_does(
    platform: Platform, admin: Actor, endpoint: Endpoint
) -> None:
    process = process_of(endpoint)
    seen = process.environ()
    assert not {name for name in os.environ if "KEY" in name or "SECRET" in name or "DATABASE" in name} & set(seen)
    assert seen["HOME"] != os.environ["HOME"]
    assert process.rlimit(psutil.RLIMIT_DATA)[1] == 4 * 2**30
    home = platform.settings.home / "runtimes" / str(endpoint.id)
    assert len(list(home.glob("model-*"))) == 1
    with platform.transaction(admin) as tx:
        endpoints.delete(tx, endpoint.id)
    process.wait(20)
    deadline = time.monotonic() + 10
    while list(home.glob("model-*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not list(home.glob("model-*"))
