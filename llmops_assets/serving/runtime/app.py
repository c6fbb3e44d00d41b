"""The routes: `/v1/chat/completions`, `/v1/completions`, `/v1/models`, `/health`, `/ready`, `/metrics`."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from llmops_assets.serving.runtime import protocol, streaming
from llmops_assets.serving.runtime.engine import Engine
from llmops_assets.serving.runtime.prompts import Templates
from llmops_assets.serving.runtime.protocol import ChatBody, CompletionBody, ProtocolError
from llmops_assets.serving.runtime.requests import Audience, Generation, Sampling

if TYPE_CHECKING:
    from llmops_assets.serving.runtime.loading import Loaded

LARGEST_BODY: Final = 4 * 2**20  # bytes
SLOWEST_BODY: Final = 30.0  # seconds


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
        exception_handlers={ProtocolError: _as_answer, HTTPException: _http_as_answer, ClientDisconnect: _to_nobody},
        lifespan=lifespan,
    )


class _Served:
    """The handlers of the routes, over one engine and the name of its model."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine, self._name = engine, name
        self._templates: Templates | None = None

    async def chat(self, request: Request) -> Response:
        body = protocol.read_chat(await _raw(request))
        self._check(body.model)
        if self._templates is None:
            self._templates = Templates(self._loaded, self._name)
        prompt = self._templates.chat(body)
        return await self._answer(request, body, prompt.ids, prompt.shared)

    async def completions(self, request: Request) -> Response:
        body = protocol.read_completion(await _raw(request))
        self._check(body.model)
        return await self._answer(request, body, self._loaded.encode(body.prompt), 0)

    async def models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._card()]})

    async def model(self, request: Request) -> Response:
        if request.path_params["model"] != self._name:
            raise ProtocolError(404, "there is no such model here", code="model_not_found", param="model")
        return JSONResponse(self._card())

    async def health(self, _: Request) -> Response:
        hung = self._engine.hung
        return JSONResponse({"status": "hung" if hung else "alive"}, 503 if hung else 200)

    async def ready(self, _: Request) -> Response:
        state = "hung" if self._engine.hung else "loading" if self._engine.loaded is None else "ready"
        return JSONResponse({"status": state, "model": self._name}, 200 if state == "ready" else 503)

    async def metrics(self, _: Request) -> Response:
        return Response(self._engine.measures.text(), media_type="text/plain; version=0.0.4")

    @property
    def _loaded(self) -> "Loaded":
        loaded = self._engine.loaded
        if loaded is None:
            raise ProtocolError(503, "the model is still loading", code="model_not_ready")
        return loaded

    def _card(self) -> dict[str, Any]:
        return {"id": self._name, "object": "model", "created": 0, "owned_by": "llmops"}

    def _check(self, model: str) -> None:
        if model != self._name:
            message = f"the model {model!r} does not exist here; this server has {self._name!r}"
            raise ProtocolError(404, message, code="model_not_found", param="model")
        _ = self._loaded

    async def _answer(
        self, request: Request, body: ChatBody | CompletionBody, prompt: list[int], shared: int
    ) -> Response:
        group = self._group(body, prompt, shared)
        if not self._engine.submit(group):
            raise ProtocolError(429, "too many requests are waiting; try again in a second", code="queue_full")
        exchange = streaming.Exchange(self._loaded, self._name, isinstance(body, ChatBody), body.wants_usage, group)
        if body.stream:
            return streaming.EventStream(streaming.events(exchange))
        return await streaming.whole(exchange, request.receive)

    def _group(self, body: ChatBody | CompletionBody, prompt: list[int], shared: int) -> list[Generation]:
        """The answers that a request asks for; with a seed each has its own, made from it."""
        loaded = self._loaded
        temperature = loaded.default_temperature if body.temperature is None else body.temperature
        audience, now = Audience(), time.monotonic()
        limit = self._limit(body, prompt)
        return [
            Generation(
                prompt=prompt,
                shared=shared,
                max_tokens=limit,
                sampling=Sampling(
                    temperature,
                    body.top_p,
                    random.Random(None if body.seed is None else body.seed + index),  # noqa: S311
                ),
                audience=audience,
                index=index,
                stops=body.stops,
                ends=frozenset(loaded.special[stop] for stop in body.stops if stop in loaded.special),
                logprobs=body.wants_logprobs,
                asked_at=now,
            )
            for index in range(body.n)
        ]

    def _limit(self, body: ChatBody | CompletionBody, prompt: list[int]) -> int:
        """The most tokens of the answer. Raises ProtocolError when there is no room for them."""
        context = self._loaded.context_length
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
        return wanted


async def _raw(request: Request) -> bytes:
    raw = bytearray()
    try:
        async with asyncio.timeout(SLOWEST_BODY):
            async for part in request.stream():
                raw += part
                if len(raw) > LARGEST_BODY:
                    raise ProtocolError(413, f"the body is larger than {LARGEST_BODY} bytes", code="body_too_large")
    except TimeoutError as error:
        message = f"the body did not come within {SLOWEST_BODY:.0f} seconds"
        raise ProtocolError(408, message, code="body_too_slow") from error
    return bytes(raw)


async def _as_answer(_: Request, error: Exception) -> Response:
    assert isinstance(error, ProtocolError)  # noqa: S101  (registered for this class)
    headers = {"Retry-After": "1"} if error.status in {429, 503} else {}
    return JSONResponse(error.body(), error.status, headers)


async def _http_as_answer(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  (registered for this class)
    body = ProtocolError(error.status_code, error.detail, code="not_found").body()
    return JSONResponse(body, error.status_code, error.headers)


async def _to_nobody(_: Request, __: Exception) -> Response:
    return Response(status_code=499)
