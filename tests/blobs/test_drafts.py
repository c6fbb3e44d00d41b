"""Drafts of version folders, on every kind of store: seen by nobody before they are whole, and written only once."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import obstore
import pytest
from obstore.store import S3Store

from llmops_resources.blobs import Blobs, Draft, Manifest
from llmops_resources.blobs import drafts as drafts_module
from llmops_resources.blobs.compose import Composer
from llmops_resources.blobs.hidden import PART_BYTES
from llmops_resources.errors import Conflict, TooLarge, Unavailable
from tests.api.faulty import faulty

PREFIX = "models/11111111-1111-1111-1111-111111111111/1"
LARGE = os.urandom(2 * PART_BYTES + 12_345)


def pieces(data: bytes, size: int = 700_001) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def upload(blobs: Blobs, files: dict[str, bytes], prefix: str = PREFIX) -> Manifest:
    with Draft(blobs, prefix) as draft:
        stored = [draft.add(name, iter(pieces(data)), asked=lambda _start: 100) for name, data in files.items()]
        return draft.publish(stored)


def unfinished(blobs: Blobs) -> list[str]:
    """The keys of uploads that nobody sees."""
    if blobs.composer is None:
        return []
    listed = blobs.composer._client.list_multipart_uploads(Bucket=blobs.composer.bucket, Prefix=blobs.composer.prefix)
    return [entry["Key"] for entry in listed.get("Uploads", ())]


def everything(blobs: Blobs) -> list[str]:
    return [entry.key for prefix in ("models", "staging") for entry in blobs.list(prefix)]


@pytest.mark.parametrize("size", [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES])
def test_a_file_of_any_size_is_published_with_its_digest_and_nothing_else_stays(blobs: Blobs, size: int) -> None:
    data = os.urandom(size)
    manifest = upload(blobs, {"config.json": b"{}", "sub/x.safetensors": data})
    assert {file.path: file.sha256 for file in manifest.files}["sub/x.safetensors"] == hashlib.sha256(data).hexdigest()
    assert b"".join(blobs.read(f"{PREFIX}/sub/x.safetensors")) == data
    assert blobs.manifest(PREFIX) == manifest
    assert [*blobs.list("staging"), *unfinished(blobs)] == []


def test_nobody_sees_a_draft_and_what_was_asked_for_can_be_read(blobs: Blobs) -> None:
    with Draft(blobs, PREFIX) as draft:
        draft.add("config.json", iter([b"{", b"}"]))
        draft.add("x.safetensors", iter(pieces(LARGE)), asked=lambda start: len(start) + 5)
        draft.add("tokenizer.json", iter(pieces(LARGE)))
        assert list(blobs.list("models")) == []
        assert draft.read("config.json", 1, 100) == b"}"
        assert draft.read("x.safetensors", PART_BYTES, 5) == LARGE[PART_BYTES : PART_BYTES + 5]
        assert draft.read("tokenizer.json", len(LARGE) - 3, 10) == LARGE[-3:]
        if blobs.root is None:
            with pytest.raises(ValueError, match="were kept"):
                draft.read("x.safetensors", PART_BYTES, 6)
    assert everything(blobs) == unfinished(blobs) == []


def test_in_s3_no_byte_of_a_large_file_is_copied(
    open_store: Callable[[], Blobs], monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = open_store()
    if blobs.root is not None:
        pytest.skip("a folder renames")

    def refuse(*_arguments: object, **_names: object) -> None:
        raise AssertionError("a copy")

    monkeypatch.setattr(obstore, "copy", refuse)
    monkeypatch.setattr(Composer, "compose", refuse)
    upload(blobs, {"config.json": b"{}", "x.safetensors": LARGE})
    assert b"".join(blobs.read(f"{PREFIX}/x.safetensors")) == LARGE


def test_small_files_beyond_what_this_machine_keeps_are_staged(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts_module, "SCRATCH_BYTES", 150)
    manifest = upload(blobs, {"a": b"a" * 100, "b": b"b" * 100, "c": b"c" * 50, "d.safetensors": LARGE})
    assert [file.size for file in manifest.files] == [100, 100, 50, len(LARGE)]
    assert b"".join(blobs.read(f"{PREFIX}/b")) == b"b" * 100
    assert [*blobs.list("staging"), *unfinished(blobs)] == []


def test_a_source_that_fails_and_a_file_that_is_too_large_leave_nothing(blobs: Blobs) -> None:
    def broken() -> Iterator[bytes]:
        yield LARGE
        raise ConnectionResetError("the client went away")

    with pytest.raises(ConnectionResetError, match="went away"), Draft(blobs, PREFIX) as draft:
        draft.add("a", iter([b"small"]))
        draft.add("x", broken(), asked=lambda _start: 0)
    with pytest.raises(TooLarge), Draft(blobs, PREFIX) as draft:
        draft.add("x", iter(pieces(LARGE)), asked=lambda _start: 0, max_bytes=len(LARGE) - 1)
    assert everything(blobs) == unfinished(blobs) == []


def test_a_kept_draft_waits_in_staging_with_all_its_files(blobs: Blobs) -> None:
    with Draft(blobs, PREFIX) as draft:
        stored = [draft.add(name, iter(pieces(data))) for name, data in {"a.json": b"{}", "x.bin": LARGE}.items()]
        draft.keep()
    assert {entry.key for entry in blobs.list("staging")} == {f"{draft.staged}/a.json", f"{draft.staged}/x.bin"}
    assert blobs.publish(PREFIX, stored, staged=draft.staged).size == len(LARGE) + 2


def test_of_racing_drafts_one_wins_whole(open_store: Callable[[], Blobs]) -> None:
    def attempt(number: int) -> Manifest | None:
        try:
            return upload(open_store(), {"a": bytes([number]), "x.safetensors": bytes([number]) * len(LARGE)})
        except Conflict:
            return None

    with ThreadPoolExecutor(3) as pool:
        winners = [outcome for outcome in pool.map(attempt, [1, 2, 3]) if outcome is not None]
    blobs = open_store()
    assert winners == [blobs.manifest(PREFIX)]
    winner = b"".join(blobs.read(f"{PREFIX}/a"))
    assert b"".join(blobs.read(f"{PREFIX}/x.safetensors")) == winner * len(LARGE)
    assert [*blobs.list("staging"), *unfinished(blobs)] == []


KILLED = """
import sys, time
from llmops_resources.blobs import Draft, open_blobs
from llmops_resources.blobs.hidden import PART_BYTES
url, endpoint, prefix, when = sys.argv[1:]
blobs = open_blobs(url, endpoint=endpoint or None, access_key="test", secret_key="test", region="us-east-1")
def here(*_arguments):
    print("here", flush=True)
    time.sleep(600)
def body():
    for number in range(5):
        yield b"x" * PART_BYTES
        if number == 3 and when == "sending":
            here()
with Draft(blobs, prefix) as draft:
    files = [draft.add("a.json", iter([b"{}"])), draft.add("x.safetensors", body(), asked=lambda _start: 100)]
    if when == "sent":
        here()
    if when == "placed":
        type(blobs)._remove_strangers = here  # every file is in its place, and the manifest is not
    draft.publish(files)
"""


@pytest.mark.slow
@pytest.mark.parametrize("when", ["sending", "sent", "placed"])
def test_a_process_that_is_killed_leaves_nothing_visible_and_the_same_upload_again_succeeds(
    open_store: Callable[[], Blobs], when: str
) -> None:
    blobs = open_store()
    url, endpoint = blobs.base if blobs.root is None else blobs.root.as_uri(), ""
    if blobs.composer is not None:
        endpoint = blobs.composer.endpoint or ""
    command = [sys.executable, "-c", KILLED, url, endpoint, PREFIX, when]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == b"here"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert blobs.manifest(PREFIX) is None
    if when != "placed":
        assert list(blobs.list("models")) == []
        assert len(unfinished(blobs)) == (blobs.composer is not None)
    whole = {"a.json": b"{}", "x.safetensors": b"x" * (5 * PART_BYTES)}
    if when == "placed":
        with pytest.raises(Conflict, match="being published"):
            upload(blobs, {"a.json": b"other"})
    manifest = upload(blobs, whole)
    assert blobs.manifest(PREFIX) == manifest
    assert hashlib.sha256(b"".join(blobs.read(f"{PREFIX}/x.safetensors"))).hexdigest() == manifest.files[1].sha256
    for folder in ("models", "staging"):
        blobs.sweep(folder, timedelta(seconds=-60))
    assert unfinished(blobs) == []
    assert list(blobs.list("staging")) == []
    assert blobs.manifest(PREFIX) == manifest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "method", "where"),
    [
        ("refuse", "POST", "uploads"),  # an upload is begun
        ("reset", "PUT", "partNumber=2"),
        ("refuse", "PUT", ".claim"),
        ("refuse", "PUT", "a.json"),
        ("reset", "POST", "uploadId="),  # it becomes the object
        ("refuse", "PUT", "manifest.json"),
    ],
)
def test_a_store_that_fails_is_told_and_the_same_upload_again_succeeds(
    open_store: Callable[[], Blobs], fault: str, method: str, where: str
) -> None:
    direct = open_store()
    if direct.composer is None:
        pytest.skip("a folder has no server")
    files = {"a.json": b"{}", "x.safetensors": LARGE}
    with faulty(direct.composer.endpoint or "") as proxy:
        blobs = impatient(direct, proxy.address)
        proxy.fault = lambda used, at: fault if used == method and where in at else None
        with pytest.raises(Unavailable) as told:
            upload(blobs, files)
        assert "OBJECT_STORE_URL" in told.value.remedy
        assert proxy.failed
        assert direct.manifest(PREFIX) is None
        assert unfinished(direct) == []
        proxy.heal()
        assert upload(blobs, files) == direct.manifest(PREFIX)
    assert b"".join(direct.read(f"{PREFIX}/x.safetensors")) == LARGE


def impatient(blobs: Blobs, endpoint: str) -> Blobs:
    """The same store at another address, asked again once and soon given up."""
    assert blobs.composer is not None
    store = S3Store(
        blobs.composer.bucket, prefix=blobs.composer.prefix, endpoint=endpoint, access_key_id="test",
        secret_access_key="test", region="us-east-1", client_options={"allow_http": True, "timeout": "20s"},
        retry_config={"max_retries": 1, "retry_timeout": timedelta(seconds=3)},
    )  # fmt: skip
    return replace(blobs, store=store, composer=replace(blobs.composer, endpoint=endpoint))


MEMORY = """
import sys
from pathlib import Path
from llmops_resources.blobs import Draft, open_blobs
def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
blobs = open_blobs(sys.argv[1], endpoint=sys.argv[2], access_key="test", secret_key="test", region="us-east-1")
def upload(prefix, megabytes):
    with Draft(blobs, prefix) as draft:
        names = ["x.safetensors", "y.safetensors"]
        chunk = bytes(100_000)
        files = [draft.add(n, (chunk for _ in range(megabytes * 5)), asked=lambda _start: 100_000) for n in names]
        draft.publish(files)
upload("models/a/1", 0)
blobs.composer.abort(blobs.composer.begin("models/a/x"))  # boto3 is loaded
before = peak()
upload("models/a/2", 150)
print(peak() - before)
"""


@pytest.mark.slow
def test_memory_stays_bounded_while_large_files_are_sent(open_store: Callable[[], Blobs]) -> None:
    blobs = open_store()
    if blobs.composer is None:
        pytest.skip("a folder is tested elsewhere")
    command = [sys.executable, "-c", MEMORY, blobs.base, blobs.composer.endpoint or ""]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=170, check=True)
    assert int(finished.stdout) < 64 * 1024  # KiB, for two files of 75 MB
