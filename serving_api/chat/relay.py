"""Carrying a call to its model server and the answer back, and booking what it took before the last byte leaves."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import partial

from llmops_resources.errors import NotAuthenticated, PlatformError, UpstreamTimeout
from llmops_resources.gateway import completions, sse
from llmops_resources.gateway.masking import Masker, StreamMask
from llmops_resources.gateway.usage import Outcome
from llmops_resources.governance.api_keys import Bearer
from llmops_resources.inference import Answer
from serving_api.chat import metrics
from serving_api.chat.attempts import Attempts
from serving_api.chat.call import Call, Meter
from serving_api.chat.exchange import ClientGone, Exchange

logger = logging.getLogger(__name__)


class Relay:
    """The way to the model servers and back. `still_valid`: whether a call that began with a key may go on."""

    def __init__(self, attempts: Attempts, still_valid: Callable[[Bearer | None], bool]) -> None:
        self._attempts = attempts
        self._still_valid = still_valid

    async def carry(
        self,
        exchange: Exchange,
        calls: Sequence[Call],
        meter: Meter,
        masker: Masker | None = None,
        seconds: float | None = None,
    ) -> bytes | None:
        """Answer the exchange with what the first model server that can says; returns a whole answer's body.

        `masker` masks personal data in the answer; the whole call has so many `seconds`. Raises PlatformError as long
        as nothing was answered; an error after that becomes the stream's last event. Raises ClientGone when the client
        left; the model server is freed at once, and the call is booked.
        """
        metrics.OPEN_CALLS.begin()
        try:
            with exchange.watch():
                if seconds is None:
                    return await self._answered(exchange, calls, meter, masker)
                with exchange.within(seconds, partial(_too_late, seconds)):
                    return await self._answered(exchange, calls, meter, masker)
        except PlatformError as error:
            self._book_anyway(meter, Outcome.FAILED)
            logger.warning(
                "call to a model server failed",
                extra={"request_id": exchange.request_id, "route": meter.call.target.route, "reason": str(error)},
            )
            if exchange.status is None:
                raise
            _status, body = meter.call.surface.failure(error)
            await exchange.stream(sse.event(body), last=True)
        except (ClientGone, asyncio.CancelledError):
            self._book_anyway(meter, Outcome.CANCELLED)
            raise
        finally:
            metrics.OPEN_CALLS.end()
        return None

    async def _answered(
        self, exchange: Exchange, calls: Sequence[Call], meter: Meter, masker: Masker | None
    ) -> bytes | None:
        with await self._attempts.first(calls) as answering:
            call, upstream = answering.call, answering.answer
            meter.call, route = call, call.target.route
            exchange.answered_by(route)
            if call.streamed:
                await self._stream(exchange, call, meter, upstream, masker)
                return None
            whole = upstream.whole()
            received = call.received(await upstream.body() if whole is None else whole)
            read = call.surface.success(received, route)
            meter.usage, meter.pieces = read.usage, read.pieces
            if masker:
                read = call.surface.success(await masker.answer(received), route)
            await meter.book()
            await exchange.answer(200, read.body)
            return read.body

    async def _stream(
        self, exchange: Exchange, call: Call, meter: Meter, upstream: Answer, masker: Masker | None
    ) -> None:
        finished = False
        mask = StreamMask(masker) if masker else None
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
                            received = call.received(data)
                            kept.append(sse.event(await mask.feed(received) if mask else received))
                finally:  # what was good before a bad chunk is the client's
                    if kept:
                        await exchange.stream(b"".join(kept))
                if done:
                    finished = True
                    break
        if not finished:
            raise completions.garbage("the stream ended in the middle of the answer")
        await meter.book()
        rest = await mask.rest() if mask else None
        await exchange.stream((sse.event(rest) if rest else b"") + sse.event(sse.DONE), last=True)

    def _book_anyway(self, meter: Meter, outcome: Outcome) -> None:
        """Book a call that went wrong; a full disk must not hide why it did."""
        try:
            meter.book_now(outcome)
        except PlatformError as error:
            logger.error("a failed call could not be booked: %s", error.message)  # noqa: TRY400


def _too_late(seconds: float) -> UpstreamTimeout:
    return UpstreamTimeout(
        f"the model did not finish within the {seconds:g} s that this route gives it",
        remedy="Ask for fewer tokens, or have the route's timeoutSeconds raised.",
    )


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
