"""Uploads in chunks as a state machine: whatever order, size and accident the chunks meet, the bytes come out right."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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

from llmops_resources.blobs import Slot, open_blobs, store
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
        self.digests = chunks.Digests()

    @contextmanager
    def _slot(self, file: int, offset: int, content: bytes) -> Iterator[Slot]:
        """A place for a chunk that is wanted, asked for as the API does."""
        with chunks.slot(self.blobs, sessions.folder(self.where[2]), file + 1, offset) as slot:
            assert self._expect(file, offset, content)
            yield slot

    def _expect(self, file: int, offset: int, content: bytes) -> bool:
        sha256 = hashlib.sha256(content).hexdigest()
        with self.platform.transaction(ADMIN) as tx:
            return sessions.expect(tx, *self.where, file=file + 1, offset=offset, sha256=sha256)

    def _store(self, slot: Slot, file: int, offset: int, content: bytes, body: list[bytes]) -> Any:
        with self.platform.transaction(ADMIN) as tx:
            announced = sessions.outline(tx, *self.where).files[file]
        sha256, running = hashlib.sha256(content).hexdigest(), self.digests.before((self.where[2], file + 1), offset)
        self.running = running
        return chunks.store_chunk(slot, body, file=announced, offset=offset, sha256=sha256, running=running)

    def _advance(self, chunk: Any, slot: Slot) -> bool:
        running = self.running
        with self.platform.transaction(ADMIN) as tx:
            counted = sessions.advance(tx, *self.where, chunk, key=slot.key)
        self.digests.keep((self.where[2], chunk.file), chunk.offset + chunk.size, running)
        return counted

    def _next(self, file: int, size: int) -> bytes:
        return self.contents[file][self.received[file] : self.received[file] + size]

    @rule(file=st.integers(0, 1), size=st.integers(1, 3000), pieces=st.integers(1, 4))
    def send(self, file: int, size: int, pieces: int) -> None:
        content = self._next(file, size)
        if not content:
            return
        offset = self.received[file]
        step = -(-len(content) // pieces)
        body = [content[start : start + step] for start in range(0, len(content), step)]
        with self._slot(file, offset, content) as slot:
            assert self._advance(self._store(slot, file, offset, content, body), slot)
        self.received[file] += len(content)

    @rule(file=st.integers(0, 1), size=st.integers(2, 3000))
    def break_off(self, file: int, size: int) -> None:
        content = self._next(file, size)
        if len(content) < 2:
            return
        with self._slot(file, self.received[file], content) as slot, pytest.raises(InvalidInput):
            self._store(slot, file, self.received[file], content, [content[:-1]])

    @rule(file=st.integers(0, 1), size=st.integers(1, 3000))
    def die_before_the_row(self, file: int, size: int) -> None:
        if content := self._next(file, size):
            with self._slot(file, self.received[file], content) as slot:
                self._store(slot, file, self.received[file], content, [content])

    @rule()
    def start_again(self) -> None:
        self.digests = chunks.Digests()

    @rule(file=st.integers(0, 1), size=st.integers(1, 3000), first_wins=st.booleans())
    def race(self, file: int, size: int, first_wins: bool) -> None:
        content, offset = self._next(file, size), self.received[file]
        if not content:
            return
        other = bytes(byte ^ 1 for byte in content)
        mine, theirs = (content, other) if first_wins else (other, content)
        with self._slot(file, offset, mine) as first, self._slot(file, offset, theirs) as second:
            assert first.key != second.key
            slow = self._store(first, file, offset, mine, [mine])
            quick = self._store(second, file, offset, theirs, [theirs])
            chunk, slot, loser, spare = (slow, first, quick, second) if first_wins else (quick, second, slow, first)
            self.running = None
            assert self._advance(chunk, slot)
            with pytest.raises(Conflict):
                self._advance(loser, spare)
            spare.discard()
        self.received[file] += len(content)

    @rule(file=st.integers(0, 1), size=st.integers(1, 3000))
    def send_while_another_stalls_and_writes_on_later(self, file: int, size: int) -> None:
        content, offset = self._next(file, size), self.received[file]
        if not content:
            return
        with self._slot(file, offset, content) as stalled:
            with self._slot(file, offset, content) as slot:
                assert self._advance(self._store(slot, file, offset, content, [content]), slot)
            with pytest.raises(InvalidInput):
                self._store(stalled, file, offset, content, [bytes(len(content))])
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
        assert not self._expect(first.file - 1, 0, content)

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
        whole = [b"".join(pieces) for _, pieces in chunks.read_files(self.blobs, self.where[2], ready)]
        assert whole == self.contents
        for number, (name, content) in enumerate(chunks.read_files(self.blobs, self.where[2], ready, self.digests)):
            stored = store(self.blobs, f"staging/other/{name}", content)
            assert stored.sha256 == hashlib.sha256(self.contents[number]).hexdigest()
            assert b"".join(self.blobs.read(f"staging/other/{name}")) == self.contents[number]
        self.folder.cleanup()


def test_any_order_of_chunks_and_accidents_gives_the_same_bytes(platform: Platform) -> None:
    Chunking.platform = platform
    quick = settings(max_examples=12, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Chunking, settings=quick)
