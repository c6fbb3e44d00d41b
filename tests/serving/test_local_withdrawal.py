"""On one machine too nothing is served whose approval was taken back: the real agent, a real runtime, by the clock."""

import threading
import time
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from llmops_assets.serving import local_agent
from llmops_resources.catalog import approvals
from llmops_resources.catalog.lifecycle import Kind, Status
from llmops_resources.gateway import routes
from llmops_resources.platform import Platform
from llmops_resources.serving import endpoints
from llmops_resources.serving.endpoints import Endpoint
from llmops_resources.serving.environments import Environment
from tests.factories import ADMIN, approved
from tests.tiny_model import write_tiny_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def test_a_withdrawn_approval_ends_the_process_and_closes_the_route_within_ten_seconds(
    platform: Platform, tmp_path: Path
) -> None:
    folder = write_tiny_model(tmp_path / "model", context_length=64)
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    model = approved(platform, Kind.MODEL, "tiny", files=files)
    with platform.transaction(ADMIN) as tx:
        made = endpoints.deploy(
            tx, model_id=model.id, environment=Environment.DEV, backend="local", route="chat"
        )
    stop = threading.Event()
    agent = threading.Thread(target=local_agent.run, args=(platform.settings, stop))
    agent.start()
    try:
        healthy = _until(platform, made.id, "healthy", seconds=150)
        assert httpx.get(f"{healthy.base_url}/ready").status_code == 200
        began = time.monotonic()
        with platform.transaction(ADMIN) as tx:
            approvals.change_status(tx, model.id, Status.DEPRECATED)
        with platform.transaction(ADMIN) as tx:  # as the gateway looks once a second
            assert not routes.load(tx, platform.settings).find("chat").approved
        failed = _until(platform, made.id, "failed", seconds=10)
        while _answers(healthy):
            time.sleep(0.05)
        assert time.monotonic() - began < 10
        assert (failed.base_url, "withdrawn" in failed.status_detail) == (None, True)
    finally:
        stop.set()
        agent.join(30)


def _answers(endpoint: Endpoint) -> bool:
    try:
        return httpx.get(f"{endpoint.base_url}/health").is_success
    except httpx.TransportError:
        return False


def _until(platform: Platform, endpoint_id: UUID, status: str, *, seconds: float) -> Endpoint:
    deadline = time.monotonic() + seconds
    while True:
        with platform.transaction(ADMIN) as tx:
            seen = endpoints.get(tx, endpoint_id)
        if seen.status == status:
            return seen
        assert time.monotonic() < deadline, f"{seen.status}: {seen.status_detail}"
        time.sleep(0.1)
