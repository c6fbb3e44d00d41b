"""Prices, the ledger, budgets and leases: what is booked stays, and no budget is overspent."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from llmops_resources.cost import budgets, leases, ledger, prices
from llmops_resources.cost.budgets import Budget, BudgetWish, Period
from llmops_resources.cost.leases import Claim
from llmops_resources.cost.ledger import Dimension, Entry
from llmops_resources.cost.prices import Price, PriceList, PriceWish
from llmops_resources.database import Actor
from llmops_resources.errors import Conflict, Forbidden, NotFound, ValidationFailed
from llmops_resources.platform import Platform
from llmops_resources.values import utc_now
from tests.factories import ADMIN

ME, YOU = uuid4(), uuid4()


def an_entry(**changes: object) -> Entry:
    fields: dict[str, object] = {
        "id": uuid4(), "at": utc_now(), "team": "shop", "key_id": None, "actor_id": "key:1", "route": "support",
        "model_id": UUID(int=2), "model": "m", "prompt_tokens": 3, "completion_tokens": 5,
        "amount": Decimal("0.25"), "currency": "USD", "price_id": UUID(int=3),
    }  # fmt: skip
    return Entry(**{**fields, **changes})  # type: ignore[arg-type]


def book(platform: Platform, *entries: Entry) -> int:
    with platform.transaction(ADMIN) as tx:
        return ledger.append(tx, entries)


def budget(platform: Platform, amount: str = "1", period: Period = Period.DAY, **wish: object) -> Budget:
    with platform.transaction(ADMIN) as tx:
        return budgets.declare(tx, BudgetWish(team="shop", period=period, amount=Decimal(amount), **wish))  # type: ignore[arg-type]


def lease(platform: Platform, of: Budget, holder: UUID, wanted: str, least: str = "0") -> Decimal:
    claim = Claim(of.id, of.period.start(utc_now()), Decimal(wanted), Decimal(least))
    with platform.transaction(Actor("system:test")) as tx:
        return leases.renew(tx, holder, [claim])[claim.budget_id, claim.starts]


def age(platform: Platform, holder: UUID, by: timedelta) -> None:
    with platform.engine.begin() as connection:
        connection.execute(
            text("UPDATE budget_leases SET renewed_at = now() - CAST(:age AS interval) WHERE holder = :holder"),
            {"age": f"{by.total_seconds()} seconds", "holder": holder},
        )


def test_a_price_holds_from_its_moment_on_and_the_one_before_until_then(platform: Platform) -> None:
    later = utc_now() + timedelta(hours=1)
    with platform.transaction(ADMIN) as tx:
        now = prices.declare(tx, PriceWish(model="m", prompt=Decimal("0.5"), completion=Decimal(2)))
        dearer = prices.declare(tx, PriceWish(model="m", prompt=Decimal(1), completion=Decimal(4), valid_from=later))
        listed = prices.load(tx)

    assert listed.at("internal", "m", utc_now()) == now
    assert listed.at("internal", "m", later) == dearer
    assert listed.at("internal", "m", now.valid_from - timedelta(seconds=1)) is None
    assert listed.at("openai", "m", utc_now()) is None


@given(st.decimals(0, 1000, places=6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_what_tokens_cost_is_exact_and_splits_without_a_rest(per_million: Decimal, some: int, more: int) -> None:
    price = Price(
        id=ME, provider="p", model="m", prompt=per_million, completion=per_million, currency="USD",
        valid_from=datetime(2026, 1, 1, tzinfo=UTC), created_by="", created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    assert price.of(some, 0) + price.of(0, more) == price.of(some, more)
    assert price.of(1_000_000, 0) == per_million


def test_a_price_of_the_past_or_by_somebody_who_may_not_is_refused(platform: Platform) -> None:
    wish = PriceWish(model="m", prompt=Decimal(1), completion=Decimal(1), valid_from=utc_now() - timedelta(days=1))
    with platform.transaction(ADMIN) as tx, pytest.raises(ValidationFailed, match="not usable"):
        prices.declare(tx, wish)
    with platform.transaction(Actor("kim", frozenset({"researcher"}))) as tx, pytest.raises(Forbidden):
        prices.declare(tx, wish.model_copy(update={"valid_from": None}))


def test_two_prices_from_one_moment_are_refused(platform: Platform) -> None:
    wish = PriceWish(model="m", prompt=Decimal(1), completion=Decimal(1), valid_from=utc_now() + timedelta(days=1))
    with platform.transaction(ADMIN) as tx:
        prices.declare(tx, wish)
        with pytest.raises(Conflict):
            prices.declare(tx, wish)


def test_an_empty_price_list_knows_no_price() -> None:
    assert PriceList().at("internal", "m", utc_now()) is None


def test_an_entry_is_booked_once_however_often_it_comes(platform: Platform) -> None:
    entry = an_entry()
    assert book(platform, entry, an_entry()) == 2
    assert book(platform, entry) == 0


@pytest.mark.parametrize("statement", ["UPDATE ledger_entries SET amount = 0", "DELETE FROM ledger_entries"])
def test_the_database_itself_refuses_to_change_an_entry(platform: Platform, statement: str) -> None:
    book(platform, an_entry())
    with platform.engine.begin() as connection, pytest.raises(DBAPIError, match="only ever added"):
        connection.execute(text(statement))


def test_a_mistake_is_mended_by_an_entry_that_corrects_it(platform: Platform) -> None:
    entry = an_entry(amount=Decimal("0.25"))
    book(platform, entry)
    with platform.transaction(ADMIN) as tx:
        correction = ledger.correct(tx, entry.id, Decimal("-0.05"), "the feed was late")
        (sums,) = ledger.spending(tx, [Dimension.TEAM])
        with pytest.raises(NotFound):
            ledger.correct(tx, correction.id, Decimal(1), "of a correction")
    assert (sums.amount, sums.calls, sums.prompt_tokens) == (Decimal("0.20"), 1, 3)


def test_spending_is_summed_by_every_dimension_and_currency(platform: Platform) -> None:
    day = datetime(2026, 11, 1, 23, 30, tzinfo=UTC)
    book(
        platform,
        an_entry(at=day), an_entry(at=day + timedelta(hours=1)), an_entry(at=day, team="lab", price_id=None,
        amount=Decimal(0)), an_entry(at=day, currency="KRW", amount=Decimal(10)),
    )  # fmt: skip
    with platform.transaction(ADMIN) as tx:
        found = ledger.spending(tx, [Dimension.TEAM, Dimension.DAY])
        none = ledger.spending(tx, [Dimension.MODEL], team="lab", since=day + timedelta(days=1))
    assert [(s.team, s.day, s.currency, s.amount, s.unpriced) for s in found] == [
        ("lab", "2026-11-01", "USD", Decimal(0), 1),
        ("shop", "2026-11-01", "KRW", Decimal(10), 0),
        ("shop", "2026-11-01", "USD", Decimal("0.25"), 0),
        ("shop", "2026-11-02", "USD", Decimal("0.25"), 0),
    ]
    assert none == []


@given(st.integers(0, 200_000_000))
def test_a_moment_lies_in_its_period(seconds: int) -> None:
    at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    for period in Period:
        first = datetime.combine(period.start(at), datetime.min.time(), UTC)
        assert first <= at < period.end(at)
        assert period.start(period.end(at)) == period.end(at).date() > first.date()
    assert Period.MONTH.end(datetime(2026, 12, 31, tzinfo=UTC)).date() == date(2027, 1, 1)


def test_two_processes_are_granted_no_more_than_the_budget_together(platform: Platform) -> None:
    of = budget(platform, "1")
    assert lease(platform, of, ME, "0.7") == Decimal("0.7")
    assert lease(platform, of, YOU, "0.7") == Decimal("0.3")
    assert lease(platform, of, ME, "0.2", least="0.2") == Decimal("0.2")
    assert lease(platform, of, YOU, "0.9") == Decimal("0.8")


def test_what_was_spent_before_the_budget_was_declared_counts(platform: Platform) -> None:
    book(platform, an_entry(amount=Decimal("0.9")), an_entry(amount=Decimal("0.5"), team="lab"))
    of = budget(platform, "1")
    assert lease(platform, of, ME, "0.5") == Decimal("0.1")


def test_a_lowered_budget_takes_nothing_back_that_is_spent_and_grants_nothing_more(platform: Platform) -> None:
    of = budget(platform, "1")
    lease(platform, of, ME, "0.8")
    lowered = budget(platform, "0.5")
    assert lowered.id == of.id
    assert lease(platform, of, ME, "0.8", least="0.6") == Decimal("0.6")
    assert lease(platform, of, YOU, "0.1") <= 0


def test_a_dead_process_keeps_what_it_could_still_spend_until_all_its_calls_are_over(platform: Platform) -> None:
    of = budget(platform, "1")
    lease(platform, of, ME, "0.9")
    age(platform, ME, leases.DEAD_AFTER - timedelta(minutes=1))
    assert lease(platform, of, YOU, "0.5") == Decimal("0.1")

    book(platform, an_entry(amount=Decimal("0.3"), holder=ME))
    age(platform, ME, leases.DEAD_AFTER + timedelta(minutes=1))
    assert lease(platform, of, YOU, "0.9") == Decimal("0.7")


def test_a_withdrawn_budget_holds_nobody_back(platform: Platform) -> None:
    of = budget(platform, "1")
    with platform.transaction(ADMIN) as tx:
        budgets.withdraw(tx, of.id)
    assert lease(platform, of, ME, "5") == 5
    assert budget(platform, "1").id != of.id


def test_standings_tell_what_is_booked_and_what_is_held(platform: Platform) -> None:
    of = budget(platform, "1")
    lease(platform, of, ME, "0.4")
    book(platform, an_entry(amount=Decimal("0.3"), holder=ME))
    with platform.transaction(ADMIN) as tx:
        (standing,) = budgets.standings(tx)
    assert (standing.spent, standing.held) == (Decimal("0.3"), Decimal("0.4"))
