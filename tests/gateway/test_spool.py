"""The spool: framing that survives torn and damaged bytes, and a process that is killed while it writes."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_resources.database import Actor
from llmops_resources.errors import Unavailable
from llmops_resources.gateway import booking, usage
from llmops_resources.gateway.drain import Deliver, Drainer, drain
from llmops_resources.gateway.spool import SUFFIX, GroupCommit, Spool, frame, parse
from llmops_resources.gateway.usage import Outcome, UsageRecord
from llmops_resources.platform import Platform
from tests.gateway.records import a_record, book

records = st.builds(
    a_record,
    id=st.uuids(),
    request_id=st.text(max_size=40),
    actor_id=st.text(max_size=20),
    prompt_tokens=st.integers(0, 2**31 - 1),
    streamed=st.booleans(),
)


def written_in(folder: Path) -> list[str]:
    """The request ids of the records that are in a spool's files now."""
    return [usage.decode(line).request_id for path in folder.iterdir() for line in parse(path.read_bytes()).records]


def delivering(platform: Platform) -> Deliver:
    """What a gateway's drainer does with records."""

    def deliver(batch: Sequence[bytes]) -> None:
        with platform.transaction(Actor("system:gateway")) as tx:
            booking.book(tx, batch)

    return deliver


@given(st.lists(records, max_size=8))
def test_what_is_framed_is_parsed_again(written: list[UsageRecord]) -> None:
    segment = parse(b"".join(map(frame, written)))

    assert list(map(usage.decode, segment.records)) == written
    assert segment.damaged == 0


@given(st.lists(records, max_size=5), st.data())
def test_a_torn_tail_costs_only_the_record_that_was_never_acknowledged(
    written: list[UsageRecord], data: st.DataObject
) -> None:
    lines = [frame(record) for record in written]
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    acknowledged = sum(len(b"".join(lines[: n + 1])) <= cut for n in range(len(lines)))

    segment = parse(whole[:cut])

    assert list(map(usage.decode, segment.records)) == written[:acknowledged]
    assert segment.damaged == 0


@given(st.lists(records, min_size=1, max_size=5), st.data())
def test_a_flipped_bit_never_invents_a_record_and_is_noticed(written: list[UsageRecord], data: st.DataObject) -> None:
    damaged = bytearray(b"".join(map(frame, written)))
    place = data.draw(st.integers(0, len(damaged) - 2))
    damaged[place] ^= 1 << data.draw(st.integers(0, 7))

    segment = parse(bytes(damaged))

    assert all(usage.decode(line) in written for line in segment.records)
    assert segment.damaged >= 1
    assert len(written) - len(segment.records) in {1, 2}


def test_a_segment_in_use_is_left_alone_and_a_closed_one_is_drained(tmp_path: Path) -> None:
    spool, seen = Spool(tmp_path), list[bytes]()
    spool.append(a_record(request_id="first"))

    assert drain(tmp_path, seen.extend) == 0
    spool.rotate()
    spool.append(a_record(request_id="second"))

    assert drain(tmp_path, seen.extend) == 1
    assert [usage.decode(line).request_id for line in seen] == ["first"]
    spool.rotate()
    drain(tmp_path, seen.extend)
    assert [usage.decode(line).request_id for line in seen] == ["first", "second"]
    assert list(tmp_path.iterdir()) == []


def test_a_segment_outlives_a_delivery_that_fails(tmp_path: Path) -> None:
    spool, seen = Spool(tmp_path), list[bytes]()

    def refuse(_records: Sequence[bytes]) -> None:
        raise Unavailable("the database is away")

    spool.append(a_record())
    spool.rotate()
    with pytest.raises(Unavailable):
        drain(tmp_path, refuse)

    assert drain(tmp_path, seen.extend) == 1


@pytest.mark.parametrize("poison", [{"actor_id": "\0"}, {"prompt_tokens": 2**31}, {"route": "r" * 65}])
def test_a_record_the_database_never_takes_keeps_no_other_one_out(platform: Platform, poison: dict[str, Any]) -> None:
    folder = platform.settings.home / "spool"
    spool, good = Spool(folder), [a_record() for _ in range(7)]
    for record in (*good[:3], a_record(**poison), *good[3:6]):
        spool.append(record)
    spool.rotate()
    spool.append(good[6])
    spool.rotate()

    assert drain(folder, delivering(platform)) == 7

    assert booked_ids(platform) == sorted(record.id for record in good)
    assert [path.suffix for path in folder.iterdir()] == [".refused"]


NO_RECORDS = (
    b"", b"5", b"null", b"{", b"{}", b"[]", b"{},{}", b"\xff",
    usage.encode(a_record()).replace(b"succeeded", b"unheard of"),
    usage.encode(a_record()).replace(b'"streamed":false', b'"streamed":null'),
    usage.encode(a_record()) + b"," + usage.encode(a_record()),
)  # fmt: skip


@pytest.mark.parametrize("line", NO_RECORDS)
def test_what_is_no_record_though_its_sum_is_right_counts_as_damaged(platform: Platform, line: bytes) -> None:
    folder, good = platform.settings.home / "spool", a_record()
    folder.mkdir(parents=True)
    lines = (usage.encode(good), line)
    (folder / f"1-a-1{SUFFIX}").write_bytes(b"".join(b"%08x %b\n" % (zlib.crc32(each), each) for each in lines))

    assert drain(folder, delivering(platform)) == 1

    assert booked_ids(platform) == [good.id]
    assert [path.suffix for path in folder.iterdir()] == [".damaged"]


def test_a_damaged_segment_gives_what_is_good_and_is_kept(tmp_path: Path) -> None:
    seen: list[bytes] = []
    good, bad = a_record(), a_record()
    (tmp_path / f"1-a-1{SUFFIX}").write_bytes(frame(bad).replace(b"local", b"loyal") + frame(good))

    drain(tmp_path, seen.extend)

    assert seen == [usage.encode(good)]
    assert [path.suffix for path in tmp_path.iterdir()] == [".damaged"]


def test_a_disk_that_takes_nothing_is_told_with_the_remedy(tmp_path: Path) -> None:
    blocked = tmp_path / "spool"
    blocked.write_text("a file where the folder should be")

    with pytest.raises(Unavailable) as refused:
        Spool(blocked).append(a_record())

    assert "Free space" in refused.value.remedy


def test_calls_that_end_together_are_written_at_once_and_are_there_before_they_are_answered(tmp_path: Path) -> None:
    class Counting(Spool):
        writes = 0

        def write(self, lines: bytes) -> None:
            self.writes += 1
            super().write(lines)

    spool = Counting(tmp_path)

    async def call(together: GroupCommit, number: int) -> list[str]:
        await together.append(lambda: a_record(request_id=f"r-{number}"))
        return written_in(tmp_path)

    async def scenario() -> list[list[str]]:
        together = GroupCommit(spool)
        return await asyncio.gather(*(call(together, number) for number in range(20)))

    found = asyncio.run(scenario())

    assert spool.writes == 1
    assert found == [[f"r-{number}" for number in range(20)]] * 20


def test_a_disk_that_takes_nothing_is_told_to_every_call_that_ends_then(tmp_path: Path) -> None:
    blocked = tmp_path / "spool"
    blocked.write_text("a file where the folder should be")

    async def scenario() -> list[BaseException | None]:
        together = GroupCommit(Spool(blocked))
        return await asyncio.gather(*(together.append(a_record) for _ in range(5)), return_exceptions=True)

    assert [type(told) for told in asyncio.run(scenario())] == [Unavailable] * 5


def test_a_call_that_is_cut_off_while_it_is_written_down_is_written_down(tmp_path: Path) -> None:
    async def call(together: GroupCommit, number: int) -> None:
        await together.append(lambda: a_record(request_id=f"r-{number}"))

    async def scenario() -> None:
        together = GroupCommit(Spool(tmp_path))
        calls = [asyncio.create_task(call(together, number)) for number in range(3)]
        await asyncio.sleep(0)
        calls[1].cancel()
        told = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(each) for each in told] == [type(None), asyncio.CancelledError, type(None)]

    asyncio.run(scenario())

    assert written_in(tmp_path) == ["r-0", "r-1", "r-2"]


def test_two_drains_at_once_lose_and_double_nothing(platform: Platform) -> None:
    folder = platform.settings.home / "spool"
    written = [a_record() for _ in range(60)]
    spool = Spool(folder)
    for number, record in enumerate(written):
        spool.append(record)
        if number % 3 == 0:
            spool.rotate()
    spool.rotate()

    threads = [threading.Thread(target=drain, args=(folder, delivering(platform))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert booked_ids(platform) == sorted(record.id for record in written)
    assert list(folder.iterdir()) == []


def test_a_killed_process_loses_nothing_it_acknowledged_and_nothing_is_doubled(platform: Platform) -> None:
    folder = platform.settings.home / "spool"
    program = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from uuid import uuid4
        import msgspec
        from llmops_resources.gateway.spool import Spool
        from tests.gateway.records import a_record
        spool, count = Spool(Path(sys.argv[1])), 0
        while True:
            record = a_record()
            spool.append(record)
            print(record.id, flush=True)  # the acknowledgement
            count += 1
            if count % 50 == 0:
                spool.rotate()
        """
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert writer.stdout is not None
    acknowledged = [UUID(writer.stdout.readline().strip()) for _ in range(180)]
    drain(folder, delivering(platform))  # while it still writes
    os.kill(writer.pid, signal.SIGKILL)
    acknowledged += [UUID(line) for line in writer.stdout.read().splitlines() if len(line) == 36]
    writer.wait()
    writer.stdout.close()

    doubled = next(path for path in folder.iterdir()).read_bytes()  # as after a kill between commit and delete
    drain(folder, delivering(platform))
    (folder / f"again{SUFFIX}").write_bytes(doubled)
    drain(folder, delivering(platform))

    booked = booked_ids(platform)
    assert set(acknowledged) <= set(booked)
    assert len(booked) - len(acknowledged) <= 1  # the one it was killed on, written but not yet acknowledged
    assert len(booked) == len(set(booked))
    assert list(folder.iterdir()) == []


def test_usage_waits_in_the_spool_while_the_database_is_away(platform: Platform) -> None:
    spool, deliver, away = Spool(platform.settings.home / "spool"), delivering(platform), threading.Event()
    away.set()
    tried = threading.Event()

    def sometimes(batch: Sequence[bytes]) -> None:
        tried.set()
        if away.is_set():
            raise Unavailable("the database is away")
        deliver(batch)

    drainer = Drainer(spool, sometimes, interval=0.02)
    spool.append(a_record())
    drainer.start()
    assert tried.wait(30)
    for _ in range(5):
        spool.append(a_record())
    assert booked_ids(platform) == []
    away.clear()
    drainer.stop()

    assert len(booked_ids(platform)) == 6


def test_usage_is_summed_by_route(platform: Platform) -> None:
    with platform.transaction(Actor("system:test")) as tx:
        twice = a_record(route="a", latency_ms=10.0)
        assert book(tx, [twice, a_record(route="a", status=Outcome.FAILED), a_record(route="b")]) == 3
        assert book(tx, [twice]) == 0
        sums = usage.summary(tx)
        page = usage.search(tx, route="a", limit=1)

    assert [(s.route, s.calls, s.failed, s.prompt_tokens) for s in sums] == [("a", 2, 1, 6), ("b", 1, 0, 3)]
    assert sums[0].latency_ms_p50 == 10.0
    assert page.total == 2
    assert page.next is not None


def booked_ids(platform: Platform) -> list[UUID]:
    with platform.transaction(Actor("system:test")) as tx:
        return sorted(item.id for item in usage.search(tx, limit=10_000).items)
