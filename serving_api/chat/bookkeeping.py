"""What a process keeps with the database beside the calls it answers: usage, money, and that it lives."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import date
from decimal import Decimal
from typing import Final
from uuid import UUID, uuid4

from llmops_resources.cost import leases
from llmops_resources.cost.leases import Claim
from llmops_resources.database import Actor, Transaction
from llmops_resources.errors import PlatformError
from llmops_resources.gateway import booking, processes
from llmops_resources.gateway.drain import Drainer
from llmops_resources.gateway.holders import Holders
from llmops_resources.gateway.purse import Purse
from llmops_resources.gateway.spool import GroupCommit, Spool
from llmops_resources.platform import Platform

GATEWAY: Final = Actor("system:gateway")


class Bookkeeping:
    """One process's spool and purse. `holder` names the process in leases and in the ledger."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.holder = uuid4()
        self.spool = Spool(platform.settings.home / "spool")
        self.together = GroupCommit(self.spool)
        self.purse = Purse(self._renew)
        self._holders = Holders(platform.settings.home / "holders", self.spool.folder)

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Move usage, renew leases and say that the process lives, while the block runs."""
        drainer = Drainer(self.spool, self._deliver)
        drainer.start()
        task = asyncio.create_task(self._say_so())
        try:
            with self._holders.living(self.holder):
                async with self.purse.kept():
                    yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.to_thread(self._tell, processes.gone)
            await asyncio.to_thread(drainer.stop)

    def _deliver(self, records: Sequence[bytes]) -> None:
        with self._platform.transaction(GATEWAY) as tx:
            booking.book(tx, records)

    def _renew(self, claims: Sequence[Claim]) -> dict[tuple[UUID, date], Decimal]:
        with self._platform.transaction(GATEWAY) as tx:
            return leases.renew(tx, self.holder, claims)

    async def _say_so(self) -> None:
        while True:
            await asyncio.to_thread(self._tell, processes.seen)
            await asyncio.to_thread(self._settle)
            await asyncio.sleep(processes.SEEN_EVERY)

    def _settle(self) -> None:
        """Take back what dead processes of this home held and had not spent."""
        with suppress(PlatformError, OSError):  # the next time will do
            self._holders.settle(self._release)

    def _release(self, holder: UUID) -> None:
        with self._platform.transaction(GATEWAY) as tx:
            leases.release(tx, holder)

    def _tell(self, verb: Callable[[Transaction, UUID], None]) -> None:
        with suppress(PlatformError), self._platform.transaction(GATEWAY) as tx:
            verb(tx, self.holder)
