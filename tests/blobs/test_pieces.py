"""Objects that arrive in pieces, on every kind of store: put together without a copy, and never out of damaged ones."""

import hashlib
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import obstore
import pytest

from llmops_resources.blobs import Blobs, Gathered, Lost, Piece, open_blobs, slot, store
from llmops_resources.blobs.compose import Composer
from llmops_resources.errors import TooLarge, ValidationFailed

BIG = 5 * 1024**2  # the least that S3 takes as a part


def sent(blobs: Blobs, contents: list[bytes], key: str = "staging/upload/0001.whole") -> list[Piece]:
    """The contents stored as pieces that follow one another."""
    pieces, start = [], 0
    for content in contents:
        with slot(blobs, key, start) as place:
            stored = place.write([content[:1000], content[1000:]])
            pieces.append(Piece(place.key, place.start, stored.size, stored.sha256))
        start += len(content)
    return pieces


@pytest.mark.parametrize("sizes", [[BIG, BIG, 7], [10, 20, 30], [1]], ids=str)
def test_pieces_become_one_object_with_the_digest_of_all(blobs: Blobs, sizes: list[int]) -> None:
    contents = [os.urandom(size) for size in sizes]
    whole = b"".join(contents)
    pieces = sent(blobs, contents)
    digest = hashlib.sha256(whole).hexdigest()
    for known in (None, digest):
        stored = store(blobs, "staging/other/x.bin", Gathered(blobs, "x.bin", pieces, sha256=known))
        assert (stored.size, stored.sha256) == (len(whole), digest)
        assert b"".join(blobs.read("staging/other/x.bin")) == whole
    inspected: list[bytes] = []
    content = Gathered(blobs, "x.bin", pieces)
    store(blobs, "staging/other/y.bin", content, (inspected.append(chunk) or chunk for chunk in content))  # type: ignore[func-returns-value]
    assert b"".join(inspected) == b"".join(blobs.read("staging/other/y.bin")) == whole


def test_in_a_folder_no_byte_is_written_twice(tmp_path: Path) -> None:
    blobs = open_blobs(tmp_path.as_uri())
    pieces = sent(blobs, [bytes(100), bytes(50)])
    store(blobs, "staging/other/x", Gathered(blobs, "x", pieces))
    first, second = tmp_path / pieces[0].key, tmp_path / "staging/other/x"
    assert first.stat().st_ino == second.stat().st_ino
    assert first.stat().st_size == 150


def test_large_pieces_in_s3_are_put_together_by_the_store_itself(
    open_store: Callable[[], Blobs], monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = open_store()
    if blobs.root is not None:
        pytest.skip("a folder links")
    pieces = sent(blobs, [os.urandom(BIG), b"end"])
    known = hashlib.sha256(b"".join(b"".join(blobs.read(piece.key)) for piece in pieces)).hexdigest()

    def refuse(*_arguments: object, **_names: object) -> None:
        raise AssertionError("bytes went through this process")

    for name in ("get", "get_range", "put"):
        monkeypatch.setattr(obstore, name, refuse)
    assert store(blobs, "staging/other/x", Gathered(blobs, "x", pieces, sha256=known)).size == BIG + 3


def test_a_store_that_refuses_to_compose_gets_the_bytes_written(
    open_store: Callable[[], Blobs], monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = open_store()
    monkeypatch.setattr(Composer, "compose", lambda *_arguments: False)
    pieces = sent(blobs, [bytes(BIG), b"end"])
    store(blobs, "staging/other/x", Gathered(blobs, "x", pieces))
    assert b"".join(blobs.read("staging/other/x")) == bytes(BIG) + b"end"


def test_an_unfinished_composition_is_ended_by_the_sweep(open_store: Callable[[], Blobs]) -> None:
    blobs = open_store()
    if blobs.composer is None:
        pytest.skip("a folder composes nothing")
    client, bucket = blobs.composer._client, blobs.composer.bucket
    client.create_multipart_upload(Bucket=bucket, Key=f"{blobs.composer.prefix}/staging/upload/x")
    client.create_multipart_upload(Bucket=bucket, Key=f"{blobs.composer.prefix}/models/a/1/x")
    assert blobs.composer.abort_old("staging", datetime(2000, 1, 1, tzinfo=UTC)) == 0  # moto: all began in 2010
    assert blobs.sweep("staging", timedelta(seconds=-60)) == 1
    assert blobs.sweep("models", timedelta(seconds=-60)) == 1
    assert blobs.sweep("staging", timedelta(seconds=-60)) == 0


def test_a_piece_that_changed_or_vanished_is_lost_from_its_start_on(blobs: Blobs) -> None:
    contents = [b"a" * 100, b"b" * 100, b"c" * 100]
    pieces = sent(blobs, contents)
    if blobs.root is not None:  # what a power cut leaves of a file: its size, and zeros
        with (blobs.root / pieces[0].key).open("r+b") as file:
            file.seek(150)
            file.write(bytes(10))
    else:
        blobs.remove(pieces[1].key)
    with pytest.raises(Lost, match="from byte 100") as lost:
        store(blobs, "staging/other/x", Gathered(blobs, "x", pieces))
    assert lost.value.start == 100
    assert not blobs.exists("staging/other/x")


def test_a_file_cut_short_is_lost_from_the_piece_that_is_cut(tmp_path: Path) -> None:
    blobs = open_blobs(tmp_path.as_uri())
    pieces = sent(blobs, [b"a" * 100, b"b" * 100])
    os.truncate(tmp_path / pieces[0].key, 120)
    with pytest.raises(Lost) as lost:
        store(blobs, "staging/other/x", Gathered(blobs, "x", pieces))
    assert lost.value.start == 100


def test_another_digest_than_announced_and_too_many_bytes_are_refused(blobs: Blobs) -> None:
    pieces = sent(blobs, [b"abc"])
    with pytest.raises(ValidationFailed):
        store(blobs, "staging/other/x", Gathered(blobs, "x", pieces, announced="0" * 64))
    with pytest.raises(TooLarge):
        store(blobs, "staging/other/x", Gathered(blobs, "x", pieces), max_bytes=2)
    assert not blobs.exists("staging/other/x")


def test_of_two_writers_at_once_each_has_a_place_of_its_own_and_nothing_is_left_of_a_refused_one(
    blobs: Blobs,
) -> None:
    with slot(blobs, "staging/upload/0001.whole", 0) as one, slot(blobs, "staging/upload/0001.whole", 0) as other:
        assert one.key != other.key
        one.write([b"one"])
        other.write([b"other"])
        assert b"".join(blobs.read(other.key)) == b"other"
        one.discard()
        other.discard()
    assert list(blobs.list("staging")) == []
