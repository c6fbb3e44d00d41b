"""The Hugging Face Hub's client against a small hub of our own, which speaks as much of its protocol as is asked."""

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import UUID

import pytest

from llmops_resources.catalog import imports, versions
from llmops_resources.catalog.imports import ModelImport, Origin, Source
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Actor
from llmops_resources.platform import Platform
from llmops_resources.settings import Settings
from tests.assets.conftest import Materialize
from tests.model_files import model_files

COMMIT = "c" * 40
README = b"---\nlicense: apache-2.0\n---\n# From the hub\n"


class Hub(ThreadingHTTPServer):
    """Repositories by name, each with its files; and the paths that were asked for."""

    def __init__(self, repositories: dict[str, dict[str, bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.repositories = repositories
        self.asked: list[str] = []
        self.lies = False


class _Answers(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub = self.server
        assert isinstance(hub, Hub)
        path = self.path.split("?")[0]
        hub.asked.append(path)
        for repository, files in hub.repositories.items():
            if path == f"/api/models/{repository}/revision/main":
                self._say(json.dumps(_described(repository, files, lies=hub.lies)).encode(), "application/json")
                return
            name = path.removeprefix(f"/{repository}/resolve/{COMMIT}/")
            if name in files:
                self._say(files[name], "application/octet-stream")
                return
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _say(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        """Silence."""


def _described(repository: str, files: dict[str, bytes], *, lies: bool) -> dict[str, object]:
    siblings = []
    for name, content in files.items():
        digest = hashlib.sha256(content + (b"!" if lies else b"")).hexdigest()
        lfs = {"sha256": digest, "size": len(content), "pointerSize": 1}
        siblings.append(
            {"rfilename": name, "size": len(content), "blobId": "b", **({"lfs": lfs} if "safetensors" in name else {})}
        )
    return {"_id": "1", "id": repository, "modelId": repository, "sha": COMMIT, "private": False, "siblings": siblings}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with one sound repository and one of pickles."""
    good = {**model_files(), "README.md": README, "modeling.py": b"import os", "pytorch_model.bin": b"PK\x03\x04"}
    server = Hub({"org/good": good, "org/pickles": {"config.json": b"{}", "pytorch_model.bin": b"PK\x03\x04"}})
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings of a platform that may use the Hub."""
    return settings.model_copy(update={"hf_hub_offline": False})


def _asked(platform: Platform, admin: Actor, repository: str) -> ModelImport:
    origin = imports.check_origin(Origin(source=Source.HUGGINGFACE, location=repository), root=None, offline=False)
    with platform.transaction(admin) as tx:
        return imports.request(tx, origin, name="good", version="1", owner_team="research")


def _model(platform: Platform, admin: Actor, model_id: UUID) -> tuple[Version, ModelImport]:
    with platform.transaction(admin) as tx:
        return versions.get(tx, model_id), imports.latest(tx, model_id)


def test_a_repository_is_imported_at_its_commit_without_code_and_pickles(
    platform: Platform, admin: Actor, materialize: Materialize, hub: Hub
) -> None:
    asked = _asked(platform, admin, "org/good")
    done = materialize(("models", "good"), row=f"{asked.id}:1", room="imports")
    model, now = _model(platform, admin, asked.model_id)
    assert done.success, now.state.error
    assert now.resolved == COMMIT
    assert {file.path for file in model.files} == {*model_files(), "README.md"}
    assert model.metadata == {
        "huggingface_model_id": "org/good", "huggingface_revision": COMMIT, "license": "apache-2.0"
    }  # fmt: skip
    assert not [path for path in hub.asked if path.endswith((".py", ".bin"))]


def test_what_the_hub_does_not_have_or_has_as_pickles_alone_is_refused_with_the_remedy(
    platform: Platform, admin: Actor, materialize: Materialize, hub: Hub
) -> None:
    asked = _asked(platform, admin, "org/pickles")
    assert not materialize(("models", "good"), row=f"{asked.id}:1", room="imports").success
    assert "no safetensors" in (_model(platform, admin, asked.model_id)[1].state.error or "")
    hub.repositories.clear()
    with platform.transaction(admin) as tx:
        again = imports.again(tx, asked.model_id)
    assert not materialize(("models", "good"), row=f"{again.id}:1", room="imports").success
    assert "has no repository org/pickles" in (_model(platform, admin, asked.model_id)[1].state.error or "")


def test_weights_that_are_not_what_the_hub_vouches_for_are_refused(
    platform: Platform, admin: Actor, materialize: Materialize, hub: Hub
) -> None:
    hub.lies = True
    asked = _asked(platform, admin, "org/good")
    assert not materialize(("models", "good"), row=f"{asked.id}:1", room="imports").success
    model, now = _model(platform, admin, asked.model_id)
    assert "its SHA-256 differs" in (now.state.error or "")
    assert model.digest is None
    assert list(platform.blobs.list("staging")) == []
