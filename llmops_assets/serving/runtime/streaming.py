"""Answers on their way out: server-sent events and whole bodies, and what happens when the client goes away."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from llmops_assets.serving.runtime import protocol
from llmops_assets.serving.runtime.protocol import ProtocolError
from llmops_assets.serving.runtime.requests import Audience, Generation, Likely, Piece

if TYPE_CHECKING:
    from llmops_assets.serving.runtime.loading import Loaded

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Exchange:
    """One HTTP request whose answers are being generated."""

    loaded: "Loaded"
    name: str
    chat: bool
    usage: bool  # whether the stream tells it
    group: Sequence[Generation]

    @property
    def audience(self) -> Audience:
        """Who waits for all of the answers."""
        return self.group[0].audience

    def logprobs(self, found: Sequence[tuple[int, Likely]]) -> dict[str, Any] | None:
        """What an answer says of its tokens, if it was asked to."""
        return protocol.logprobs(self.loaded.spell, found) if self.group[0].logprobs is not None else None

    def used(self, tokens: int) -> dict[str, int]:
        """The usage: the prompt counts once, the tokens of all answers together."""
        return protocol.usage(self.group[0].length, tokens)


class EventStream(Response):
    """Server-sent events from `lines`; when the client goes away the iterator is closed at once."""

    media_type = "text/event-stream"

    def __init__(self, lines: AsyncIterator[bytes]) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        async def stream() -> None:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for lines in self._lines:
                await send({"type": "http.response.body", "body": lines, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        await unless_disconnected(asyncio.ensure_future(stream()), receive)


async def events(exchange: Exchange) -> AsyncIterator[bytes]:
    """The chunks of a stream, `[DONE]` last, as many at once as there are. Leaving early frees the slots."""
    chat, audience = exchange.chat, exchange.audience
    head = protocol.heading(chat, exchange.name, stream=True) | ({"usage": None} if exchange.usage else {})
    begun, tokens, left = set[int](), 0, len(exchange.group)
    try:
        while left:
            lines: list[bytes] = []
            for index, piece in await _pieces(audience):
                if piece.finish_reason == "error":
                    yield b"".join(lines) + _event(lost().body())
                    return
                logprobs = exchange.logprobs(piece.likely)
                if piece.text or index not in begun or piece.likely:
                    first = chat and index not in begun
                    begun.add(index)
                    choice = protocol.chunk_choice(chat, index, piece.text, None, logprobs, first=first)
                    lines.append(_event(head | {"choices": [choice]}))
                if piece.finish_reason:
                    left, tokens = left - 1, tokens + piece.tokens
                    choice = protocol.chunk_choice(chat, index, "", piece.finish_reason)
                    lines.append(_event(head | {"choices": [choice]}))
            yield b"".join(lines)
        last = _event(head | {"choices": [], "usage": exchange.used(tokens)}) if exchange.usage else b""
        yield last + DONE
    finally:
        audience.gone = True


async def whole(exchange: Exchange, receive: Receive) -> Response:
    """All answers in one piece. A client that goes away frees their slots."""
    try:
        found = await unless_disconnected(asyncio.ensure_future(_collect(exchange)), receive)
    finally:
        exchange.audience.gone = True
    if found is None:
        return Response(status_code=499)  # nobody reads it
    choices = []
    for index, pieces in enumerate(found):
        if pieces[-1].finish_reason == "error":
            raise lost()
        text = "".join(piece.text for piece in pieces)
        logprobs = exchange.logprobs([each for piece in pieces for each in piece.likely])
        choices.append(protocol.choice(exchange.chat, index, text, pieces[-1].finish_reason, logprobs))
    used = exchange.used(sum(pieces[-1].tokens for pieces in found))
    body = protocol.heading(exchange.chat, exchange.name, stream=False) | {"choices": choices, "usage": used}
    return Response(orjson.dumps(body), media_type="application/json")


async def unless_disconnected(work: "asyncio.Future[Any]", receive: Receive) -> Any:
    """The result of `work`, or None when the client went away first, in which case `work` is cancelled."""
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        return work.result() if work.done() else None
    finally:
        for task in (work, gone):
            task.cancel()
        await asyncio.gather(work, gone, return_exceptions=True)


def lost() -> ProtocolError:
    """What is said when a batch failed."""
    return ProtocolError(500, "the model failed on this batch; try again", code="generation_failed")


async def _collect(exchange: Exchange) -> list[list[Piece]]:
    found: list[list[Piece]] = [[] for _ in exchange.group]
    left = len(found)
    while left:
        index, piece = await exchange.audience.pieces.get()
        found[index].append(piece)
        left -= piece.finish_reason is not None
    return found


async def _pieces(audience: Audience) -> list[tuple[int, Piece]]:
    """At least one piece, and all that are there."""
    found = [await audience.pieces.get()]
    while not audience.pieces.empty():
        found.append(audience.pieces.get_nowait())
    return found


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"
