"""Uploads while the object store fails under them: said in words, nothing half visible, and the same again works."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import httpx
import pytest

from llmops_resources.blobs import Blobs
from llmops_resources.blobs.compose import Composer
from llmops_resources.platform import Platform
from tests.api.conftest import serving
from tests.api.faulty import FaultyStore, faulty
from tests.api.sending import Sender, created
from tests.blobs.conftest import s3_bucket, s3_endpoint
from tests.model_files import model_files

__all__ = ["s3_bucket", "s3_endpoint"]
PART = 5 * 1024**2


@pytest.fixture
def proxy(s3_endpoint: str) -> Iterator[FaultyStore]:
    """What stands between the platform and its store."""
    with faulty(s3_endpoint) as standing:
        yield standing


@pytest.fixture
def stored(platform: Platform, proxy: FaultyStore, s3_bucket: str) -> Platform:
    """A platform whose files are in S3, behind the proxy; it gives up soon."""
    from datetime import timedelta

    from obstore.store import S3Store

    prefix = uuid4().hex
    store = S3Store(
        s3_bucket, prefix=prefix, endpoint=proxy.address, access_key_id="test", secret_access_key="test",
        region="us-east-1", client_options={"allow_http": True, "timeout": "20s"},
        retry_config={"max_retries": 1, "retry_timeout": timedelta(seconds=3)},
    )  # fmt: skip
    composer = Composer(s3_bucket, prefix, proxy.address, "test", "test", "us-east-1")
    return replace(platform, blobs=Blobs(store, f"s3://{s3_bucket}/{prefix}", composer=composer))


@pytest.fixture
def api(stored: Platform) -> Iterator[httpx.Client]:
    """The API on that platform."""
    with serving(stored) as client:
        yield client


def _form(files: dict[str, bytes]) -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", item) for item in files.items()]


def _digests(files: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def _visible(platform: Platform) -> list[str]:
    return [entry.key for prefix in ("models", "datasets") for entry in platform.blobs.list(prefix)]


@pytest.mark.parametrize(
    ("fault", "method", "where"),
    [("refuse", "PUT", "partNumber=2"), ("reset", "PUT", "partNumber=2"), ("reset", "POST", "uploadId=")],
)
def test_a_store_that_fails_under_a_form_is_told_and_leaves_nothing_visible(
    api: httpx.Client, stored: Platform, proxy: FaultyStore, fault: str, method: str, where: str
) -> None:
    path, files = created(api, "models"), model_files(20_000_000)
    proxy.fault = lambda used, target: fault if used == method and where in target else None
    answer = api.post(f"{path}/upload", files=_form(files))
    assert answer.status_code == 503, answer.text
    assert "OBJECT_STORE_URL" in answer.json()["data"]["remedy"]
    assert proxy.failed
    proxy.heal()
    assert not [key for key in _visible(stored) if not key.endswith(".claim") and not key.endswith(".json")]
    assert not [key for key in _visible(stored) if key.endswith("manifest.json")]
    assert api.get(path).json()["data"]["digest"] is None
    whole = api.post(f"{path}/upload", files=_form(files)).json()["data"]
    assert {file["path"]: file["sha256"] for file in whole["files"]} == _digests(files)


@pytest.mark.parametrize("fault", ["refuse", "reset"])
def test_a_chunk_that_the_store_did_not_take_does_not_count(
    api: httpx.Client, stored: Platform, proxy: FaultyStore, fault: str
) -> None:
    files = model_files(2 * PART)
    sender = Sender(api, created(api, "models"), files)
    number = list(files).index("model.safetensors") + 1
    assert sender.send(number, PART).status_code == 200
    proxy.fault = lambda method, target: fault if method in {"PUT", "POST"} and "staging" in target else None
    assert sender.send(number, PART).status_code == 503
    assert proxy.failed
    proxy.heal()
    assert sender.offsets()[number - 1] == PART
    sender.send_all()
    assert {f["path"]: f["sha256"] for f in sender.complete().json()["data"]["files"]} == _digests(files)
    assert list(stored.blobs.list("staging")) == []


@pytest.mark.parametrize(
    ("fault", "method", "where"),
    [
        ("refuse", "PUT", "uploadId="),  # a part is copied from a chunk
        ("reset", "POST", "uploadId="),  # the parts become one object
        ("cut", "GET", "staging"),  # the airlock reads
        ("refuse", "PUT", "/models/"),  # the object is put into place
        ("refuse", "PUT", "manifest.json"),  # it becomes visible
    ],
)
@pytest.mark.slow
def test_a_completion_that_the_store_breaks_can_be_repeated(
    api: httpx.Client, stored: Platform, proxy: FaultyStore, fault: str, method: str, where: str
) -> None:
    files = model_files(2 * PART)
    sender = Sender(api, path := created(api, "models"), files)
    number = list(files).index("model.safetensors") + 1
    assert sender.send(number, PART).status_code == 200
    sender.send_all()
    proxy.fault = lambda used, at: fault if used == method and where in at and "list-type" not in at else None
    with httpx.Client(base_url=api.base_url, timeout=120) as patient:
        broken = patient.post(f"{sender.path}/complete")
    assert broken.status_code == 503, broken.text
    assert proxy.failed
    proxy.heal()
    assert api.get(path).json()["data"]["digest"] is None
    assert not [key for key in _visible(stored) if key.endswith("manifest.json")]
    assert api.get(sender.path).json()["data"]["status"] == "open"
    assert {f["path"]: f["sha256"] for f in sender.complete().json()["data"]["files"]} == _digests(files)
    assert list(stored.blobs.list("staging")) == []
    assert stored.blobs.composer is not None
    unfinished = stored.blobs.composer._client.list_multipart_uploads(
        Bucket=stored.blobs.composer.bucket, Prefix=stored.blobs.composer.prefix
    )
    assert not unfinished.get("Uploads")


def test_a_truncated_answer_of_the_store_is_no_shorter_file(
    api: httpx.Client, stored: Platform, proxy: FaultyStore
) -> None:
    content = b"a,b\n" + b"1,2\n" * 200_000
    sender = Sender(api, created(api, "datasets"), {"pairs.csv": content})
    sender.send_all()
    proxy.fault = lambda method, target: "cut" if method == "GET" and "whole" in target else None
    broken = sender.complete()
    assert broken.status_code == 503, broken.text
    assert proxy.failed
    proxy.heal()
    assert _visible(stored) == []
    stored_file = sender.complete().json()["data"]["files"][0]
    assert stored_file["sha256"] == hashlib.sha256(content).hexdigest()


def test_a_store_that_is_down_for_a_moment_is_asked_again_and_nobody_notices(
    api: httpx.Client, stored: Platform, proxy: FaultyStore
) -> None:
    once = iter(["refuse"])
    proxy.fault = lambda method, _target: next(once, None) if method == "PUT" else None
    files = {"a.csv": b"a\n" + os.urandom(100).hex().encode() + b"\n"}
    answer = api.post(f"{created(api, 'datasets')}/upload", files=_form(files))
    assert answer.status_code == 200, answer.text
    assert proxy.failed == 1
