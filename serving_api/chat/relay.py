"""Carrying a call to its model server and the answer back, and booking what it took before the last byte leaves."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from uuid import UUID

from llmops_resources.errors import NotAuthenticated, PlatformError
from llmops_resources.gateway import completions, external, sse
from llmops_resources.gateway.completions import ChunkFacts, Tokens
from llmops_resources.gateway.routes import Target
from llmops_resources.gateway.spool import Spool
from llmops_resources.gateway.usage import Outcome, UsageRecord
from llmops_resources.governance.api_keys import Bearer
from llmops_resources.inference import Answer, Inference
from llmops_resources.values import utc_now
from serving_api.chat import metrics
from serving_api.chat.callers import Caller
from serving_api.chat.exchange import ClientGone, Exchange
from serving_api.chat.surfaces import Surface

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """One permitted request on its way to a model server; `id` is the idempotency key of its usage record."""

    id: UUID
    caller: Caller
    target: Target
    surface: Surface
    path: str
    body: bytes
    streamed: bool

    @property
    def url(self) -> str:
        return self.target.url(self.path)

    @property
    def headers(self) -> dict[str, str]:
        """What identifies us to a provider; a model server of ours asks for nothing."""
        return self.target.external.headers() if self.target.external else {}

    def refusal(self, upstream: Answer, body: bytes) -> PlatformError:
        """What the other side's HTTP error means to our client."""
        if self.target.external:
            return external.refusal(upstream.status, body, upstream.retry_after)
        return completions.refusal(upstream.status, body)

    def received(self, data: bytes) -> bytes:
        """An answer, or a chunk of one, as our client may see it. Raises UpstreamFailed."""
        provider = self.target.external
        return external.renamed(data, self.target.route, provider) if provider else data


class Meter:
    """What one call took so far; `book` writes it down, once."""

    def __init__(self, spool: Spool, exchange: Exchange, call: Call) -> None:
        self._spool, self._exchange, self._call = spool, exchange, call
        self._at, self._started = utc_now(), time.perf_counter()
        self._booked = False
        self.usage: Tokens | None = None
        self.pieces = 0

    def read(self, facts: ChunkFacts) -> None:
        """Take note of a streamed chunk."""
        self.usage = facts.usage or self.usage
        self.pieces += facts.pieces

    def book(self, outcome: Outcome) -> None:
        """Write the usage record to the spool. Raises Unavailable when the disk does not take it."""
        if self._booked:
            return
        call, seconds = self._call, time.perf_counter() - self._started
        reached = outcome is not Outcome.FAILED or self.pieces > 0
        prompt_bytes = len(call.body) if reached else 0
        tokens = completions.count(self.usage, prompt_bytes=prompt_bytes, completion=self.pieces)
        self._spool.append(
            UsageRecord(
                id=call.id,
                request_id=self._exchange.request_id,
                at=self._at,
                route=call.target.route,
                endpoint_id=call.target.endpoint_id,
                model_id=call.target.model_id,
                model_digest=call.target.model_digest,
                actor_id=call.caller.actor.id,
                prompt_tokens=tokens.prompt,
                completion_tokens=tokens.completion,
                estimated=tokens.estimated,
                latency_ms=seconds * 1000,
                status=outcome,
                streamed=call.streamed,
            )
        )
        self._booked = True
        metrics.count_call(call.target.route, seconds, tokens)


class Relay:
    """The way to the model servers and back."""

    def __init__(self, inference: Inference, spool: Spool, still_valid: Callable[[Bearer | None], bool]) -> None:
        self._inference = inference
        self._spool = spool
        self._still_valid = still_valid

    async def carry(self, exchange: Exchange, call: Call) -> None:
        """Answer the exchange with what the model server says to the call.

        Raises PlatformError as long as nothing was answered; an error after that becomes the stream's last event.
        Raises ClientGone when the client left; the model server is freed at once, and the call is booked.
        """
        meter = Meter(self._spool, exchange, call)
        with metrics.OPEN_CALLS.track_inprogress():
            try:
                async with exchange.while_client_listens():
                    await (self._stream if call.streamed else self._whole)(exchange, call, meter)
            except PlatformError as error:
                self._book_anyway(meter, Outcome.FAILED)
                logger.warning(
                    "call to a model server failed",
                    extra={"request_id": exchange.request_id, "route": call.target.route, "reason": str(error)},
                )
                if exchange.status is None:
                    raise
                _status, body = call.surface.failure(error)
                await exchange.stream(sse.event(body), last=True)
            except (ClientGone, asyncio.CancelledError):
                self._book_anyway(meter, Outcome.CANCELLED)
                raise

    async def _whole(self, exchange: Exchange, call: Call, meter: Meter) -> None:
        async with self._inference.open(call.url, call.body, call.headers) as upstream:
            body = await upstream.body()
            if upstream.status != 200:
                raise call.refusal(upstream, body)
        read = call.surface.success(call.received(body), call.target.route)
        meter.usage, meter.pieces = read.usage, read.pieces
        meter.book(Outcome.SUCCEEDED)
        await exchange.answer(200, read.body)

    async def _stream(self, exchange: Exchange, call: Call, meter: Meter) -> None:
        finished = False
        async with self._inference.open(call.url, call.body, call.headers) as upstream:
            if upstream.status != 200:
                raise call.refusal(upstream, await upstream.body())
            if upstream.content_type != "text/event-stream":
                raise completions.garbage("a stream was asked for, and the answer is not one")
            async with aclosing(_events(upstream)) as batches:
                async for events in batches:
                    if not self._still_valid(call.caller.key):
                        raise NotAuthenticated("the API key was revoked or has expired", remedy="Use another one.")
                    done = events[-1] == sse.DONE
                    kept: list[bytes] = []
                    try:
                        for data in events[:-1] if done else events:
                            facts = completions.chunk_facts(data)
                            meter.read(facts)
                            finished = finished or facts.finished
                            if call.surface.keeps(facts):
                                kept.append(sse.event(call.received(data)))
                    finally:  # what was good before a bad chunk is the client's
                        if kept:
                            await exchange.stream(b"".join(kept))
                    if done:
                        finished = True
                        break
        if not finished:
            raise completions.garbage("the stream ended in the middle of the answer")
        meter.book(Outcome.SUCCEEDED)
        await exchange.stream(sse.event(sse.DONE), last=True)

    def _book_anyway(self, meter: Meter, outcome: Outcome) -> None:
        """Book a call that went wrong; a full disk must not hide why it did."""
        try:
            meter.book(outcome)
        except PlatformError as error:
            logger.error("a failed call could not be booked: %s", error.message)  # noqa: TRY400


async def _events(upstream: Answer) -> AsyncGenerator[list[bytes], None]:
    """What arrived, as events; the list that ends with DONE is the last one."""
    reader = sse.EventReader()
    async with aclosing(upstream.chunks()) as chunks:
        async for chunk in chunks:
            if events := reader.feed(chunk):
                if sse.DONE in events:
                    yield events[: events.index(sse.DONE) + 1]
                    return
                yield events
