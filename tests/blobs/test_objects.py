"""Single objects, on every kind of store."""

import hashlib
import os
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmops_resources.blobs import Blobs, StoredFile, check_key, open_blobs
from llmops_resources.errors import InvalidInput, NotFound, TooLarge, Unavailable


def keys(blobs: Blobs, prefix: str) -> set[str]:
    return {entry.key for entry in blobs.list(prefix)}


def test_what_was_written_is_read_back_with_its_size_and_sha256(blobs: Blobs) -> None:
    data = os.urandom(20_000_000)  # more than two parts
    stored = blobs.write("datasets/a/1/한글 파일.csv", (data[i : i + 70_001] for i in range(0, len(data), 70_001)))
    assert stored == StoredFile(path="한글 파일.csv", size=len(data), sha256=hashlib.sha256(data).hexdigest())
    assert b"".join(blobs.read("datasets/a/1/한글 파일.csv")) == data
    assert blobs.head("datasets/a/1/한글 파일.csv") == len(data)


def test_an_empty_object_is_an_object(blobs: Blobs) -> None:
    assert blobs.write("d/a/1/empty", []).size == 0
    assert blobs.head("d/a/1/empty") == 0
    assert list(blobs.read("d/a/1/empty")) == []


def test_a_range_stops_at_the_end_of_the_object(blobs: Blobs) -> None:
    blobs.write("d/a/1/x", [b"0123456789"])
    assert blobs.read_range("d/a/1/x", 2, 3) == b"234"
    assert blobs.read_range("d/a/1/x", 8, 100) == b"89"
    assert blobs.read_range("d/a/1/x", 10, 1) == b""
    with pytest.raises(InvalidInput):
        blobs.read_range("d/a/1/x", -1, 1)


def test_an_object_that_is_not_there_is_not_found(blobs: Blobs) -> None:
    with pytest.raises(NotFound):
        blobs.head("d/a/1/nothing")
    with pytest.raises(NotFound):
        list(blobs.read("d/a/1/nothing"))
    assert not blobs.exists("d/a/1/nothing")


def test_too_many_bytes_leave_nothing_behind(blobs: Blobs) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(1_000_000)

    with pytest.raises(TooLarge, match="10,000,000"):
        blobs.write("d/a/1/x", endless(), max_bytes=10_000_000)
    assert keys(blobs, "d") == set()


def test_a_source_that_fails_passes_its_own_error_and_leaves_nothing_behind(blobs: Blobs) -> None:
    def broken() -> Iterator[bytes]:
        yield bytes(9_000_000)
        raise ConnectionResetError("the client went away")

    with pytest.raises(ConnectionResetError, match="went away"):
        blobs.write("d/a/1/x", broken())
    assert keys(blobs, "d") == set()


def test_a_failed_rewrite_keeps_the_old_bytes(blobs: Blobs) -> None:
    blobs.write("d/a/1/x", [b"old"])
    with pytest.raises(TooLarge):
        blobs.write("d/a/1/x", [b"newer"], max_bytes=4)
    assert b"".join(blobs.read("d/a/1/x")) == b"old"


def test_delete_removes_only_its_folder_and_may_be_repeated(blobs: Blobs) -> None:
    for key in ("d/a/1/x", "d/a/1/y/z", "d/a/10/x"):
        blobs.write(key, [b"1"])
    assert blobs.delete("d/a/1") == 2
    assert blobs.delete("d/a/1") == 0
    assert keys(blobs, "d") == {"d/a/10/x"}


WRONG = [
    "", "/", "/etc/passwd", "a//b", "a/", "..", "a/../b", "a/./b", "a\\b", "a\0b", "a\nb", "a/b\u202egnp.csv",
    "a/\u200bb", "a/%2e%2e/b", "a#1", "a?b", "~/x", "a/ b", "a/b.", "a:b", "a/\ud800", "x" * 241, "a/" * 600 + "b",
]  # fmt: skip


@pytest.mark.parametrize("key", WRONG, ids=ascii)
def test_a_key_that_stores_would_spell_differently_is_refused(blobs: Blobs, key: str) -> None:
    for attempt in (lambda: blobs.write(key, [b"x"]), lambda: list(blobs.read(key)), lambda: blobs.head(key)):
        with pytest.raises(InvalidInput) as caught:
            attempt()
        assert caught.value.remedy


@given(st.text(max_size=30))
def test_a_key_that_is_accepted_stays_below_the_root(key: str) -> None:
    try:
        check_key(key)
    except InvalidInput:
        return
    assert os.path.normpath(f"/root/{key}") == f"/root/{key}"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=2000), cuts=st.lists(st.integers(0, 2000), max_size=8))
def test_any_chunking_of_the_same_bytes_gives_the_same_stored_file(blobs: Blobs, data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), 2000]
    chunks = [data[a:b] for a, b in pairwise(edges)]
    stored = blobs.write("d/property/1/x", chunks)
    assert stored == blobs.write("d/property/1/x", [data])
    assert b"".join(blobs.read("d/property/1/x")) == data


@pytest.mark.parametrize("url", ["", "objects", "http://x/y", "s3://", "file://host/x", "s3://bucket/../x"])
def test_an_address_that_is_no_object_store_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        open_blobs(url)


def test_an_s3_that_does_not_answer_is_unavailable_with_a_remedy() -> None:
    blobs = open_blobs("s3://bucket", endpoint="http://127.0.0.1:9", access_key="x", secret_key="y")
    with pytest.raises(Unavailable) as caught:
        blobs.head("a/b")
    assert "OBJECT_STORE_URL" in caught.value.remedy
