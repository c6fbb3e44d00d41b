"""A model import killed while it copies and while it publishes: nothing half stays, and it is done once."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from llmops_resources.catalog import evidence, imports, versions
from llmops_resources.catalog.evidence import EvidenceKind
from llmops_resources.catalog.imports import Origin, Source
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.database import Actor
from llmops_resources.platform import Platform
from llmops_resources.settings import Settings
from tests.assets.conftest import Materialize
from tests.model_files import write_model

pytestmark = pytest.mark.slow
RUN = """
import sys
import dagster as dg
from llmops_assets.claims import ROOM_TAG, WORK_TAG
from llmops_assets.definitions import build
from llmops_assets.mirror import read
from llmops_resources.database import Actor
from llmops_resources.platform import open_platform
from llmops_resources.settings import Settings
with open_platform(Settings(_env_file=None)) as platform, dg.DagsterInstance.ephemeral() as instance:
    with platform.transaction(Actor("local-admin", frozenset({"admin"}))) as tx:
        definitions = build(read(tx))
    dg.materialize(
        list(definitions.assets), selection=[dg.AssetKey(["models", "large"])], resources={"platform": platform},
        instance=instance, tags={WORK_TAG: sys.argv[1], ROOM_TAG: "imports"}, raise_on_error=False,
    )
"""


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """Settings that allow importing from a folder with one model in it."""
    write_model(tmp_path / "shared" / "large", 150_000_000)
    return settings.model_copy(update={"model_import_root": tmp_path / "shared"})


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _killed(settings: Settings, row: str, when: Callable[[], bool]) -> None:
    """Run the import in a process of its own, and kill it at that moment."""
    environment = {
        **os.environ,
        "LLMOPS_HOME": str(settings.home),
        "DATABASE_URL": str(settings.database_url),
        "SECRET_KEY": "a test's signing key, long enough",
        "MODEL_IMPORT_ROOT": str(settings.model_import_root),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, row], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not when():
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_an_import_killed_while_copying_and_while_publishing_is_done_once_by_the_next_attempt(
    platform: Platform, settings: Settings, admin: Actor, materialize: Materialize
) -> None:
    origin = Origin(source=Source.DIRECTORY, location="large")
    origin = imports.check_origin(origin, root=settings.model_import_root, offline=True)
    with platform.transaction(admin) as tx:
        asked = imports.request(tx, origin, name="large", version="1", owner_team="research")
    objects, published = settings.home / "objects", f"models/{asked.model_id}/1"
    moments = (
        lambda: any(_size(path) > 10_000_000 for path in (objects / "staging").rglob("*#*")),
        (objects / published).is_dir,
    )
    for attempt, moment in enumerate(moments, start=1):
        _killed(settings, f"{asked.id}:{attempt}", moment)
        with platform.transaction(admin) as tx:
            assert versions.get(tx, asked.model_id).digest is None
            assert imports.retry_dead(tx, asked.id, attempt=attempt, reason="its process died")
    assert materialize(("models", "large"), row=f"{asked.id}:3", room="imports").success

    with platform.transaction(admin) as tx:
        (model,) = versions.of_name(tx, Kind.MODEL, "large")
        assert len(evidence.of_version(tx, model.id, EvidenceKind.AIRLOCK)) == 1
    source = settings.model_import_root / "large" if settings.model_import_root else Path()
    assert {file.path: file.sha256 for file in model.files} == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in source.iterdir()
    }
    for prefix in ("staging", "models"):  # a claim that was being written, too
        platform.blobs.sweep(prefix, timedelta(seconds=-60))
    left = {path.name for path in objects.rglob("*") if path.is_file()}
    assert left - {"manifest.json", ".claim"} == {path.name for path in source.iterdir()}
