"""How a call passes: size, limits, remembered answers, budget, then out to the model and back, and settled."""

import time
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import cast
from uuid import UUID

import msgspec
from msgspec import UNSET

from llmops_resources.cost.budgets import Budget, check_priced
from llmops_resources.errors import InvalidInput, ValidationFailed, field_problem
from llmops_resources.gateway import asks, cache
from llmops_resources.gateway.asks import USUAL_MOST, Ask
from llmops_resources.gateway.cache import Cache
from llmops_resources.gateway.chat import VARIABLES
from llmops_resources.gateway.limits import Limiter, demands
from llmops_resources.gateway.masking import Masker
from llmops_resources.gateway.policies import RoutePolicy
from llmops_resources.gateway.prompting import Choice
from llmops_resources.gateway.purse import Reservation
from llmops_resources.gateway.routes import Target
from llmops_resources.values import utc_now
from serving_api.chat.bookkeeping import Bookkeeping
from serving_api.chat.call import Call, Meter
from serving_api.chat.callers import Caller
from serving_api.chat.exchange import Exchange
from serving_api.chat.relay import Relay
from serving_api.chat.surfaces import Surface
from serving_api.chat.terms import Terms


class Passenger(msgspec.Struct, frozen=True):
    """A permitted request: who asks, what, and on what terms."""

    id: UUID
    exchange: Exchange
    caller: Caller
    surface: Surface
    ask: Ask
    terms: Terms


class Passage:
    """What every call of a process goes through; use it inside one event loop."""

    def __init__(self, books: Bookkeeping, relay: Relay, masker: Masker) -> None:
        self._books, self._relay, self._masker = books, relay, masker
        self._limiter = Limiter()
        self._cache = Cache()

    async def take(self, who: Passenger) -> None:
        """Answer the request. Raises PlatformError as long as nothing was answered, and ClientGone."""
        terms, ask, now = who.terms, who.ask, utc_now()
        policy = terms.policy
        asks.within(ask, policy)
        if policy.mask_input:
            ask = await self._masked(ask)
        choice = _choice(who, ask)
        if choice:
            values = {} if ask.variables is UNSET else ask.variables
            ask = ask.prompted(choice.prompt.render(values, policy.max_tokens))
        most = policy.max_tokens or (USUAL_MOST if terms.budgets else None)
        calls = [_call(who, ask, target, most, choice, now) for target in terms.targets]
        may_remember = policy.cache_seconds and not ask.streamed and not (choice and choice.experiment_id)
        remembered = _cache_key(who, calls[0], policy) if may_remember else None
        if remembered and (body := self._cache.find(remembered, time.monotonic())) is not None:
            self._limiter.admit(demands(terms.limits, 0), time.monotonic(), terms.rules.processes)
            who.exchange.extra.append((b"x-llmops-cache", b"hit"))
            who.exchange.answered_by(terms.route)
            return await who.exchange.answer(200, body)
        meter = Meter(self._books, who.exchange, calls[0], now)
        body = await self._paid(who, ask, calls, meter)
        if remembered and body is not None and policy.cache_seconds and meter.call is calls[0]:
            self._cache.keep(remembered, body, time.monotonic(), policy.cache_seconds)
        return None

    async def _paid(self, who: Passenger, ask: Ask, calls: Sequence[Call], meter: Meter) -> bytes | None:
        """Answer it while the upper bound of the call is held in its limits and budgets, then settle."""
        terms = who.terms
        policy = terms.policy
        bounds = ask.bounds(ask.max_tokens or policy.max_tokens or USUAL_MOST)
        asked = demands(terms.limits, bounds.expected_prompt + bounds.completion)
        money = _most_money(calls, terms.budgets, bounds) if terms.budgets else None
        self._limiter.admit(asked, time.monotonic(), terms.rules.processes)
        reservation: Reservation | None = None
        try:
            if money is not None:
                purse, budgets = self._books.purse, terms.budgets
                reservation = purse.reserve_now(budgets, money, meter.at)
                reservation = reservation or await purse.reserve(budgets, money, meter.at)
            masker = self._masker if policy.mask_output else None
            return await self._relay.carry(who.exchange, calls, meter, masker, policy.timeout_seconds)
        finally:
            self._limiter.settle(asked, "tokens", meter.tokens.prompt + meter.tokens.completion)
            if reservation is not None:
                self._books.purse.settle(reservation, meter.cost)

    async def _masked(self, ask: Ask) -> Ask:
        try:
            return cast("Ask", await self._masker.run(ask.masked))
        except RecursionError as error:
            raise InvalidInput("the body is nested too deeply", remedy="Send plain messages.") from error


def _choice(who: Passenger, ask: Ask) -> Choice | None:
    """The prompt that the call is made with, told in the answer's headers. Raises ValidationFailed, Conflict."""
    choice = who.terms.prompt.choose(f"{who.caller.tenant}\n{ask.user}")
    if choice is None and ask.variables is not UNSET:
        problem = f"{who.terms.route} has no prompt to fill in"
        details = [field_problem(VARIABLES, problem, "Leave it out, or bind a prompt.")]
        raise ValidationFailed("the call has values for a prompt", details=details)
    told = who.exchange.extra
    told.append((b"x-llmops-exchange", str(who.id).encode()))
    if choice:
        told.append((b"x-llmops-prompt", str(choice.prompt.id).encode()))
    if choice and choice.experiment_id:
        told.append((b"x-llmops-experiment", str(choice.experiment_id).encode()))
    return choice


def _call(
    who: Passenger, ask: Ask, target: Target, most: int | None, choice: Choice | None, now: datetime
) -> Call:
    price = who.terms.rules.prices.at(*target.priced_as, now)
    body = ask.body(target, most)
    return Call(who.id, who.caller, target, who.surface, ask.path, body, ask.streamed, price, choice)


def _most_money(calls: Sequence[Call], budgets: Sequence[Budget], bounds: asks.Bounds) -> Decimal:
    """What the dearest of the models could take. Raises Conflict where that cannot be told."""
    prices = [check_priced(call.price, call.target.priced_as, budgets) for call in calls]
    return max([price.of(bounds.prompt, bounds.completion) for price in prices])


def _cache_key(who: Passenger, call: Call, policy: RoutePolicy) -> bytes:
    """Equal for equal calls of one tenant to the same bytes of a model, treated in the same way."""
    target = call.target
    return cache.key_of(
        who.caller.tenant, who.surface.name, target.route, str(target.endpoint_id), str(target.revision),
        target.model_digest, call.path, call.body, f"{policy.mask_input}{policy.mask_output}",
    )  # fmt: skip
