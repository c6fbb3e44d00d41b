"""24 hours in small: `python -m benchmarks.soak [--requests 200000] [--restarts 40] [--connections 32]`.

The gateway runs as in a cluster (`python -m serving_api.gateway`) on a PostgreSQL of its own, in front of a model
server; clients ask in closed loops, each call under an id of its own, and meanwhile the model server, the database and
the gateway are stopped or killed and started again. In the end every call that was answered to its last byte has one
usage record and one entry in the ledger, no call has two, no budget is overspent, and whatever else was answered was an
envelope (or OpenAI's error, where OpenAI's route was asked). A call that was cut off by a kill may be booked, once.

The gateway is left alone in the second half, while the others go on being restarted, so that its memory there tells
whether it grows. Exits with 1 when anything is not so.
"""

import argparse
import asyncio
import signal
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.soaking import books
from benchmarks.soaking.books import Books
from benchmarks.soaking.clients import Clients, Seen
from benchmarks.soaking.stage import Stage

Show = Callable[[int, str], None]

_BETWEEN: Final = 100  # calls that are answered between two restarts, at least
_SAMPLES: Final = 400
_WARM: Final = 0.2  # of the gateway's last life: what it grows by then is its caches
#: MiB in 100,000 calls that count as flat.
FLAT: Final = 8.0
#: What one call of the tenth that pays from the scarce budget takes.
_ONE_CALL: Final = Decimal("0.00018")


@dataclass(frozen=True)
class Sample:
    """Resident memory of a gateway that was started for the `life`-th time."""

    asked: int
    life: int
    mib: float


@dataclass
class Report:
    """What came out."""

    seen: Seen
    books: Books
    restarts: list[str]
    samples: list[Sample] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def last_life(self) -> list[Sample]:
        """The gateway that was left alone, once it was warm."""
        last = [each for each in self.samples if each.life == self.samples[-1].life] if self.samples else []
        return last[int(len(last) * _WARM) :]

    @property
    def slope(self) -> float:
        """MiB in 100,000 calls, by least squares over the gateway's last life; 0 with too little to tell."""
        if len(self.last_life) < 10:
            return 0.0
        asked, mib = zip(*((each.asked, each.mib) for each in self.last_life), strict=True)
        return statistics.linear_regression(asked, mib).slope * 100_000

    @property
    def faults(self) -> list[str]:
        """Everything that should not be so, but for the memory."""
        return [*self.seen.faults, *self.books.faults]


class Soak:
    """One run; `show` is told how many calls were asked and what happens meanwhile."""

    def __init__(self, stage: Stage, requests: int, restarts: int, show: Show) -> None:
        self._stage, self._requests, self._show = stage, requests, show
        self._plan = stage.plan(restarts)
        self._clients = Clients(stage.gateway, stage.plenty, stage.scarce)
        self.seen = self._clients.seen
        self.samples: list[Sample] = []
        self.done: list[str] = []
        self._happens = ""

    async def play(self, connections: int) -> None:
        """Ask, and take away, until there was enough of both."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._clients.run(connections))
            watcher = group.create_task(self._watch())
            for number, (name, restart) in enumerate(self._plan, 1):
                await self._until(number * self._requests // (len(self._plan) + 1))
                self._happens = name
                await asyncio.to_thread(restart)
                self.done.append(name)
                self._happens = ""
            await self._until(self._requests)
            self._clients.enough.set()
            watcher.cancel()

    async def _until(self, asked: int) -> None:
        answered = len(self.seen.answered) + _BETWEEN
        while self.seen.asked < asked or len(self.seen.answered) < answered:  # noqa: ASYNC110  they end by the hundred
            await asyncio.sleep(0.02)

    async def _watch(self) -> None:
        due, gateway = 0, self._stage.gateway
        while True:
            self._show(self.seen.asked, self._happens)
            if self.seen.asked >= due and gateway.is_up:
                self.samples.append(Sample(self.seen.asked, gateway.lives, gateway.memory))
                due = self.seen.asked + self._requests // _SAMPLES
            await asyncio.sleep(0.1)


def run(folder: Path, requests: int, restarts: int, connections: int, show: Show) -> Report:
    """Play it in a folder, and compare what clients were told with what was booked."""
    began = time.monotonic()
    stage = Stage(folder, scarce=requests // 20 * _ONE_CALL)  # for half of the tenth of all calls
    try:
        stage.start()
        soak = Soak(stage, requests, restarts, show)
        asyncio.run(soak.play(connections))
        stage.gateway.stop(signal.SIGTERM)
        compared = books.compare(stage.settings, soak.seen.answered, soak.seen.asked, stage.price)
    finally:
        stage.close()
    return Report(soak.seen, compared, soak.done, soak.samples, time.monotonic() - began)


def main() -> None:
    """Play it, with a bar, and print what came out."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--requests", type=int, default=200_000)
    arguments.add_argument("--restarts", type=int, default=40)
    arguments.add_argument("--connections", type=int, default=32)
    chosen = arguments.parse_args()
    columns = (
        BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[happens]}"),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=chosen.requests, happens="")
        said = 0

        def show(asked: int, happens: str) -> None:
            nonlocal said
            bar.update(task, completed=min(asked, chosen.requests), happens=happens)
            if not bar.console.is_terminal and asked * 20 // chosen.requests > said:  # a log has no bar
                said = asked * 20 // chosen.requests
                bar.console.print(f"{asked} of {chosen.requests} calls")

        report = run(Path(folder), chosen.requests, chosen.restarts, chosen.connections, show)
    _tell(report)
    if report.faults or abs(report.slope) > FLAT:
        raise SystemExit(1)


def _tell(report: Report) -> None:
    seen, compared = report.seen, report.books
    print(f"{seen.asked} calls in {report.seconds:.0f} s, {len(report.restarts)} restarts")
    for name in dict.fromkeys(report.restarts):
        print(f"  {report.restarts.count(name):3} x {name}")
    told = ", ".join(f"{count} x {what}" for what, count in sorted(seen.said.items()))
    print(f"answered {len(seen.answered)}; in an envelope: {told or 'none'}; cut off by a kill: {seen.cut}")
    print(
        f"booked {compared.records} calls, {compared.besides} of them for clients that got no whole answer; lost "
        f"{compared.lost}, doubled {compared.doubled}, of nobody {compared.strange}, without its entry "
        f"{compared.unpaired}, at a wrong amount {compared.wrong}, left in the spool {compared.waiting}; "
        f"spent {compared.spent.normalize():f}, overspent budgets {len(compared.overspent)}"
    )
    for quarter in range(1, 5):
        last = [each for each in report.samples if each.asked <= seen.asked * quarter / 4][-1:]
        for each in last:
            print(f"memory of the gateway after {each.asked} calls, in its life {each.life}: {each.mib:.0f} MiB")
    print(f"memory grows by {report.slope:+.2f} MiB in 100,000 calls ({len(report.last_life)} samples of one life)")
    for fault in report.faults:
        print(f"FAULT {fault}")


if __name__ == "__main__":
    main()
