"""The stage of one run: the gateway, what is behind it, and every way to take one of them away."""

import itertools
import signal
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Final

from benchmarks.gateway import prepared
from benchmarks.soaking import programs
from benchmarks.soaking.clients import Wallet
from llmops_resources import postgres
from llmops_resources.cost import budgets, prices
from llmops_resources.cost.budgets import BudgetWish, Period
from llmops_resources.cost.prices import INTERNAL, Price
from llmops_resources.governance import api_keys
from llmops_resources.governance.api_keys import KeyWish
from llmops_resources.platform import open_platform
from llmops_resources.settings import Settings
from llmops_resources.values import utc_now
from tests import factories
from tests.serving.servers import free_port

Restart = tuple[str, Callable[[], None]]

AWAY: Final = 1.0  # seconds that the model server or the database stays away


class Stage:
    """The programs of one run under one folder, and the ways to take them away."""

    def __init__(self, folder: Path, scarce: Decimal) -> None:
        self.folder = folder
        self.model = programs.model_server(free_port(), folder)
        self.settings, plenty = prepared(folder, self.model.address)
        self.plenty = Wallet(plenty, runs_out=False)
        self.scarce, self.price = _scarce(self.settings, scarce)
        self.gateway = programs.gateway(self.settings, free_port(), folder)

    @property
    def _data(self) -> Path:
        return self.folder / "pg"

    def start(self) -> None:
        """Start what is not running yet."""
        self.model.start()
        self.gateway.start()

    def close(self) -> None:
        """End everything at once."""
        self.gateway.stop(signal.SIGKILL)
        self.model.stop(signal.SIGKILL)
        postgres.stop(self._data)

    def plan(self, restarts: int) -> list[Restart]:
        """Every kind in turn; in the second half those that leave the gateway alone."""
        behind: list[Restart] = [
            ("model server killed", self._model_server),
            ("database stopped", lambda: self._database(lambda: postgres.stop(self._data))),
            ("database killed", lambda: self._database(lambda: programs.kill_database(self._data))),
        ]
        gateway: list[Restart] = [
            ("gateway told to end", lambda: self._gateway(signal.SIGTERM)),
            ("gateway killed", lambda: self._gateway(signal.SIGKILL)),
            ("gateway killed while the database is away", lambda: self._database(self._both)),
        ]
        first = restarts - restarts // 2
        every = itertools.chain.from_iterable(zip(behind, gateway, strict=True))
        return [
            *itertools.islice(itertools.cycle(every), first),
            *itertools.islice(itertools.cycle(behind), restarts // 2),
        ]

    def _model_server(self) -> None:
        self.model.stop(signal.SIGKILL)
        time.sleep(AWAY)
        self.model.start()

    def _database(self, take_away: Callable[[], object]) -> None:
        take_away()
        time.sleep(AWAY)
        postgres.start(self._data, databases=())
        if not self.gateway.is_up:
            self.gateway.start()

    def _gateway(self, sign: signal.Signals) -> None:
        self.gateway.stop(sign)
        self.gateway.start()

    def _both(self) -> None:
        postgres.stop(self._data)
        time.sleep(AWAY)
        self.gateway.stop(signal.SIGKILL)


def _scarce(settings: Settings, amount: Decimal) -> tuple[Wallet, Price]:
    with open_platform(settings) as platform, platform.transaction(factories.ADMIN) as tx:
        budgets.declare(tx, BudgetWish(team="scarce", period=Period.MONTH, amount=amount))
        _key, secret = api_keys.create(tx, KeyWish(name="scarce", team="scarce"))
        price = prices.load(tx).at(INTERNAL, "m-support", utc_now())
    assert price is not None
    return Wallet(secret, runs_out=True), price
