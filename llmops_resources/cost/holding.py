"""What one piece of work holds of its team's budgets while it spends: a lease under its own id, attempt after attempt.

Like the gateway's purse, a question sets its upper bound aside before it is asked and settles with what it took. But
here the database is asked whenever the part that was granted runs short, since nobody waits for the answer.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from types import TracebackType
from typing import Final
from uuid import UUID

from llmops_resources.cost import budgets, leases
from llmops_resources.cost.budgets import Budget
from llmops_resources.cost.leases import STOP_AFTER, Claim
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, Unavailable
from llmops_resources.values import utc_now

RENEW_EVERY: Final = 10.0  # seconds; a budget that is declared or changed meanwhile holds from then on
#: So many amounts are asked for at once, so that not every question asks the database.
_AHEAD: Final = 16
ZERO: Final = Decimal(0)


@dataclass
class _Account:
    """One period of one budget."""

    budget: Budget
    starts: date
    spent: Decimal
    reserved: Decimal = ZERO
    granted: Decimal = ZERO

    @property
    def least(self) -> Decimal:
        return self.spent + self.reserved


@dataclass(frozen=True)
class Held:
    """Money set aside for one question, in every budget that holds for it."""

    accounts: tuple[_Account, ...]
    amount: Decimal


class Holding:
    """The budgets of `team` as `holder` spends from them; use it on one thread, and as a context manager.

    What `holder` has booked in the ledger counts as spent, so an attempt goes on where the one before it died.
    """

    def __init__(
        self, transaction: Callable[[], AbstractContextManager[Transaction]], holder: UUID, team: str
    ) -> None:
        self._transaction, self.holder, self.team = transaction, holder, team
        self._accounts: dict[tuple[UUID, date], _Account] = {}
        self._budgets: tuple[Budget, ...] = ()
        self._renewed_at = float("-inf")

    def __enter__(self) -> "Holding":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give back what was granted and not spent; what a database that is away keeps, it takes back by itself."""
        with suppress(Unavailable):
            if self._accounts:
                self._renew(ZERO)

    def budgets(self) -> tuple[Budget, ...]:
        """The team's budgets as they were at most RENEW_EVERY ago. Raises Unavailable as `reserve` does."""
        if time.monotonic() - self._renewed_at > RENEW_EVERY:
            self._renew_or_go_on(ZERO)
        return self._budgets

    def reserve(self, amount: Decimal) -> Held:
        """Set an amount aside in every budget, or in none.

        Raises:
            Conflict: one of them has no such amount left.
            Unavailable: the database is away, and what was granted does not do or has not been confirmed for too long.
        """
        self.budgets()  # as they are by now
        accounts = self._current()
        if any(each.granted - each.least < amount for each in accounts):
            self._renew_or_go_on(amount)
            accounts = self._current()
        for each in accounts:
            if each.granted - each.least < amount:
                raise _used_up(each, amount)
        for each in accounts:
            each.reserved += amount
        return Held(accounts, amount)

    def settle(self, held: Held, spent: Decimal) -> None:
        """Give back what was set aside, and count what was really spent."""
        for each in held.accounts:
            each.reserved -= held.amount
            each.spent += spent

    def _current(self) -> tuple[_Account, ...]:
        now, found = utc_now(), []
        for budget in self._budgets:
            key = budget.id, budget.period.start(now)
            if key not in self._accounts:  # a period has begun since
                self._renew(ZERO)
            found.append(self._accounts[key])
        return tuple(found)

    def _renew_or_go_on(self, amount: Decimal) -> None:
        try:
            self._renew(amount)
        except Unavailable:
            if time.monotonic() - self._renewed_at > STOP_AFTER.total_seconds():
                raise

    def _renew(self, amount: Decimal) -> None:
        now = utc_now()
        with self._transaction() as tx:
            found = tuple(each for each in budgets.in_force(tx) if each.team == self.team and each.key_id is None)
            for budget in found:
                starts = budget.period.start(now)
                account = self._accounts.get((budget.id, starts))
                if account is None:
                    spent = budgets.spent_by(tx, budget.id, starts, self.holder)
                    account = self._accounts[budget.id, starts] = _Account(budget, starts, spent)
                account.budget = budget
            claims = [
                Claim(budget_id, starts, each.least + amount * _AHEAD, each.least)
                for (budget_id, starts), each in self._accounts.items()
            ]
            granted = leases.renew(tx, self.holder, claims)
        for key, part in granted.items():
            self._accounts[key].granted = part
        self._budgets, self._renewed_at = found, time.monotonic()


def _used_up(account: _Account, amount: Decimal) -> Conflict:
    budget = account.budget
    return Conflict(
        f"the budget of {budget.team} of {budget.amount.normalize():f} {budget.currency} a {budget.period} has no "
        f"{amount.normalize():f} left for the next question",
        remedy=f"Have it raised, or wait for the next {budget.period}; then resume: what was answered is kept.",
    )
