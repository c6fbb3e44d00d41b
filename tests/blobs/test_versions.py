"""Version folders, on every kind of store."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from llmops_resources.blobs import Blobs, Manifest, StoredFile
from llmops_resources.errors import Conflict, InvalidInput, NotFound

PREFIX = "datasets/11111111-1111-1111-1111-111111111111/1.0.0"


def upload(blobs: Blobs, files: dict[str, bytes], prefix: str = PREFIX) -> Manifest:
    staged = blobs.stage(prefix)
    stored = [blobs.write(f"{staged}/{name}", [data]) for name, data in files.items()]
    return blobs.publish(prefix, stored, staged=staged)


def overwrite(blobs: Blobs, key: str, data: bytes) -> None:
    """As somebody with access to the store itself could."""
    blobs._put_stream(key, [data], None)


def names(blobs: Blobs, prefix: str) -> set[str]:
    return {entry.key.removeprefix(f"{prefix}/") for entry in blobs.list(prefix)}


def test_a_published_folder_is_found_by_its_manifest(blobs: Blobs) -> None:
    assert blobs.manifest(PREFIX) is None
    manifest = upload(blobs, {"b.csv": b"b", "a.csv": b"aa"})
    assert [file.path for file in manifest.files] == ["a.csv", "b.csv"]
    assert manifest.size == 3
    assert blobs.manifest(PREFIX) == manifest
    assert blobs.uri(PREFIX).endswith(f"{PREFIX}/")
    assert list(blobs.list("staging")) == []


def test_the_digest_depends_on_names_and_bytes_but_not_on_order() -> None:
    one = StoredFile(path="a", size=1, sha256="0" * 64)
    two = StoredFile(path="b", size=2, sha256="1" * 64)
    assert Manifest.of([one, two]).digest == Manifest.of([two, one]).digest
    assert Manifest.of([one]).digest != Manifest.of([one.model_copy(update={"path": "c"})]).digest
    assert Manifest.of([one]).digest != Manifest.of([one.model_copy(update={"sha256": "2" * 64})]).digest


def test_a_version_without_files_or_with_one_name_twice_is_refused(blobs: Blobs) -> None:
    with pytest.raises(InvalidInput):
        blobs.publish(PREFIX, [])
    file = blobs.write(f"{PREFIX}/a", [b"1"])
    with pytest.raises(InvalidInput, match="same name"):
        blobs.publish(PREFIX, [file, file])


def test_the_same_files_again_are_a_no_op(blobs: Blobs) -> None:
    assert upload(blobs, {"a": b"1"}) == upload(blobs, {"a": b"1"})
    assert names(blobs, PREFIX) == {"a", "manifest.json", ".claim"}
    assert list(blobs.list("staging")) == []


def test_other_bytes_for_a_published_version_are_a_conflict_and_change_nothing(blobs: Blobs) -> None:
    manifest = upload(blobs, {"a": b"1"})
    with pytest.raises(Conflict, match="already published"):
        upload(blobs, {"a": b"2"})
    with pytest.raises(Conflict, match="never changes"):
        blobs.write(f"{PREFIX}/a", [b"3"])
    assert blobs.manifest(PREFIX) == manifest
    assert b"".join(blobs.read(f"{PREFIX}/a")) == b"1"


def test_of_two_racing_uploads_one_wins_whole(open_store: Callable[[], Blobs]) -> None:
    def attempt(value: bytes) -> Manifest | None:
        try:
            return upload(open_store(), {"a": value, "b": value})
        except Conflict:
            return None

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(attempt, [b"1", b"2", b"3", b"4"]))
    winners = [outcome for outcome in outcomes if outcome is not None]
    blobs = open_store()
    assert winners == [blobs.manifest(PREFIX)]
    assert b"".join(blobs.read(f"{PREFIX}/a")) == b"".join(blobs.read(f"{PREFIX}/b"))


def test_files_already_in_place_can_be_published_and_strangers_are_removed(blobs: Blobs) -> None:
    file = blobs.write(f"{PREFIX}/a", [b"1"])
    blobs.write(f"{PREFIX}/evil.py", [b"import os"])
    blobs.publish(PREFIX, [file])
    assert names(blobs, PREFIX) == {"a", "manifest.json", ".claim"}


def test_a_missing_or_cut_file_is_not_published_and_does_not_block_the_next_upload(blobs: Blobs) -> None:
    ghost = StoredFile(path="ghost", size=1, sha256="0" * 64)
    with pytest.raises(NotFound):
        blobs.publish(PREFIX, [ghost])
    file = blobs.write(f"{PREFIX}/a", [b"1"])
    with pytest.raises(Conflict, match="bytes instead of"):
        blobs.publish(PREFIX, [file.model_copy(update={"size": 2})])
    assert blobs.manifest(PREFIX) is None
    assert upload(blobs, {"a": b"other"})


def test_the_names_of_the_bookkeeping_are_reserved(blobs: Blobs) -> None:
    with pytest.raises(InvalidInput, match="reserved"):
        upload(blobs, {"manifest.json": b"{}"})


def test_a_publish_that_was_interrupted_is_finished_by_the_same_upload(blobs: Blobs) -> None:
    staged = blobs.stage(PREFIX)
    stored = [blobs.write(f"{staged}/{name}", [name.encode()]) for name in ("a", "b")]
    blobs._claim(PREFIX, Manifest.of(stored))
    blobs._place(f"{staged}/a", f"{PREFIX}/a")  # and here the process died
    assert blobs.manifest(PREFIX) is None
    with pytest.raises(Conflict, match="being published"):
        upload(blobs, {"a": b"x"})
    assert upload(blobs, {"a": b"a", "b": b"b"}) == Manifest.of(stored)


def test_a_download_has_the_published_bytes(blobs: Blobs, tmp_path: Path) -> None:
    manifest = upload(blobs, {"a": b"1" * 3_000_000, "b": b""})
    blobs.download(PREFIX, manifest, tmp_path / "copy")
    assert (tmp_path / "copy" / "a").read_bytes() == b"1" * 3_000_000
    assert (tmp_path / "copy" / "b").read_bytes() == b""
    with pytest.raises(Conflict, match="already exists"):
        blobs.download(PREFIX, manifest, tmp_path / "copy")


@pytest.mark.parametrize("changed", [b"2", b"12", b""])
def test_a_file_that_changed_after_publishing_is_refused_and_nothing_is_left(
    blobs: Blobs, tmp_path: Path, changed: bytes
) -> None:
    manifest = upload(blobs, {"a": b"1", "z": b"1"})
    overwrite(blobs, f"{PREFIX}/z", changed)
    with pytest.raises(Conflict, match="changed after it was published"):
        blobs.download(PREFIX, manifest, tmp_path / "work" / "copy")
    assert list((tmp_path / "work").iterdir()) == []


def test_a_file_that_was_removed_after_publishing_is_not_found(blobs: Blobs, tmp_path: Path) -> None:
    manifest = upload(blobs, {"a": b"1", "z": b"1"})
    blobs.remove(f"{PREFIX}/z")
    with pytest.raises(NotFound):
        blobs.download(PREFIX, manifest, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("damage", [b"", b"{}", b"not json", b'{"files":[],"digest":"sha256:0"}'])
def test_a_damaged_manifest_is_reported_and_not_believed(blobs: Blobs, damage: bytes) -> None:
    upload(blobs, {"a": b"1"})
    overwrite(blobs, f"{PREFIX}/manifest.json", damage)
    with pytest.raises(Conflict, match="damaged"):
        blobs.manifest(PREFIX)


def test_a_manifest_with_an_edited_hash_is_damaged(blobs: Blobs) -> None:
    manifest = upload(blobs, {"a": b"1"})
    edited = manifest.model_dump_json(by_alias=True).replace(manifest.files[0].sha256, "0" * 64)
    overwrite(blobs, f"{PREFIX}/manifest.json", edited.encode())
    with pytest.raises(Conflict, match="damaged"):
        blobs.manifest(PREFIX)


def test_sweeping_removes_what_was_never_published_and_only_when_it_is_old(blobs: Blobs) -> None:
    upload(blobs, {"a": b"1"})
    blobs.write("datasets/2/1/abandoned", [b"1"])
    blobs.write(f"{blobs.stage(PREFIX)}/abandoned", [b"1"])
    assert blobs.sweep("datasets", timedelta(hours=1)) == 0
    assert blobs.sweep("datasets", timedelta(seconds=-60)) == 1
    assert blobs.sweep("staging", timedelta(seconds=-60)) == 1
    assert blobs.manifest(PREFIX) is not None
    assert names(blobs, "datasets/2") == set()
