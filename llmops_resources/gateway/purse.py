"""The purse of one process: what it was granted of each budget, what it set aside for calls under way, what it spent.

A call sets its upper bound aside before it goes out and settles with what it took, all in memory. Only when the
granted part runs short does a call wait for the next renewal, which one thread makes for all who wait.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from datetime import time as clock
from decimal import Decimal
from typing import Final
from uuid import UUID

import msgspec

from llmops_resources.cost.budgets import Budget
from llmops_resources.cost.leases import STOP_AFTER, Claim
from llmops_resources.errors import TooManyRequests, Unavailable
from llmops_resources.values import utc_now

Renew = Callable[[Sequence[Claim]], Mapping[tuple[UUID, date], Decimal]]

logger = logging.getLogger(__name__)

#: Seconds: between two renewals of what changed, between two of what did not, and until unused money goes back.
TIDY_EVERY: Final = 1.0
_REST: Final = 60.0
_IDLE_AFTER: Final = 2.0
#: What is asked for beyond the need: so many of the largest calls, or as much as calls ask for in a second, and never
#: more than this share of the budget.
_CALLS_AHEAD: Final = 16
_AHEAD: Final = Decimal(50)
_SHORTEST: Final = 0.05  # seconds over which a pace is taken
_TRIES: Final = 10
_STOP_AFTER: Final = STOP_AFTER.total_seconds()
_SOON: Final = 5.0
ZERO: Final = Decimal(0)
_EXACT: Final = Decimal("1e-12")  # what the ledger keeps of an amount


@dataclass
class Account:
    """One period of one budget in this process.

    `waiting` is what calls wait for, `promised` the part of it that the last renewal asked for: others leave it alone.
    `limited`: that renewal brought less than was asked for. `pace` is what calls ask for in a second.
    """

    budget: Budget
    starts: date
    ends: datetime
    granted: Decimal = ZERO
    spent: Decimal = ZERO
    reserved: Decimal = ZERO
    waiting: Decimal = ZERO
    promised: Decimal = ZERO
    limited: bool = False
    largest: Decimal = ZERO
    asked: Decimal = ZERO
    pace: Decimal = ZERO
    claimed_at: float = field(default_factory=time.monotonic)
    used_at: float = field(default_factory=time.monotonic)
    renewed_at: float = -1e9
    changed: bool = True

    def __post_init__(self) -> None:
        self.begins = datetime.combine(self.starts, clock(), UTC)

    @property
    def free(self) -> Decimal:
        """What may be set aside now; nothing when the lease has not been confirmed for too long."""
        if time.monotonic() - self.renewed_at > _STOP_AFTER:
            return ZERO
        return self.granted - self.spent - self.reserved - self.promised

    def set_aside(self, amount: Decimal) -> None:
        """Keep it for a call."""
        self.reserved += amount
        self.asked += amount
        self.largest = max(self.largest, amount)
        self.used_at, self.changed = time.monotonic(), True

    def claim(self) -> Claim:
        """What to ask for now; what is not asked for any more is given up at once, before anybody is told."""
        now = time.monotonic()
        passed = max(now - self.claimed_at, _SHORTEST)
        faded = self.pace * Decimal(0.5**passed)
        self.pace = max(self.asked / Decimal(passed), faded).quantize(_EXACT)
        self.asked, self.claimed_at = ZERO, now
        least = self.spent + self.reserved
        ahead = ZERO
        if now - self.used_at < _IDLE_AFTER:
            ahead = min(self.budget.amount / _AHEAD, max(self.largest * _CALLS_AHEAD, self.pace))
        wanted = least + self.waiting + ahead
        self.granted = min(self.granted, wanted)
        self.promised, self.changed = self.waiting, False
        return Claim(self.budget.id, self.starts, wanted, least)

    def receive(self, granted: Decimal, wanted: Decimal, began: float) -> None:
        """What a renewal brought that was asked for at `began`; when it is less, whoever comes first may have it."""
        self.granted, self.renewed_at, self.limited = granted, began, granted < wanted
        if self.limited:
            self.promised = ZERO


class Reservation(msgspec.Struct, frozen=True):
    """Money set aside for one call, in every budget that holds for it."""

    accounts: Sequence[Account]
    amount: Decimal


class Purse:
    """Use it inside one event loop. `renew` runs in a thread, in a transaction of its own."""

    def __init__(self, renew: Renew) -> None:
        self._renew = renew
        self._accounts: dict[tuple[UUID, date], Account] = {}
        self._present: dict[int, Account] = {}  # of each budget the account that was asked for last
        self._lock = asyncio.Lock()
        self._rounds = 0
        self._failed = False

    def reserve_now(self, budgets: Sequence[Budget], amount: Decimal, now: datetime) -> Reservation | None:
        """Set `amount` aside in every budget; or in none, and None, where what was granted runs short."""
        accounts = [self._account(budget, now) for budget in budgets]
        for account in accounts:
            if account.free < amount:
                return None
        for account in accounts:
            account.set_aside(amount)
        return Reservation(accounts, amount)

    async def reserve(self, budgets: Sequence[Budget], amount: Decimal, now: datetime | None = None) -> Reservation:
        """Set `amount` aside in every budget, or in none, after a renewal where it takes one.

        Raises TooManyRequests when one of them has no such amount left, Unavailable when that cannot be asked.
        """
        now = now or utc_now()
        short: list[Account] = []
        for trial in range(_TRIES):
            if reservation := self.reserve_now(budgets, amount, now):
                return reservation
            short = [account for budget in budgets if (account := self._account(budget, now)).free < amount]
            over = [account for account in short if account.spent + amount > account.budget.amount]
            over += [account for account in short if account.limited and trial]
            if over:
                raise _exhausted(over[0], amount, now)
            await self._refill(short, amount)
        raise _exhausted(short[0], amount, now)

    def settle(self, reservation: Reservation, spent: Decimal) -> None:
        """Give back what was set aside, and book what the call really took."""
        for account in reservation.accounts:
            account.reserved -= reservation.amount
            account.spent += spent
            account.changed = True

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Renew while the block runs; at its end give back what was not spent."""
        task = asyncio.create_task(self._tidy())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            for account in self._accounts.values():
                account.used_at = -1e9
            async with self._lock:
                await self._round(list(self._accounts.values()))

    def _account(self, budget: Budget, now: datetime) -> Account:
        account = self._present.get(budget.id.int)
        if account is None or not account.begins <= now < account.ends:
            key = budget.id, budget.period.start(now)
            account = self._accounts.get(key)
            if account is None:
                account = self._accounts[key] = Account(budget, key[1], budget.period.end(now))
            self._present[budget.id.int] = account
        account.budget = budget
        return account

    async def _refill(self, short: Sequence[Account], amount: Decimal) -> None:
        """Wait for a renewal that began after these accounts were found short.

        Whoever comes meanwhile waits for the next one: what this one brings is promised. The lock lets those who wait
        for one renewal go on before the next begins.
        """
        for account in short:
            account.waiting += amount
            account.largest = max(account.largest, amount)
        seen = self._rounds
        try:
            async with self._lock:
                if self._rounds == seen:
                    await self._round(list(self._accounts.values()))
        finally:
            for account in short:
                account.waiting -= amount
                account.promised = max(account.promised - amount, ZERO)
        if self._failed:
            raise Unavailable(
                "whether the budget allows this call cannot be asked: the database is away",
                remedy="Try again in a moment; GET /ready tells whether the database is up.",
            )

    async def _round(self, accounts: Sequence[Account]) -> None:
        if not accounts:
            return
        self._rounds += 1
        began = time.monotonic()
        claims = [account.claim() for account in accounts]
        try:
            granted = await asyncio.to_thread(self._renew, claims)
        except Exception as error:  # noqa: BLE001  whatever the database says, what was granted stays
            if not self._failed:
                logger.warning("the budgets could not be renewed: %r", error)
            self._failed = True
            for account in accounts:
                account.changed = True
            return
        self._failed = False
        for account, claim in zip(accounts, claims, strict=True):
            account.receive(granted[account.budget.id, account.starts], claim.wanted, began)

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(TIDY_EVERY)
            now = time.monotonic()
            due = [
                account for account in self._accounts.values()
                if account.changed or now - account.renewed_at > _REST or account.free > ZERO
            ]  # fmt: skip
            async with self._lock:
                await self._round(due)
            if not self._failed:
                self._forget()

    def _forget(self) -> None:
        now = utc_now()
        for key, account in list(self._accounts.items()):
            if now > account.ends and not account.reserved and not account.waiting and not account.changed:
                del self._accounts[key]
                if self._present.get(account.budget.id.int) is account:
                    del self._present[account.budget.id.int]


def _exhausted(account: Account, amount: Decimal, now: datetime) -> TooManyRequests:
    budget = account.budget
    whose = f"the API key's budget ({budget.team})" if budget.key_id else f"the budget of {budget.team}"
    certain = account.spent + amount > budget.amount
    return TooManyRequests(
        f"{whose} of {budget.amount:f} {budget.currency} a {budget.period} has no {amount:f} left for this call",
        retry_after=max(1.0, (account.ends - now).total_seconds()) if certain else _SOON,
        remedy="Lower max_tokens, wait for calls under way to end, or ask for a larger budget.",
    )
