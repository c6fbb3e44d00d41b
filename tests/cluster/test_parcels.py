"""What pods without credentials read and write: links to their own job's objects, over a real S3 server."""

import os
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any, Literal
from uuid import UUID, uuid4

import boto3
import pytest
from moto.server import ThreadedMotoServer

from llmops_assets.training import node, parcels
from llmops_resources.blobs import Blobs, Manifest, open_blobs
from llmops_resources.blobs.signing import sign
from llmops_resources.errors import Conflict, InvalidInput, TooLarge, Unavailable
from llmops_resources.training.errand import Errand, errand, folder

JOB_ID = UUID("7f0c4a52-6a53-4a2f-9c3c-0d2d6f4b8f11")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    client = boto3.client(
        "s3", endpoint_url=address, aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1"
    )
    client.create_bucket(Bucket="llmops")
    yield address
    server.stop()


@pytest.fixture
def blobs(endpoint: str) -> Blobs:
    url = f"s3://llmops/{uuid4().hex}"
    return open_blobs(url, endpoint=endpoint, access_key="test", secret_key="test", region="us-east-1")


def _errand(blobs: Blobs, inputs: dict[str, tuple[str, Manifest]], **given: Any) -> Errand:
    def signing(method: Literal["GET", "PUT"], keys: Any) -> list[str]:
        return sign(blobs, method, keys, timedelta(hours=1))

    return errand(JOB_ID, "{}", inputs, signing, **{"parts": 24, "part_bytes": 1000, **given})


def _tree(root: Path, *, size: int = 2500) -> dict[str, bytes]:
    files = {"weights.bin": os.urandom(size), "deep/er/config.json": b"{}", "empty": b""}
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return files


def _read(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_folder_in_parts_arrives_as_it_was(blobs: Blobs, tmp_path: Path) -> None:
    told = _errand(blobs, {}).checkpoints[0]
    files = _tree(tmp_path / "out")
    assert parcels.read_index(told) is None
    parcels.send(told, tmp_path / "out", 7)
    index = parcels.read_index(told)
    assert index is not None
    assert (index.serial, len(index.parts) > 3) == (7, True)
    parcels.receive(told, index, tmp_path / "in")
    assert _read(tmp_path / "in") == files
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}


def test_a_folder_that_is_too_large_is_refused_and_leaves_nothing_to_see(blobs: Blobs, tmp_path: Path) -> None:
    told = _errand(blobs, {}, parts=2).checkpoints[0]
    _tree(tmp_path / "out")
    with pytest.raises(TooLarge):
        parcels.send(told, tmp_path / "out", 1)
    assert parcels.read_index(told) is None


def test_inputs_are_fetched_and_their_bytes_are_checked(blobs: Blobs, tmp_path: Path) -> None:
    prefix = f"datasets/{uuid4()}/1"
    manifest = blobs.publish(prefix, [blobs.write(f"{prefix}/part.parquet", [b"rows"])])
    (file,) = _errand(blobs, {"data": (prefix, manifest)}).inputs
    parcels.fetch(file, tmp_path)
    assert (tmp_path / "data" / "part.parquet").read_bytes() == b"rows"
    wrong = file.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(Conflict, match="not those that were approved"):
        parcels.fetch(wrong, tmp_path)
    with pytest.raises(Conflict, match="leads out"):
        parcels.fetch(file.model_copy(update={"path": "../escaped"}), tmp_path)


def test_a_link_opens_one_object_for_one_thing_and_no_other(blobs: Blobs, tmp_path: Path) -> None:
    prefix = f"datasets/{uuid4()}/1"
    manifest = blobs.publish(prefix, [blobs.write(f"{prefix}/mine", [b"mine"])])
    told = _errand(blobs, {"data": (prefix, manifest)})
    links = [told.inputs[0].url, told.output.put_index, *told.output.put_parts]
    for slot in told.checkpoints:
        links += [slot.put_index, *slot.put_parts, slot.get_index or "", *slot.get_parts]
    inside = (f"/{prefix}/mine?", f"/{folder(JOB_ID)}/")
    assert all(any(part in link for part in inside) for link in links)
    assert all("X-Amz-Signature=" in link and "X-Amz-SignedHeaders=host" in link for link in links)
    assert told.output.get_index is None
    assert all(link not in repr(told) for link in links)


def test_links_that_expired_and_a_store_that_is_away_say_so(blobs: Blobs, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    told = _errand(blobs, {}).output
    away = told.model_copy(update={"put_parts": ("http://127.0.0.1:1/x",)})
    with pytest.raises(Unavailable, match="cannot be reached"):
        parcels.send(away, tmp_path / "out", 1, sleep=lambda _: None)


def test_a_local_folder_cannot_be_linked_to(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="one machine"):
        sign(open_blobs(tmp_path.as_uri()), "GET", ["a/b"], timedelta(hours=1))


def test_the_newest_whole_checkpoint_is_the_one_to_go_on_from(blobs: Blobs, tmp_path: Path) -> None:
    slots = _errand(blobs, {}).checkpoints
    old, new = _tree(tmp_path / "old"), tmp_path / "new"
    _tree(new)
    assert node.resume(slots, tmp_path / "none") == -1
    parcels.send(slots[0], tmp_path / "old", 10)
    parcels.send(slots[1], new, 20)
    assert node.resume(slots, tmp_path / "first") == 20
    assert _read(tmp_path / "first") == _read(new)
    with urllib.request.urlopen(
        urllib.request.Request(slots[1].put_parts[1], data=b"half of the next one", method="PUT")
    ):
        pass  # killed while it wrote over the newer slot
    assert node.resume(slots, tmp_path / "second") == 10
    assert _read(tmp_path / "second") == old


@pytest.mark.parametrize("name", ["../out", "a/../../out", "link"])
def test_an_archive_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        if name == "link":
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    with pytest.raises(Conflict):
        parcels.unpack([buffer.getvalue()], tmp_path / "in")
    assert list(tmp_path.iterdir()) == []


def test_a_cut_archive_is_refused(tmp_path: Path) -> None:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("weights")
        entry.size = 5000
        archive.addfile(entry, BytesIO(b"x" * 5000))
    with pytest.raises(Conflict):
        parcels.unpack([buffer.getvalue()[:2000]], tmp_path / "in")
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_fails_now_and_then_is_sent_again(
    blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, failures = _errand(blobs, {}).checkpoints[0], [503, 500, None]
    _tree(tmp_path / "out", size=10)
    original = parcels._open

    def flaky(method: str, url: str, *rest: Any) -> Any:
        code = failures.pop(0) if failures else None
        if code is not None:
            raise urllib.error.HTTPError(url, code, "slow down", {}, BytesIO())  # type: ignore[arg-type]
        return original(method, url, *rest)

    monkeypatch.setattr(parcels, "_open", flaky)
    parcels.send(told, tmp_path / "out", 1, sleep=lambda _: None)
    assert parcels.read_index(told) is not None


def test_the_first_node_that_never_appears_is_not_waited_for_without_end() -> None:
    node.wait_for("localhost")
    with pytest.raises(Unavailable, match="did not appear"):
        node.wait_for("train-x-0.train-x.invalid", seconds=0)
