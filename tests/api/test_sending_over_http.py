"""Large files from the command line, while the API is killed under way: it comes back, and the sender goes on."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from llmops_cli import sending
from llmops_cli.api import Api
from llmops_resources.settings import Settings
from tests.api.sending import Sender, created
from tests.model_files import model_files, write_model

pytestmark = pytest.mark.slow
CHUNK = 1024**2


class Server:
    """`python -m serving_api` as a process that can be killed and started again."""

    def __init__(self, settings: Settings) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.root = f"http://127.0.0.1:{port}"
        self.environment = {
            **os.environ,
            "LLMOPS_HOME": str(settings.home),
            "DATABASE_URL": str(settings.database_url),
            "SECRET_KEY": "a test's signing key, long enough",
            "API_PORT": str(port),
            "UPLOAD_CHUNK_BYTES": str(CHUNK),
        }
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "serving_api"], env=self.environment, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.root}/health").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError("the API did not start")

    def kill(self) -> None:
        """SIGKILL: no chance to clean up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(settings: Settings) -> Iterator[Server]:
    started = Server(settings)
    yield started
    started.kill()


def test_a_killed_api_loses_no_chunk_that_it_confirmed_and_the_sender_goes_on_by_itself(
    server: Server, tmp_path: Path
) -> None:
    files = write_model(tmp_path / "model", 40 * CHUNK)
    told: list[int] = []
    result: dict[str, Any] = {}
    with httpx.Client(base_url=f"{server.root}/llm-ops/v1", timeout=30) as client:
        path = created(client, "models")

    def run() -> None:
        with Api(server.root) as api:
            result["model"] = sending.send(api, path, files, told.append)

    sender = threading.Thread(target=run)
    sender.start()
    for reached in (3 * CHUNK, 15 * CHUNK):
        deadline = time.monotonic() + 60
        while sum(told) < reached and sender.is_alive() and time.monotonic() < deadline:
            time.sleep(0.005)
        assert sum(told) < sum(file.stat().st_size for file in files)
        server.kill()
        server.start()
    sender.join(timeout=120)
    stored = {file["path"]: file["sha256"] for file in result["model"]["files"]}
    assert stored == {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    assert sum(told) == sum(file.stat().st_size for file in files)


def test_an_interrupted_sender_takes_up_its_upload_and_a_changed_file_begins_anew(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "WHOLE", 0)
    files = write_model(tmp_path / "model", 6 * CHUNK)

    def interrupt(_count: int) -> None:
        seen.append(_count)
        if sum(seen) > 3 * CHUNK:
            raise KeyboardInterrupt

    with httpx.Client(base_url=f"{server.root}/llm-ops/v1", timeout=30) as client, Api(server.root) as api:
        path = created(client, "models")
        seen: list[int] = []
        with pytest.raises(KeyboardInterrupt):
            sending.send(api, path, files, interrupt)
        first = client.get(f"{path}/uploads").json()["data"]
        again: list[int] = []
        with pytest.raises(KeyboardInterrupt):
            sending.send(api, path, files, lambda count: (again.append(count), interrupt(0))[1])
        assert again[0] > 3 * CHUNK
        assert [upload["id"] for upload in client.get(f"{path}/uploads").json()["data"]] == [first[0]["id"]]

        changed = model_files(6 * CHUNK)["model.safetensors"][:-3 * CHUNK]
        files[2].write_bytes(changed + b"\xff" * (3 * CHUNK))
        files[0].write_bytes(files[0].read_bytes().replace(b"llama", b"opt  "[:5]))
        seen.clear()
        model = sending.send(api, path, files, lambda _count: None)
    stored = {file["path"]: file["sha256"] for file in model["files"]}
    assert stored == {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_a_kill_while_the_files_are_put_together_leaves_an_upload_that_completes(server: Server) -> None:
    with httpx.Client(base_url=f"{server.root}/llm-ops/v1", timeout=60) as client:
        path = created(client, "models")
        sender = Sender(client, path, model_files(48 * CHUNK))
        sender.send_all()
        for delay in (0.02, 0.1, 0.2):
            completing = threading.Thread(target=lambda: _quietly(sender))
            completing.start()
            time.sleep(delay)
            server.kill()
            completing.join()
            server.start()
            model = client.get(path).json()["data"]
            assert model["digest"] is None or len(model["files"]) == 3
        deadline = time.monotonic() + 60  # the database may still hold the lease of the killed process
        while (answer := sender.complete()).status_code == 409 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert answer.status_code == 200, answer.text
        stored = {file["path"]: file["sha256"] for file in answer.json()["data"]["files"]}
    assert stored == {name: hashlib.sha256(content).hexdigest() for name, content in model_files(48 * CHUNK).items()}


def _quietly(sender: Sender) -> None:
    try:
        sender.complete()
    except httpx.TransportError:
        return
