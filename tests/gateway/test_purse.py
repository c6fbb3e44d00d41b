"""The purse: reservations in memory, over leases of two processes at once, and with the database away."""

import asyncio
import random
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from uuid import UUID

import pytest

from llmops_resources.cost import budgets
from llmops_resources.cost.budgets import Budget, BudgetWish, Period
from llmops_resources.cost.leases import Claim
from llmops_resources.errors import TooManyRequests, Unavailable
from llmops_resources.gateway.purse import Purse
from llmops_resources.platform import Platform
from llmops_resources.values import utc_now
from tests.factories import ADMIN

LIMIT = Decimal(10)


class Bank:
    """Grants claims against a limit, as leases do, and remembers the most that was ever granted together."""

    def __init__(self, limit: Decimal = LIMIT, seconds: float = 0.0) -> None:
        self.held: dict[str, Decimal] = {}
        self.limit, self.seconds = limit, seconds
        self.renewals = 0
        self.away = False

    def of(self, process: str) -> Purse:
        def renew(claims: Sequence[Claim]) -> Mapping[tuple[UUID, date], Decimal]:
            if self.away:
                raise OSError("no database")
            self.renewals += 1
            time.sleep(self.seconds)
            granted = {}
            for claim in claims:
                others = sum((part for name, part in self.held.items() if name != process), Decimal(0))
                self.held[process] = max(claim.least, min(claim.wanted, self.limit - others))
                granted[claim.budget_id, claim.starts] = self.held[process]
                assert sum(self.held.values()) <= self.limit
            return granted

        return Purse(renew)


def a_budget(amount: Decimal = LIMIT) -> Budget:
    return Budget(
        id=UUID(int=1), team="shop", key_id=None, period=Period.DAY, amount=amount, currency="USD", updated_by="",
        updated_at=utc_now(),
    )  # fmt: skip


async def call(purse: Purse, of: Budget, bound: Decimal, real: Decimal) -> Decimal:
    """One call; what it spent, nothing when it was refused."""
    try:
        reservation = await purse.reserve([of], bound)
    except TooManyRequests:
        return Decimal(0)
    await asyncio.sleep(random.random() / 100)
    purse.settle(reservation, real)
    return real


def test_a_thousand_calls_at_once_over_two_processes_spend_no_more_than_the_budget() -> None:
    async def scenario() -> None:
        bank, of = Bank(), a_budget()
        purses = [bank.of("one"), bank.of("two")]
        sizes = [Decimal(random.randint(1, 50)) / 1000 for _ in range(1000)]
        spent = await asyncio.gather(
            *(call(purses[i % 2], of, size, size * random.randint(0, 4) / 4) for i, size in enumerate(sizes))
        )
        assert Decimal(5) < sum(spent) <= LIMIT
        assert bank.renewals < 1000

    asyncio.run(scenario())


def test_while_there_is_money_nobody_is_refused_however_many_ask_and_a_renewal_is_for_many_calls() -> None:
    async def scenario() -> None:
        plenty, size = Decimal(1_000_000), Decimal("0.001")
        bank, of = Bank(plenty, seconds=0.02), a_budget(plenty)
        purse = bank.of("one")

        async def worker() -> None:
            for _ in range(20):
                reservation = await purse.reserve([of], size)  # raises when it is refused
                await asyncio.sleep(0)
                purse.settle(reservation, size)

        await asyncio.gather(*(worker() for _ in range(400)))
        assert bank.held["one"] >= 8000 * size
        assert bank.renewals < 20

    asyncio.run(scenario())


def test_the_last_of_a_budget_can_be_spent_and_not_a_bit_more() -> None:
    async def scenario() -> None:
        purse, of = Bank().of("one"), a_budget()
        for _ in range(100):
            purse.settle(await purse.reserve([of], Decimal("0.1")), Decimal("0.1"))
        with pytest.raises(TooManyRequests) as refused:
            await purse.reserve([of], Decimal("0.000000000001"))
        assert refused.value.retry_after > 1

    asyncio.run(scenario())


def test_unused_money_goes_back_so_that_another_process_can_spend_it() -> None:
    async def scenario() -> None:
        bank, of = Bank(), a_budget()
        one, two = bank.of("one"), bank.of("two")
        async with one.kept():
            one.settle(await one.reserve([of], Decimal(9)), Decimal(1))
            for _ in range(60):
                await asyncio.sleep(0.1)
                if bank.held["one"] == 1:
                    break
        two.settle(await two.reserve([of], Decimal(9)), Decimal(9))

    asyncio.run(scenario())


def test_of_two_budgets_the_fuller_one_decides_and_the_other_loses_nothing() -> None:
    async def scenario() -> None:
        purse, wide = Bank().of("one"), a_budget()
        narrow = wide.model_copy(update={"id": UUID(int=2), "amount": Decimal(1)})
        with pytest.raises(TooManyRequests, match="budget of shop of 1 "):
            await purse.reserve([wide, narrow], Decimal(2))
        await purse.reserve([wide], Decimal(5))

    asyncio.run(scenario())


def test_with_the_database_away_what_was_granted_can_be_spent_and_nothing_more() -> None:
    async def scenario() -> None:
        bank, of = Bank(), a_budget()
        purse = bank.of("one")
        purse.settle(await purse.reserve([of], Decimal(1)), Decimal("0.5"))
        bank.away = True
        await purse.reserve([of], Decimal("0.5"))
        with pytest.raises(Unavailable, match="cannot be asked"):
            await purse.reserve([of], Decimal(5))
        bank.away = False
        await purse.reserve([of], Decimal(5))

    asyncio.run(scenario())


PROCESS = """
    import asyncio, sys
    from decimal import Decimal
    from uuid import uuid4
    from llmops_resources.cost import budgets, leases
    from llmops_resources.database import Actor, connect, unit_of_work
    from llmops_resources.errors import TooManyRequests
    from llmops_resources.gateway.purse import Purse
    from llmops_resources.governance import audit

    engine, me = connect(sys.argv[1]), uuid4()
    def transaction():
        return unit_of_work(engine, Actor("system:test"), audit.append, single_user=True)
    def renew(claims):
        with transaction() as tx:
            return leases.renew(tx, me, claims)

    async def call(purse, of):
        try:
            reservation = await purse.reserve([of], Decimal("0.004"))
        except TooManyRequests:
            return Decimal(0)
        await asyncio.sleep(0.01)
        purse.settle(reservation, Decimal("0.003"))
        return Decimal("0.003")

    async def main():
        with transaction() as tx:
            (of,) = budgets.in_force(tx)
        purse = Purse(renew)
        async with purse.kept():
            print(sum(await asyncio.gather(*(call(purse, of) for _ in range(500)))))

    asyncio.run(main())
"""


def test_two_real_processes_with_500_calls_each_spend_no_more_than_the_budget(platform: Platform) -> None:
    with platform.transaction(ADMIN) as tx:
        budgets.declare(tx, BudgetWish(team="shop", period=Period.DAY, amount=Decimal(1)))
    url = str(platform.settings.database_url)
    running = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(PROCESS), url], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    spent = [Decimal(process.communicate(timeout=120)[0].strip()) for process in running]

    assert Decimal("0.5") < sum(spent) <= 1
    with platform.transaction(ADMIN) as tx:
        (standing,) = budgets.standings(tx)
    assert standing.held == sum(spent)
