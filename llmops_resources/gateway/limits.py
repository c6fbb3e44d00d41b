"""Rate limits: token buckets on a clock that never goes back. Pure but for the buckets' own levels; `now` is passed in.

A bucket holds a minute's worth and fills evenly, so that over any t seconds at most capacity + rate·t is let through
(Turner, "New directions in communications", 1986). What a call will take is charged before it, at its upper bound, and
what it did not take is given back; a call that took more leaves the bucket in debt.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from llmops_resources.errors import PlatformError, TooLarge, TooManyRequests

_MINUTE: Final = 60.0
#: Above so many buckets, those that are full again are forgotten: a full one says nothing.
_MANY: Final = 10_000
_ROUNDING: Final = 1e-9


class Limit(NamedTuple):
    """So many of a unit, `requests` or `tokens`, are let through a minute for a scope."""

    scope: str
    unit: str
    per_minute: int


class Demand(msgspec.Struct, frozen=True, gc=False):
    """What a call asks of one limit: `amount` of `unit`, of which `per_minute` are let through for `scope`."""

    scope: str
    unit: str
    per_minute: int
    amount: int


def demands(limits: Iterable[Limit], tokens: int) -> list[Demand]:
    """What a call that may take so many tokens asks of limits."""
    return [Demand(scope, unit, most, tokens if unit == "tokens" else 1) for scope, unit, most in limits]


@dataclass
class Bucket:
    """`level` of `capacity` at the moment `at`, refilled with `rate` a second. A level below zero is a debt."""

    capacity: float
    rate: float
    level: float
    at: float

    def refill(self, now: float) -> None:
        """Bring the level to `now`; a clock that seems to go back adds nothing."""
        if now > self.at:
            level = self.level + (now - self.at) * self.rate
            self.level, self.at = min(self.capacity, level), now

    def resize(self, capacity: float, rate: float) -> None:
        """Change the limit; nobody gets more at once by raising it, and nobody keeps more than a lower one allows."""
        self.capacity, self.rate, self.level = capacity, rate, min(self.level, capacity)

    def wait(self, amount: float) -> float:
        """Seconds after which `amount` would be there; infinite when it never will."""
        if amount > self.capacity:
            return math.inf
        missing = amount - self.level
        return 0.0 if missing <= _ROUNDING * max(1.0, amount) else missing / self.rate


@dataclass
class Limiter:
    """The buckets of one process; `share` is how many processes divide each limit's refill between them."""

    buckets: dict[tuple[str, str], Bucket] = field(default_factory=dict)

    def admit(self, demands: Sequence[Demand], now: float, share: int = 1) -> None:
        """Take every demand from its bucket, or none of them.

        Raises TooManyRequests with the longest wait, TooLarge for a call that could never be let through.
        """
        pairs = [(self._bucket(demand, now, share), demand) for demand in demands]
        waits = [(bucket.wait(demand.amount), demand) for bucket, demand in pairs if bucket.level < demand.amount]
        if waits:
            longest, demand = max(waits, key=lambda each: each[0])
            if longest > 0:
                raise _refusal(demand, longest)
        for bucket, demand in pairs:
            bucket.level -= demand.amount

    def settle(self, demands: Iterable[Demand], unit: str, taken: int) -> None:
        """Correct the demands of a unit that were charged: only `taken` was really used, or more."""
        for demand in demands:
            bucket = self.buckets.get((demand.scope, demand.unit))
            if demand.unit == unit and bucket is not None:
                bucket.level = min(bucket.capacity, bucket.level + demand.amount - taken)

    def _bucket(self, demand: Demand, now: float, share: int) -> Bucket:
        capacity, rate = float(demand.per_minute), demand.per_minute / _MINUTE / max(1, share)
        key = demand.scope, demand.unit
        bucket = self.buckets.get(key)
        if bucket is None:
            if len(self.buckets) >= _MANY:
                self._forget(now)
            bucket = self.buckets[key] = Bucket(capacity, rate, capacity, now)
        bucket.refill(now)
        if bucket.capacity != capacity or bucket.rate != rate:
            bucket.resize(capacity, rate)
        return bucket

    def _forget(self, now: float) -> None:
        for key, bucket in list(self.buckets.items()):
            bucket.refill(now)
            if bucket.level >= bucket.capacity:
                del self.buckets[key]


def _refusal(demand: Demand, wait: float) -> PlatformError:
    if math.isinf(wait):
        return TooLarge(
            f"this call may take {demand.amount} {demand.unit}, and {demand.scope} is let through {demand.per_minute} "
            "a minute",
            remedy="Lower max_tokens, or send a shorter conversation.",
        )
    return TooManyRequests(
        f"{demand.scope} is over its limit of {demand.per_minute} {demand.unit} a minute",
        retry_after=math.ceil(wait),
        remedy="Wait as long as Retry-After says, or ask for a higher limit.",
    )
