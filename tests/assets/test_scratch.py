"""A scratch folder is one attempt's at a time, even when the database has let go of its lease."""

import os
import shutil
import threading
from pathlib import Path
from uuid import uuid4

import pytest

from llmops_assets import scratch
from llmops_resources.blobs import open_blobs
from llmops_resources.blobs.compose import Composer
from llmops_resources.blobs.objects import STAGING
from llmops_resources.errors import Unavailable
from llmops_resources.platform import Platform
from tests.blobs.conftest import s3_bucket, s3_endpoint

__all__ = ["s3_bucket", "s3_endpoint"]


def test_files_of_this_machine_are_published_in_s3_without_a_copy_and_read_as_they_were(
    s3_endpoint: str, s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = open_blobs(f"s3://{s3_bucket}/{uuid4().hex}", endpoint=s3_endpoint, access_key="test", secret_key="test")
    contents = {"model.safetensors": os.urandom(20_000_000), "nested/state.json": b"{}", "empty": b""}
    files = {name: tmp_path / str(number) for number, name in enumerate(contents)}
    for name, path in files.items():
        path.write_bytes(contents[name])
    copied: list[str] = []
    monkeypatch.setattr(Composer, "compose", lambda _self, key, _sources: copied.append(key) or False)
    manifest = scratch.publish(blobs, "models/tiny/1", files)
    assert {name: b"".join(blobs.read(f"models/tiny/1/{name}")) for name in contents} == contents
    assert [file.path for file in manifest.files] == sorted(contents)
    assert (copied, list(blobs.list(STAGING))) == ([], [])


def test_what_a_killed_attempt_left_is_gone_and_so_is_the_folder_at_the_end(platform: Platform, tmp_path: Path) -> None:
    row = uuid4()
    kept = tmp_path / "kept"
    kept.write_text("not ours to remove")
    with scratch.folder(platform, row) as work:
        place = work
    (place / "data").mkdir(parents=True)
    (place / "half").write_text("half")
    (place / "link").symlink_to(kept)
    with scratch.folder(platform, row) as work:
        assert work == place
        assert list(work.iterdir()) == []
    assert not place.exists()
    assert kept.exists()


def test_a_file_that_the_next_attempt_asks_for_is_kept_after_a_kill_and_removed_at_the_end(platform: Platform) -> None:
    row = uuid4()
    with scratch.folder(platform, row) as place:
        pass
    place.mkdir()
    for name in ("partial.jsonl", "half"):
        (place / name).write_text("left by a killed attempt")
    with scratch.folder(platform, row, keep="partial.jsonl") as work:
        assert [path.name for path in work.iterdir()] == ["partial.jsonl"]
    assert not place.exists()


def test_an_attempt_waits_for_a_predecessor_that_lives_on_and_neither_loses_a_file(platform: Platform) -> None:
    row, began, seen = uuid4(), threading.Event(), list[str]()

    def successor() -> None:
        began.set()
        with scratch.folder(platform, row) as work:
            seen.extend(path.name for path in work.iterdir())
            (work / "mine").touch()
            seen.extend(path.name for path in work.iterdir())

    after = threading.Thread(target=successor)
    with scratch.folder(platform, row) as work:
        (work / "first").touch()
        after.start()
        assert began.wait(60)
        after.join(0.3)
        assert after.is_alive()
        assert [path.name for path in work.iterdir()] == ["first"]
    after.join(10)
    assert seen == ["mine"]
    assert not work.exists()


def test_an_attempt_whose_predecessor_never_leaves_gives_up_and_takes_nothing_from_it(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "LEAVING", 0.2)
    row = uuid4()
    with scratch.folder(platform, row) as work:
        (work / "first").touch()
        with pytest.raises(Unavailable, match="earlier attempt"), scratch.folder(platform, row):
            raise AssertionError("two attempts in one folder")
        assert [path.name for path in work.iterdir()] == ["first"]
    shutil.rmtree(work, ignore_errors=True)
