"""The routes: `/v1/chat/completions`, `/v1/completions`, `/v1/models`, `/health`, `/ready`, `/metrics`."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from llmops_assets.serving.runtime import protocol
from llmops_assets.serving.runtime.engine import Engine, Generation, Piece
from llmops_assets.serving.runtime.protocol import ChatBody, CompletionBody, ProtocolError

LARGEST_BODY = 4 * 2**20  # bytes


def build_app(engine: Engine, name: str) -> Starlette:
    """The server for one engine, whose model callers know as `name`. The app starts and stops the engine."""
    served = _Served(engine, name)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        engine.start()
        yield
        await asyncio.to_thread(engine.stop)

    return Starlette(
        routes=[
            Route("/v1/chat/completions", served.chat, methods=["POST"]),
            Route("/v1/completions", served.completions, methods=["POST"]),
            Route("/v1/models", served.models),
            Route("/v1/models/{model:path}", served.model),
            Route("/health", served.health),
            Route("/ready", served.ready),
            Route("/metrics", served.metrics),
        ],
        exception_handlers={ProtocolError: _as_answer, HTTPException: _http_as_answer},
        lifespan=lifespan,
    )


class _Served:
    """The handlers of the routes, over one engine and the name of its model."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine, self._name = engine, name

    async def chat(self, request: Request) -> Response:
        body = protocol.read_chat(await _raw(request))
        self._check(body.model)
        tokenizer = self._engine.tokenizer
        if not tokenizer.chat_template:
            message = f"{self._name!r} is a base model without a chat template: use /v1/completions"
            raise ProtocolError(400, message, code="no_chat_template")
        messages = protocol.turns(body, list(tokenizer.get_added_vocab()))
        try:
            prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except Exception as error:  # the template is the model's own program and may refuse in any way
            message = f"the model's chat template refuses these messages: {error}"
            raise ProtocolError(400, message, code="invalid_messages", param="messages") from error
        return await self._answer(request, body, str(prompt))

    async def completions(self, request: Request) -> Response:
        body = protocol.read_completion(await _raw(request))
        self._check(body.model)
        return await self._answer(request, body, body.prompt)

    async def models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._card()]})

    async def model(self, request: Request) -> Response:
        if request.path_params["model"] != self._name:
            raise ProtocolError(404, "there is no such model here", code="model_not_found", param="model")
        return JSONResponse(self._card())

    async def health(self, _: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def ready(self, _: Request) -> Response:
        loaded = self._engine.ready.is_set()
        return JSONResponse({"status": "ready" if loaded else "loading", "model": self._name}, 200 if loaded else 503)

    async def metrics(self, _: Request) -> Response:
        figures = (
            ("requests_running", "gauge", self._engine.running),
            ("requests_waiting", "gauge", self._engine.waiting),
            ("requests_total", "counter", self._engine.requests_total),
            ("generated_tokens_total", "counter", self._engine.tokens_total),
        )
        lines = [f"# TYPE llmops_runtime_{n} {kind}\nllmops_runtime_{n} {value}\n" for n, kind, value in figures]
        return PlainTextResponse("".join(lines), media_type="text/plain; version=0.0.4")

    def _card(self) -> dict[str, Any]:
        return {"id": self._name, "object": "model", "created": 0, "owned_by": "llmops"}

    def _check(self, model: str) -> None:
        if model != self._name:
            message = f"the model {model!r} does not exist here; this server has {self._name!r}"
            raise ProtocolError(404, message, code="model_not_found", param="model")
        if not self._engine.ready.is_set():
            raise ProtocolError(503, "the model is still loading", code="model_not_ready")

    async def _answer(self, request: Request, body: ChatBody | CompletionBody, text: str) -> Response:
        generation = self._generation(body, self._engine.encode(text))
        if not self._engine.submit(generation):
            raise ProtocolError(429, "too many requests are waiting; try again in a second", code="queue_full")
        if body.stream:
            return EventStream(_events(generation, self._name, body))
        return await _whole(request, generation, self._name, isinstance(body, ChatBody))

    def _generation(self, body: ChatBody | CompletionBody, prompt: list[int]) -> Generation:
        context = self._engine.context_length
        room = context - len(prompt)
        wanted = body.limit or max(room, 1)
        param = "messages" if isinstance(body, ChatBody) else "prompt"
        if not prompt:
            raise ProtocolError(400, "the prompt has no tokens", code="invalid_value", param=param)
        if wanted > room:
            message = (
                f"the context has {context} tokens: {len(prompt)} of the prompt and {wanted} of the answer do not fit"
            )
            raise ProtocolError(400, message, code="context_length_exceeded", param=param)
        default = self._engine.default_temperature
        return Generation(
            prompt=prompt,
            max_tokens=wanted,
            temperature=default if body.temperature is None else body.temperature,
            top_p=body.top_p,
            seed=body.seed,
            stops=body.stops,
            loop=asyncio.get_running_loop(),
        )


class EventStream(Response):
    """Server-sent events from `lines`; when the client goes away the iterator is closed at once."""

    media_type = "text/event-stream"

    def __init__(self, lines: AsyncIterator[str]) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        async def stream() -> None:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for line in self._lines:
                await send({"type": "http.response.body", "body": line.encode(), "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        await _unless_disconnected(asyncio.ensure_future(stream()), receive)


async def _events(generation: Generation, name: str, body: ChatBody | CompletionBody) -> AsyncIterator[str]:
    """The chunks of a stream, `[DONE]` last. Leaving early frees the slot."""
    chat = isinstance(body, ChatBody)
    head = protocol.heading(chat, name, stream=True) | ({"usage": None} if body.wants_usage else {})
    try:
        if chat:
            yield _event(head | {"choices": [protocol.chunk_choice(chat, "", None, first=True)]})
        while True:
            piece = await generation.pieces.get()
            if piece.finish_reason == "error":
                yield _event(_lost().body())
                return
            if piece.text:
                yield _event(head | {"choices": [protocol.chunk_choice(chat, piece.text, None)]})
            if piece.finish_reason:
                break
        yield _event(head | {"choices": [protocol.chunk_choice(chat, "", piece.finish_reason)]})
        if body.wants_usage:
            yield _event(head | {"choices": [], "usage": protocol.usage(len(generation.prompt), piece.tokens)})
        yield "data: [DONE]\n\n"
    finally:
        generation.cancelled.set()


async def _whole(request: Request, generation: Generation, name: str, chat: bool) -> Response:
    """The answer in one piece. A client that goes away frees the slot."""
    collecting = asyncio.ensure_future(_collect(generation))
    try:
        collected = await _unless_disconnected(collecting, request.receive)
    finally:
        generation.cancelled.set()
    if collected is None:
        return Response(status_code=499)  # nobody reads it
    text, last = collected
    if last.finish_reason == "error":
        raise _lost()
    return JSONResponse(
        protocol.heading(chat, name, stream=False)
        | {
            "choices": [protocol.choice(chat, text, last.finish_reason)],
            "usage": protocol.usage(len(generation.prompt), last.tokens),
        }
    )


async def _collect(generation: Generation) -> tuple[str, Piece]:
    parts: list[str] = []
    while True:
        piece = await generation.pieces.get()
        parts.append(piece.text)
        if piece.finish_reason:
            return "".join(parts), piece


async def _unless_disconnected(work: "asyncio.Future[Any]", receive: Receive) -> Any:
    """The result of `work`, or None when the client went away first, in which case `work` is cancelled."""
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        return work.result() if work.done() else None
    finally:
        for task in (work, gone):
            task.cancel()
        await asyncio.gather(work, gone, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _raw(request: Request) -> bytes:
    raw = bytearray()
    async for part in request.stream():
        raw += part
        if len(raw) > LARGEST_BODY:
            raise ProtocolError(413, f"the body is larger than {LARGEST_BODY} bytes", code="body_too_large")
    return bytes(raw)


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def _lost() -> ProtocolError:
    return ProtocolError(500, "the model failed on this batch; try again", code="generation_failed")


async def _as_answer(_: Request, error: Exception) -> Response:
    assert isinstance(error, ProtocolError)  # noqa: S101  (registered for this class)
    headers = {"Retry-After": "1"} if error.status in {429, 503} else {}
    return JSONResponse(error.body(), error.status, headers)


async def _http_as_answer(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  (registered for this class)
    body = ProtocolError(error.status_code, error.detail, code="not_found").body()
    return JSONResponse(body, error.status_code, error.headers)
