"""Parts of budgets of dead processes: given back once it is certain that they are dead and that all is booked."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from llmops_resources.cost import leases
from llmops_resources.cost.budgets import Budget
from llmops_resources.database import Actor
from llmops_resources.gateway import booking
from llmops_resources.gateway import holders as module
from llmops_resources.gateway.drain import drain
from llmops_resources.gateway.holders import Holders
from llmops_resources.gateway.spool import Spool
from llmops_resources.platform import Platform
from llmops_resources.values import utc_now
from serving_api.chat.bookkeeping import Bookkeeping
from tests.cost.test_budgets import YOU, budget, lease
from tests.gateway.records import a_record

SYSTEM = Actor("system:test")
PROCESS = """
    import sys, time
    from pathlib import Path
    from uuid import UUID
    from llmops_resources.gateway.holders import Holders
    home = Path(sys.argv[1])
    with Holders(home / "holders", home / "spool").living(UUID(sys.argv[2])):
        print("alive", flush=True)
        time.sleep(600)
"""


@pytest.fixture
def home(platform: Platform) -> Path:
    return platform.settings.home


@pytest.fixture
def holders(home: Path) -> Holders:
    return Holders(home / "holders", home / "spool")


@pytest.fixture
def process(home: Path) -> Iterator[tuple[UUID, Callable[[], None]]]:
    """A process that holds, and what kills it."""
    holder = uuid4()
    command = [sys.executable, "-c", textwrap.dedent(PROCESS), str(home), str(holder)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    assert running.stdout.readline() == "alive\n"

    def kill() -> None:
        os.kill(running.pid, signal.SIGKILL)
        running.wait()

    yield holder, kill
    running.kill()
    running.wait()
    running.stdout.close()


def releasing(platform: Platform) -> Callable[[UUID], None]:
    def release(holder: UUID) -> None:
        with platform.transaction(SYSTEM) as tx:
            leases.release(tx, holder)

    return release


def book(platform: Platform, home: Path) -> None:
    """What the drainer does."""

    def deliver(records: Sequence[bytes]) -> None:
        with platform.transaction(SYSTEM) as tx:
            booking.book(tx, records)

    drain(home / "spool", deliver)


def spent(home: Path, of: Budget, holder: UUID, amount: str) -> None:
    """A call in the spool, in a segment that nobody writes to any more."""
    spool = Spool(home / "spool")
    paid = {"team": of.team, "holder": holder, "amount": Decimal(amount), "currency": "USD", "price_id": uuid4()}
    spool.append(a_record(at=utc_now(), **paid))
    spool.rotate()


def test_a_killed_process_gives_back_at_once_what_it_had_not_spent_and_no_more(
    platform: Platform, home: Path, holders: Holders, process: tuple[UUID, Callable[[], None]]
) -> None:
    holder, kill = process
    of = budget(platform, "1")
    assert lease(platform, of, holder, "0.9") == Decimal("0.9")
    spent(home, of, holder, "0.25")
    assert holders.settle(releasing(platform)) == []  # it lives
    kill()
    assert holders.settle(releasing(platform)) == []  # what it spent is not booked yet
    assert lease(platform, of, YOU, "0.9") == Decimal("0.1")

    book(platform, home)
    assert holders.settle(releasing(platform)) == [holder]
    assert lease(platform, of, YOU, "0.9") == Decimal("0.75")
    assert holders.settle(releasing(platform)) == []
    assert list((home / "holders").iterdir()) == []


def test_a_gateway_that_lives_takes_back_what_a_dead_one_had_not_spent(
    platform: Platform, home: Path, process: tuple[UUID, Callable[[], None]]
) -> None:
    holder, kill = process
    of = budget(platform, "1")
    lease(platform, of, holder, "0.9")
    spent(home, of, holder, "0.25")
    kill()

    async def lives() -> None:
        async with Bookkeeping(platform).kept():
            while (home / "holders" / str(holder)).exists():
                await asyncio.sleep(0.05)

    asyncio.run(asyncio.wait_for(lives(), 60))

    assert lease(platform, of, YOU, "0.9") == Decimal("0.75")


def test_what_comes_into_the_spool_after_a_death_is_not_waited_for(
    platform: Platform, home: Path, holders: Holders, process: tuple[UUID, Callable[[], None]]
) -> None:
    holder, kill = process
    of = budget(platform, "1")
    spent(home, of, holder, "0.25")
    kill()
    assert holders.settle(releasing(platform)) == []
    book(platform, home)
    spent(home, of, YOU, "0.25")
    assert holders.settle(releasing(platform)) == [holder]


@pytest.mark.parametrize("suffix", [".refused", ".damaged"])
def test_with_records_that_could_not_be_booked_nothing_is_given_back(
    platform: Platform, home: Path, holders: Holders, process: tuple[UUID, Callable[[], None]], suffix: str
) -> None:
    _holder, kill = process
    kill()
    (home / "spool").mkdir(parents=True)
    (home / f"spool/1-ab-000001{suffix}").touch()
    assert holders.settle(releasing(platform)) == []


def test_a_process_of_another_machine_is_never_said_to_be_dead(
    platform: Platform, holders: Holders, process: tuple[UUID, Callable[[], None]], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    _holder, kill = process
    kill()
    other = tmp_path / "boot_id"
    other.write_text("another one\n")
    monkeypatch.setattr(module, "_BOOT", other)
    assert holders.settle(releasing(platform)) == []
    monkeypatch.setattr(module, "_BOOT", tmp_path / "nothing")
    assert holders.settle(releasing(platform)) == []


def test_one_that_lives_is_left_alone_and_the_next_clears_up_after_one_that_ended(
    platform: Platform, home: Path, holders: Holders
) -> None:
    with holders.living(YOU):
        assert [path.name for path in (home / "holders").iterdir()] == [str(YOU)]
        assert Holders(home / "holders", home / "spool").settle(releasing(platform)) == []
    assert holders.settle(releasing(platform)) == [YOU]
    assert list((home / "holders").iterdir()) == []


def test_a_release_that_fails_is_tried_again(
    platform: Platform, holders: Holders, process: tuple[UUID, Callable[[], None]]
) -> None:
    holder, kill = process
    kill()

    def away(_holder: UUID) -> None:
        raise OSError("the database is away")

    with pytest.raises(OSError, match="away"):
        holders.settle(away)
    assert holders.settle(releasing(platform)) == [holder]
