"""Uploads in chunks as a state machine: whatever order, size and accident the chunks meet, the bytes come out right."""

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from llmops_resources.blobs import open_blobs
from llmops_resources.catalog import versions
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.uploads import chunks, sessions
from llmops_resources.catalog.uploads.values import AnnouncedFile
from llmops_resources.database import Actor
from llmops_resources.errors import Conflict, InvalidInput
from llmops_resources.platform import Platform

ADMIN = Actor("local-admin", frozenset({"admin"}))


class Chunking(RuleBasedStateMachine):
    """Two files sent in chunks of any size; some break off, some lie, some come twice or from two senders at once."""

    platform: Platform
    number = 0

    @initialize(sizes=st.lists(st.integers(1, 5000), min_size=2, max_size=2))
    def begin(self, sizes: list[int]) -> None:
        Chunking.number += 1
        self.folder = tempfile.TemporaryDirectory()
        self.blobs = open_blobs(Path(self.folder.name).as_uri())
        self.contents = [hashlib.shake_128(bytes([n])).digest(size) for n, size in enumerate(sizes)]
        with self.platform.transaction(ADMIN) as tx:
            name = f"chunked-{Chunking.number}"
            entry = versions.create(tx, Kind.DATASET, name=name, version="1", owner_team="tests")
            files = [AnnouncedFile(name=f"{n}.csv", size=size) for n, size in enumerate(sizes)]
            upload = sessions.begin(tx, entry.id, Kind.DATASET, files, chunk_size=1000, max_bytes=10**6)
        self.where = (entry.id, Kind.DATASET, upload.id)
        self.received = [0, 0]

    def _expect(self, file: int, offset: int, content: bytes) -> str | None:
        sha256 = hashlib.sha256(content).hexdigest()
        with self.platform.transaction(ADMIN) as tx:
            return sessions.expect(tx, *self.where, file=file + 1, offset=offset, sha256=sha256)

    def _store(self, key: str, file: int, offset: int, content: bytes, body: list[bytes]) -> Any:
        with self.platform.transaction(ADMIN) as tx:
            announced = sessions.outline(tx, *self.where).files[file]
        sha256 = hashlib.sha256(content).hexdigest()
        return chunks.store_chunk(self.blobs, key, body, file=announced, offset=offset, sha256=sha256)

    def _advance(self, chunk: Any, key: str) -> bool:
        with self.platform.transaction(ADMIN) as tx:
            return sessions.advance(tx, *self.where, chunk, key=key)

    def _next(self, file: int, size: int) -> bytes:
        return self.contents[file][self.received[file] : self.received[file] + size]

    @rule(file=st.integers(0, 1), size=st.integers(1, 3000), pieces=st.integers(1, 4))
    def send(self, file: int, size: int, pieces: int) -> None:
        content = self._next(file, size)
        if not content:
            return
        offset = self.received[file]
        key = self._expect(file, offset, content)
        assert key is not None
        step = -(-len(content) // pieces)
        body = [content[start : start + step] for start in range(0, len(content), step)]
        assert self._advance(self._store(key, file, offset, content, body), key)
        self.received[file] += len(content)

    @rule(file=st.integers(0, 1), size=st.integers(2, 3000))
    def break_off(self, file: int, size: int) -> None:
        content = self._next(file, size)
        if len(content) < 2:
            return
        key = self._expect(file, self.received[file], content)
        assert key is not None
        with pytest.raises(InvalidInput):
            self._store(key, file, self.received[file], content, [content[:-1]])
        assert not self.blobs.exists(key)

    @rule(file=st.integers(0, 1), size=st.integers(1, 3000))
    def die_before_the_row(self, file: int, size: int) -> None:
        if content := self._next(file, size):
            key = self._expect(file, self.received[file], content)
            assert key is not None
            self._store(key, file, self.received[file], content, [content])

    @rule(file=st.integers(0, 1), size=st.integers(1, 3000))
    def race(self, file: int, size: int) -> None:
        content, offset = self._next(file, size), self.received[file]
        if not content:
            return
        other = bytes(byte ^ 1 for byte in content)
        first, second = self._expect(file, offset, content), self._expect(file, offset, other)
        assert first is not None
        assert second is not None
        chunk, loser = (self._store(k, file, offset, c, [c]) for k, c in ((first, content), (second, other)))
        assert self._advance(chunk, first)
        with pytest.raises(Conflict):
            self._advance(loser, second)
        self.received[file] += len(content)

    @rule(file=st.integers(0, 1), offset=st.integers(0, 5000))
    def send_to_another_offset(self, file: int, offset: int) -> None:
        if offset != self.received[file]:
            with pytest.raises(Conflict, match=f"has {self.received[file]} bytes here"):
                self._expect(file, offset, b"other bytes than any chunk")

    @precondition(lambda self: any(self.received))
    @rule()
    def repeat_the_first_chunk(self) -> None:
        with self.platform.transaction(ADMIN) as tx:
            first = sessions.get(tx, *self.where).chunks[0]
        content = self.contents[first.file - 1][: first.size]
        assert self._expect(first.file - 1, 0, content) is None

    @invariant()
    def the_rows_say_what_was_confirmed(self) -> None:
        with self.platform.transaction(ADMIN) as tx:
            files = sessions.outline(tx, *self.where).files
        assert [file.offset for file in files] == self.received

    def teardown(self) -> None:
        for file in (0, 1):
            self.send(file, 5000, 1)
        with self.platform.transaction(ADMIN) as tx:
            ready = sessions.ready(tx, *self.where)
        whole = [b"".join(pieces) for _, pieces in chunks.read_files(self.blobs, ready)]
        assert whole == self.contents
        self.folder.cleanup()


def test_any_order_of_chunks_and_accidents_gives_the_same_bytes(platform: Platform) -> None:
    Chunking.platform = platform
    quick = settings(max_examples=12, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Chunking, settings=quick)
