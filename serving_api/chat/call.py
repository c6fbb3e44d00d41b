"""One call on its way to a model server, and the meter of what it takes."""

import time
from datetime import datetime
from decimal import Decimal
from typing import Protocol
from uuid import UUID

import msgspec

from llmops_resources.cost.prices import Price
from llmops_resources.errors import PlatformError
from llmops_resources.gateway import completions, external
from llmops_resources.gateway.completions import ChunkFacts, Counted, Tokens
from llmops_resources.gateway.prompting import Choice
from llmops_resources.gateway.routes import Target
from llmops_resources.gateway.spool import GroupCommit, Spool
from llmops_resources.gateway.usage import Outcome, UsageRecord
from llmops_resources.inference import Answer
from serving_api.chat.callers import Caller
from serving_api.chat.exchange import Exchange
from serving_api.chat.metrics import Taken
from serving_api.chat.surfaces import Surface


class Call(msgspec.Struct, frozen=True):
    """One permitted request on its way to one model server; `id` is the idempotency key of its usage record.

    The calls of one request, to a route and to its fallback, have the same id: at most one of them is answered.
    """

    id: UUID
    caller: Caller
    target: Target
    surface: Surface
    path: str
    body: bytes
    streamed: bool
    price: Price | None = None
    choice: Choice | None = None

    @property
    def url(self) -> str:
        return self.target.url(self.path)

    @property
    def headers(self) -> dict[str, str] | None:
        """What identifies us to a provider; a model server of ours asks for nothing."""
        return self.target.external.headers() if self.target.external else None

    def refusal(self, upstream: Answer, body: bytes) -> PlatformError:
        """What the other side's HTTP error means to our client."""
        if self.target.external:
            return external.refusal(upstream.status, body, upstream.retry_after)
        return completions.refusal(upstream.status, body)

    def received(self, data: bytes) -> bytes:
        """An answer, or a chunk of one, as our client may see it. Raises UpstreamFailed."""
        provider = self.target.external
        return external.renamed(data, self.target.route, provider) if provider else data


class Books(Protocol):
    """Where calls are written down."""

    spool: Spool
    together: GroupCommit
    holder: UUID


class Meter:
    """What one request took so far; `book` writes it down, once, under the route of `call`, which answered.

    `at` is when it began, UTC; `cost` what the booked tokens cost.
    """

    def __init__(self, books: Books, exchange: Exchange, call: Call, at: datetime) -> None:
        self._books, self._exchange = books, exchange
        self.at, self._started = at, time.perf_counter()
        self._booked = False
        self.call = call
        self.usage: Tokens | None = None
        self.pieces = 0
        self.tokens = Counted(0, 0, estimated=False)
        self.cost = Decimal(0)
        self._outcome, self._seconds = Outcome.FAILED, 0.0

    def read(self, facts: ChunkFacts) -> None:
        """Take note of a streamed chunk."""
        self.usage = facts.usage or self.usage
        self.pieces += facts.pieces

    async def book(self) -> None:
        """Write the record of a call that succeeded to the spool, with those of others that end now.

        Raises Unavailable when the disk does not take it.
        """
        if self._booked:
            return
        self._end(Outcome.SUCCEEDED)
        self._booked = True  # whoever is cancelled from here on has a record
        try:
            await self._books.together.append(self._record)
        except PlatformError:
            self._booked = False
            raise
        self._exchange.taken = Taken(self.call.target.route, self._seconds, self.tokens)

    def book_now(self, outcome: Outcome) -> None:
        """Write the record of a call that went wrong. Raises as `book`."""
        if self._booked:
            return
        self._end(outcome)
        self._books.spool.append(self._record())
        self._booked = True
        self._exchange.taken = Taken(self.call.target.route, self._seconds, self.tokens)

    def _end(self, outcome: Outcome) -> None:
        """Take what it took."""
        call, self._outcome, self._seconds = self.call, outcome, time.perf_counter() - self._started
        worked = outcome is not Outcome.FAILED or self.pieces > 0
        prompt_bytes = len(call.body) if worked else 0
        self.tokens = completions.count(self.usage, prompt_bytes=prompt_bytes, completion=self.pieces)
        if call.price:
            self.cost = call.price.of(self.tokens.prompt, self.tokens.completion)

    def _record(self) -> UsageRecord:
        call, tokens = self.call, self.tokens
        key, choice, price = call.caller.key, call.choice, call.price
        return UsageRecord(
            id=call.id,
            request_id=self._exchange.request_id,
            at=self.at,
            route=call.target.route,
            endpoint_id=call.target.endpoint_id,
            model_id=call.target.model_id,
            model_digest=call.target.model_digest,
            actor_id=call.caller.actor.id,
            prompt_tokens=tokens.prompt,
            completion_tokens=tokens.completion,
            estimated=tokens.estimated,
            latency_ms=self._seconds * 1000,
            status=self._outcome,
            streamed=call.streamed,
            team=call.caller.team,
            key_id=key.id if key else None,
            model=call.target.model_name,
            amount=self.cost if price else None,
            currency=price.currency if price else "",
            price_id=price.id if price else None,
            holder=self._books.holder,
            prompt_id=choice.prompt.id if choice else None,
            experiment_id=choice.experiment_id if choice else None,
            variant=choice.variant if choice else None,
            subject=choice.subject if choice else None,
            allocation=choice.allocation if choice else 0,
        )
