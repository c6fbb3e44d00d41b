"""The chat gateway: a pure ASGI callable that answers from memory, without a database in the request."""

import asyncio
import itertools
import logging
import os
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from uuid import UUID

import orjson
from starlette.types import Receive, Scope, Send

from llmops_resources import outbound
from llmops_resources.catalog.providers import Provider
from llmops_resources.database import Actor
from llmops_resources.errors import InvalidInput, NotFound, PlatformError, TooManyRequests, Unavailable, UpstreamFailed
from llmops_resources.gateway import chat, fresh, routes, rules, usage
from llmops_resources.gateway.drain import Drainer
from llmops_resources.gateway.routes import RouteTable, Snapshot, Target
from llmops_resources.gateway.rules import Rules, RuleTable
from llmops_resources.gateway.spool import Spool
from llmops_resources.gateway.usage import UsageRecord
from llmops_resources.governance.permissions import Permission
from llmops_resources.inference import Inference, Patience, open_inference
from llmops_resources.platform import Platform
from llmops_resources.settings import Settings
from serving_api.chat import metrics
from serving_api.chat.callers import Caller, caller_of
from serving_api.chat.exchange import ClientGone, Exchange
from serving_api.chat.relay import Call, Relay
from serving_api.chat.surfaces import Enveloped, OpenAI, Surface
from serving_api.identity import demanded, denied

GATEWAY = Actor("system:gateway")
SERVE = "/llm-ops/v1/serve/"
OPENAI = "/openai/v1"
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{8,64}")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rule:
    """One route of the gateway: what it answers to, and the permission it asks for."""

    method: str
    path: re.Pattern[str]
    permission: Permission
    handler: Callable[["ChatGateway", "Request"], Awaitable[None]]


@dataclass(frozen=True)
class Request:
    """A permitted request: the exchange, who asks, and the name in the path, if any."""

    exchange: Exchange
    id: UUID
    caller: Caller
    name: str
    surface: Surface


class ChatGateway:
    """Answers everything under /llm-ops/v1/serve/ and /openai/v1. Start it inside the event loop that serves."""

    def __init__(self, platform: Platform, *, patience: Patience | None = None) -> None:
        self._platform = platform
        self._patience = patience
        self._spool = Spool(platform.settings.home / "spool")
        self._routes = RouteTable(self._read_routes, conninfo(platform))
        self._rules = RuleTable(self._read_rules, conninfo(platform))
        self._prefix = int.from_bytes(os.urandom(8)) << 64
        self._numbers = itertools.count(1)
        self._open = AsyncExitStack()
        self._inside: Inference | None = None
        self._outside: Inference | None = None

    def owns(self, path: str) -> bool:
        """Whether a request to this path is for the gateway."""
        return path.startswith((SERVE, OPENAI + "/")) or path == OPENAI

    def freshness(self) -> str:
        """`ok`, or why the routes or the rules may be out of date."""
        stale = self._routes.stale or self._rules.stale
        return f"not confirmed for {fresh.STALE_AFTER:.0f} s" if stale else "ok"

    async def start(self) -> None:
        """Read the routes and begin to keep them fresh, and to move usage into the database."""
        self._inside = open_inference(self._patience)
        self._open.push_async_callback(self._inside.close)
        self._outside = _open_outside(self._platform.settings, self._patience or Patience())
        self._open.push_async_callback(self._outside.close)
        drainer = Drainer(self._spool, self._deliver)
        drainer.start()
        self._open.push_async_callback(asyncio.to_thread, drainer.stop)
        await self._open.enter_async_context(self._rules.kept_fresh())
        await self._open.enter_async_context(self._routes.kept_fresh())

    async def stop(self) -> None:
        """Let go of everything; usage still in the spool is moved if the database is there."""
        await self._open.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a WebSocket is refused."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000, "reason": "there is no WebSocket here"})
            return
        number = UUID(int=self._prefix | next(self._numbers))
        exchange = Exchange(scope, receive, send, _request_id(scope, number))
        surface: Surface = Enveloped() if exchange.path.startswith(SERVE) else OpenAI()
        started = time.perf_counter()
        try:
            await self._dispatch(exchange, number, surface)
        except ClientGone:
            exchange.status = 499  # as proxies log a client that left
        except PlatformError as error:
            status, body = surface.failure(error)
            await exchange.answer(status, body, _retry_after(error))
        except Exception:
            logger.exception("unexpected error", extra={"request_id": exchange.request_id})
            if exchange.status is not None:
                raise  # the answer has begun: the server cuts it off
            _status, body = surface.failure(UpstreamFailed("an unexpected error happened; the log has the details"))
            await exchange.answer(500, body)
        metrics.count_request(exchange.route or metrics.UNKNOWN, surface.name, exchange.status or 500)
        logger.debug(
            "%s %s", exchange.method, exchange.path,
            extra={"request_id": exchange.request_id, "status": exchange.status, "s": time.perf_counter() - started},
        )  # fmt: skip

    async def _dispatch(self, exchange: Exchange, number: UUID, surface: Surface) -> None:
        fitting = [(rule, match) for rule in RULES if (match := rule.path.fullmatch(exchange.path))]
        if not fitting or exchange.is_encoded:  # no name of ours needs percent-encoding; a trick might
            raise NotFound("there is nothing at this path", remedy="See /openapi.json for what there is.")
        for rule, match in fitting:
            if rule.method == exchange.method:
                name = match.groupdict().get("name", "")
                caller = caller_of(self._platform.settings, self._rules.snapshot, exchange.headers)
                await demanded(self._platform, caller.actor, rule.permission, name or exchange.path)
                return await rule.handler(self, Request(exchange, number, caller, name, surface))
        allowed = ", ".join(sorted({rule.method for rule, _ in fitting}))
        error = InvalidInput(f"{exchange.method[:20]} is not possible here", remedy=f"Use {allowed}.")
        _status, body = surface.failure(error)
        return await exchange.answer(405, body, [(b"allow", allowed.encode())])

    async def chat(self, request: Request) -> None:
        """`POST /llm-ops/v1/serve/{route}/chat`."""
        target = await self._target(request, request.name)
        asked = chat.read_chat(await request.exchange.json_body())
        newer = target.external is not None and target.external.config.provider is Provider.OPENAI
        body = chat.upstream_chat(asked, target.served_name, counts_reasoning=newer)
        await self._carry(request, target, request.surface, "/v1/chat/completions", body, asked.stream)

    async def health(self, request: Request) -> None:
        """`GET /llm-ops/v1/serve/{route}/health`: the route's model server, asked now; a provider as last probed."""
        target = await self._target(request, request.name)
        if target.external is None and not await self._door(target).healthy(target.base_url or ""):
            raise Unavailable(f"the model server of {target.route} does not answer", remedy="Try again in a moment.")
        data = {
            "route": target.route,
            "environment": target.environment,
            "status": target.status,
            "endpointId": target.endpoint_id,
            "modelId": target.model_id,
            "modelName": target.model_name,
            "version": target.version,
            "revision": target.revision,
        }
        await request.exchange.answer(200, orjson.dumps({"status": "success", "message": "", "data": data}))

    async def completions(self, request: Request) -> None:
        """`POST /openai/v1/chat/completions` and `/openai/v1/completions`: `model` names the route."""
        raw = await request.exchange.json_body()
        asked = chat.read_openai(raw)
        target = await self._target(request, asked.model)
        body = chat.upstream_openai(raw, asked, target.served_name)
        path = request.exchange.path.removeprefix("/openai")
        surface = OpenAI(wants_usage=asked.wants_usage)
        await self._carry(request, target, surface, path, body, bool(asked.stream))

    async def models(self, request: Request) -> None:
        """`GET /openai/v1/models`: the routes that can answer."""
        targets = self._routes.snapshot.targets.values()
        serving = [_model(each) for each in targets if each.refusal is None and request.caller.opens(each.route)]
        await request.exchange.answer(200, orjson.dumps({"object": "list", "data": serving}))

    async def model(self, request: Request) -> None:
        """`GET /openai/v1/models/{route}`."""
        await request.exchange.answer(200, orjson.dumps(_model(await self._target(request, request.name))))

    async def _carry(
        self, request: Request, target: Target, surface: Surface, path: str, body: bytes, streamed: bool
    ) -> None:
        call = Call(request.id, request.caller, target, surface, path, body, streamed)
        request.exchange.route = target.route
        relay = Relay(self._door(target), self._spool, lambda key: self._rules.snapshot.holds(key))
        await relay.carry(request.exchange, call)

    async def _target(self, request: Request, route: str) -> Target:
        """The target of a route that can answer the caller now. A route that is not theirs is, to them, not there."""
        target = self._routes.snapshot.find(route)
        if not request.caller.opens(target.route):
            reason = f"the API key is not for the route {target.route}"
            await denied(self._platform, request.caller.actor, Permission.CHAT, target.route, reason)
            raise routes.unknown(route)
        return self._routes.snapshot.serving(route)

    def _door(self, target: Target) -> Inference:
        door = self._inside if target.external is None else self._outside
        if door is None:
            raise Unavailable("the gateway is starting", remedy="Try again in a moment.")
        return door

    def _read_routes(self) -> Snapshot:
        with self._platform.transaction(GATEWAY) as tx:
            return routes.load(tx, self._platform.settings)

    def _read_rules(self) -> Rules:
        with self._platform.transaction(GATEWAY) as tx:
            return rules.load(tx)

    def _deliver(self, records: Sequence[UsageRecord]) -> None:
        with self._platform.transaction(GATEWAY) as tx:
            usage.record_batch(tx, records)


#: Every route of the gateway with its permission; the route census reads this.
RULES: tuple[Rule, ...] = (
    Rule("POST", re.compile(SERVE + r"(?P<name>[^/]+)/chat"), Permission.CHAT, ChatGateway.chat),
    Rule("GET", re.compile(SERVE + r"(?P<name>[^/]+)/health"), Permission.SERVING_READ, ChatGateway.health),
    Rule("POST", re.compile(OPENAI + r"/(chat/)?completions"), Permission.CHAT, ChatGateway.completions),
    Rule("GET", re.compile(OPENAI + r"/models"), Permission.CHAT, ChatGateway.models),
    Rule("GET", re.compile(OPENAI + r"/models/(?P<name>[^/]+)"), Permission.CHAT, ChatGateway.model),
)


def conninfo(platform: Platform) -> str:
    """The database's address as libpq spells it."""
    return platform.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


def _open_outside(settings: Settings, patience: Patience) -> Inference:
    """The door to providers: the same protocol, through the session that stays out of private networks."""
    session = outbound.open_session(
        allowed_hosts=settings.outbound_allowed_hosts,
        connect=patience.connect,
        silence=patience.silence,
        total=patience.answer,
    )
    return Inference(session, patience, lambda error: outbound.meaning(error, "the provider"))


def _model(target: Target) -> dict[str, object]:
    created = int(target.created_at.timestamp())
    return {"id": target.route, "object": "model", "created": created, "owned_by": target.model_name}


def _request_id(scope: Scope, number: UUID) -> str:
    """The id the request log gave; without one, the client's if it is sane, or the call's own."""
    given = scope.get("state", {}).get("request_id")
    if given is None:
        sent = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
        given = sent if _REQUEST_ID.fullmatch(sent) else number.hex
    return str(given)


def _retry_after(error: PlatformError) -> list[tuple[bytes, bytes]]:
    if isinstance(error, TooManyRequests):
        return [(b"retry-after", b"%d" % max(1, round(error.retry_after)))]
    return [(b"retry-after", b"5")] if isinstance(error, Unavailable) else []
