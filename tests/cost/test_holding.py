"""One piece of work spends from its team's budgets, together with others, after a death, and while budgets change."""

import threading
from contextlib import AbstractContextManager
from decimal import Decimal
from uuid import UUID, uuid4

import pytest

from llmops_resources.cost import budgets, ledger
from llmops_resources.cost.budgets import BudgetWish, Period
from llmops_resources.cost.holding import Holding
from llmops_resources.cost.ledger import Entry
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict
from llmops_resources.platform import Platform
from llmops_resources.values import utc_now
from tests.factories import ADMIN

ONE = Decimal(1)


def declared(platform: Platform, amount: int, period: Period = Period.DAY) -> None:
    with platform.transaction(ADMIN) as tx:
        budgets.declare(tx, BudgetWish(team="research", period=period, amount=Decimal(amount)))


def holding(platform: Platform, holder: UUID) -> Holding:
    def transaction() -> AbstractContextManager[Transaction]:
        return platform.transaction(ADMIN)

    return Holding(transaction, holder, "research")


def booked(platform: Platform, holder: UUID, amount: Decimal) -> None:
    entry = Entry(
        id=uuid4(), at=utc_now(), team="research", key_id=None, actor_id="a", route="evaluation", model_id=uuid4(),
        model="m 1", prompt_tokens=1, completion_tokens=1, amount=amount, currency="USD", price_id=None, holder=holder,
    )  # fmt: skip
    with platform.transaction(ADMIN) as tx:
        ledger.append(tx, [entry])


def held(platform: Platform) -> Decimal:
    with platform.transaction(ADMIN) as tx:
        return budgets.standings(tx)[0].held


def test_several_at_once_spend_no_more_than_the_budget_and_all_of_it(platform: Platform) -> None:
    declared(platform, 40)
    spent: list[int] = []

    def work() -> None:
        count = 0
        with holding(platform, uuid4()) as mine:
            try:
                while True:
                    mine.settle(mine.reserve(ONE), ONE)
                    count += 1
            except Conflict:
                spent.append(count)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with holding(platform, uuid4()) as last:  # what the others had ahead of their need went back
        while sum(spent) < 40:
            last.settle(last.reserve(ONE), ONE)
            spent.append(1)
        with pytest.raises(Conflict, match="no 1 left for the next question"):
            last.reserve(ONE)
    assert held(platform) == 40


def test_what_is_set_aside_counts_until_it_is_settled_and_the_rest_goes_back(platform: Platform) -> None:
    declared(platform, 10)
    with holding(platform, uuid4()) as mine:
        first = mine.reserve(Decimal(6))
        with pytest.raises(Conflict):
            mine.reserve(Decimal(6))
        mine.settle(first, ONE)
        mine.settle(mine.reserve(Decimal(6)), ONE)
        assert held(platform) == 10  # asked for ahead
    assert held(platform) == 2


def test_an_attempt_goes_on_from_what_the_one_before_it_booked(platform: Platform) -> None:
    declared(platform, 10)
    run = uuid4()
    dead = holding(platform, run)  # it dies without giving anything back
    dead.settle(dead.reserve(Decimal(6)), Decimal(6))
    booked(platform, run, Decimal(6))
    with holding(platform, run) as again:
        again.settle(again.reserve(Decimal(4)), Decimal(4))
        with pytest.raises(Conflict):
            again.reserve(ONE)


def test_a_budget_of_the_day_and_one_of_the_month_both_count_and_another_teams_does_not(platform: Platform) -> None:
    declared(platform, 10)
    declared(platform, 3, Period.MONTH)
    with platform.transaction(ADMIN) as tx:
        budgets.declare(tx, BudgetWish(team="sales", period=Period.DAY, amount=Decimal(0)))
    with holding(platform, uuid4()) as mine:
        mine.settle(mine.reserve(Decimal(3)), Decimal(3))
        with pytest.raises(Conflict, match="a month has no 1 left"):
            mine.reserve(ONE)


def test_a_budget_that_is_declared_meanwhile_counts_what_was_booked_once(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmops_resources.cost.holding.RENEW_EVERY", 0.0)
    run = uuid4()
    with holding(platform, run) as mine:
        assert mine.budgets() == ()
        mine.settle(mine.reserve(Decimal(4)), Decimal(4))
        booked(platform, run, Decimal(4))
        declared(platform, 10)
        mine.settle(mine.reserve(Decimal(6)), Decimal(6))
        with pytest.raises(Conflict):
            mine.reserve(ONE)
    assert held(platform) == 10
