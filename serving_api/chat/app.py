"""The chat gateway: a pure ASGI callable that answers from memory, without a database in the request."""

import asyncio
import itertools
import logging
import os
import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from uuid import UUID

import msgspec
import orjson
from starlette.types import Receive, Scope, Send

from llmops_resources.database import Actor
from llmops_resources.errors import InvalidInput, NotFound, PlatformError, TooManyRequests, Unavailable, UpstreamFailed
from llmops_resources.gateway import chat, feedback, fresh, personal, routes, rules
from llmops_resources.gateway.asks import Ask, ChatAsk, OpenAIAsk
from llmops_resources.gateway.feedback import Feedback, Said
from llmops_resources.gateway.masking import Masker
from llmops_resources.gateway.routes import RouteTable, Snapshot, Target
from llmops_resources.gateway.rules import Rules, RuleTable
from llmops_resources.governance.api_keys import Bearer
from llmops_resources.governance.permissions import Permission, may
from llmops_resources.inference import Inference, Inside, Patience, open_inference
from llmops_resources.platform import Platform
from serving_api.chat import metrics
from serving_api.chat.attempts import Attempts
from serving_api.chat.bookkeeping import GATEWAY, Bookkeeping
from serving_api.chat.callers import Caller, Callers
from serving_api.chat.deadlines import Deadlines
from serving_api.chat.exchange import ClientGone, Exchange
from serving_api.chat.passage import Passage, Passenger
from serving_api.chat.relay import Relay
from serving_api.chat.surfaces import Enveloped, OpenAI, Surface
from serving_api.chat.terms import Terms, terms_of
from serving_api.identity import demanded, denied
from serving_api.requests import RequestIds

if TYPE_CHECKING:
    from llmops_resources.outside import Outside

SERVE = "/llm-ops/v1/serve/"
OPENAI = "/openai/v1"
_LONGEST_KEPT: Final = 200  # characters
_MOST_TERMS: Final = 1000  # names of routes, of one caller
_ENVELOPED: Final = Enveloped()
_OPENAI: Final = OpenAI()

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rule:
    """One route of the gateway: what it answers to, and the permission it asks for."""

    method: str
    path: re.Pattern[str]
    permission: Permission
    handler: Callable[["ChatGateway", "Request"], Awaitable[None]]


class Request(msgspec.Struct, frozen=True):
    """A permitted request: the exchange, who asks, and the name in the path, if any."""

    exchange: Exchange
    caller: Caller
    name: str
    surface: Surface


class ChatGateway:
    """Answers everything under /llm-ops/v1/serve/ and /openai/v1. Start it inside the event loop that serves."""

    def __init__(self, platform: Platform, *, patience: Patience | None = None) -> None:
        self._platform = platform
        self._patience = patience
        self._books = Bookkeeping(platform)
        self._routes = RouteTable(self._read_routes, conninfo(platform))
        self._rules = RuleTable(self._read_rules, conninfo(platform))
        self._callers = Callers(platform.settings)
        self._masker = Masker(lambda: personal.finder(platform.check_options()))
        self._relay = Relay(Attempts(self._door), self._still_valid)
        self._passage = Passage(self._books, self._relay, self._masker)
        self._prefix = int.from_bytes(os.urandom(8)) << 64
        self._numbers = itertools.count(1)
        self._open = AsyncExitStack()
        self._ids = RequestIds()
        self._deadlines: Deadlines | None = None
        self._inside: Inside | None = None
        self._outside: Outside | None = None

    def owns(self, path: str) -> bool:
        """Whether a request to this path is for the gateway."""
        return path.startswith((SERVE, OPENAI + "/")) or path == OPENAI

    def freshness(self) -> str:
        """`ok`, or why the routes or the rules may be out of date."""
        stale = self._routes.stale or self._rules.stale
        return f"not confirmed for {fresh.STALE_AFTER:.0f} s" if stale else "ok"

    async def start(self) -> None:
        """Read the routes and begin to keep them fresh, and to move usage into the database."""
        self._deadlines = Deadlines(asyncio.get_running_loop())
        self._inside = open_inference(self._patience)
        self._open.push_async_callback(self._inside.close)
        self._open.callback(self._masker.close)
        await self._open.enter_async_context(self._books.kept())
        await self._open.enter_async_context(self._rules.kept_fresh())
        await self._open.enter_async_context(self._routes.kept_fresh())

    async def stop(self) -> None:
        """Let go of everything; usage still in the spool is moved if the database is there."""
        await self._open.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a WebSocket is refused."""
        if scope["type"] == "http":
            return await self.answer(self.exchange(scope, receive, send))
        return await send({"type": "websocket.close", "code": 1000, "reason": "there is no WebSocket here"})

    def exchange(self, scope: Scope, receive: Receive, send: Send) -> Exchange:
        """An HTTP request, of the task that answers it."""
        if self._deadlines is None:
            self._deadlines = Deadlines(asyncio.get_running_loop())
        return Exchange(scope, receive, send, self._ids, self._deadlines)

    async def answer(self, exchange: Exchange) -> None:
        """Answer one request, whatever happens; only one whose answer had begun may raise, so that it is cut off."""
        surface: Surface = _ENVELOPED if exchange.path.startswith(SERVE) else _OPENAI
        try:
            fitting = _fitting(exchange.path) if len(exchange.path) < _LONGEST_KEPT else _fits(exchange.path)
            if not fitting or exchange.is_encoded:  # no name of ours needs percent-encoding; a trick might
                raise NotFound("there is nothing at this path", remedy="See /openapi.json for what there is.")
            for rule, name in fitting:
                if rule.method == exchange.method:
                    caller = self._callers.of(self._rules.snapshot, exchange)
                    if not may(caller.actor, rule.permission):
                        await demanded(self._platform, caller.actor, rule.permission, name or exchange.path)
                    await rule.handler(self, Request(exchange, caller, name, surface))
                    break
            else:
                await _refuse_method(exchange, surface, fitting)
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
        finally:
            metrics.count(exchange.route or metrics.UNKNOWN, surface.name, exchange.status or 500, exchange.taken)

    async def chat(self, request: Request) -> None:
        """`POST /llm-ops/v1/serve/{route}/chat`."""
        terms = self._known_terms(request, request.name) or await self._terms(request, request.name)
        raw = await request.exchange.json_body()
        ask = ChatAsk(chat.read_chat(raw), len(raw))
        await self._passage.take(self._passenger(request, terms, request.surface, ask))

    async def health(self, request: Request) -> None:
        """`GET /llm-ops/v1/serve/{route}/health`: the route's model server, asked now; a provider as last probed."""
        target = await self._serving(request, request.name)
        ours = target.external is None
        if ours and not (self._inside and await self._inside.healthy(target.base_url or "")):
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

    async def feedback(self, request: Request) -> None:
        """`POST /llm-ops/v1/serve/{route}/feedback`: what a user says of an answer. It is kept, in a thread."""
        await self._target(request, request.name)
        said = feedback.read(await request.exchange.json_body())
        given = await asyncio.to_thread(self._give, request.caller.actor, said)
        body = {"status": "success", "message": "thank you", "data": given.json_dict()}
        await request.exchange.answer(200, orjson.dumps(body))

    async def completions(self, request: Request) -> None:
        """`POST /openai/v1/chat/completions` and `/openai/v1/completions`: `model` names the route."""
        raw = await request.exchange.json_body()
        asked = chat.read_openai(raw)
        terms = self._known_terms(request, asked.model) or await self._terms(request, asked.model)
        ask = OpenAIAsk(raw, asked, request.exchange.path.removeprefix("/openai"))
        await self._passage.take(self._passenger(request, terms, OpenAI(wants_usage=asked.wants_usage), ask))

    async def models(self, request: Request) -> None:
        """`GET /openai/v1/models`: the routes that can answer."""
        targets = self._routes.snapshot.targets.values()
        serving = [_model(each) for each in targets if each.serves and request.caller.opens(each.route)]
        await request.exchange.answer(200, orjson.dumps({"object": "list", "data": serving}))

    async def model(self, request: Request) -> None:
        """`GET /openai/v1/models/{route}`."""
        await request.exchange.answer(200, orjson.dumps(_model(await self._serving(request, request.name))))

    def _passenger(self, request: Request, terms: Terms, surface: Surface, ask: Ask) -> Passenger:
        request.exchange.route = terms.route
        number = UUID(int=self._prefix | next(self._numbers))
        return Passenger(number, request.exchange, request.caller, surface, ask, terms)

    async def _target(self, request: Request, route: str) -> Target:
        """The target of a route, if it is the caller's; one that is not is, to them, not there."""
        target = self._routes.snapshot.find(route)
        if not request.caller.opens(target.route):
            reason = f"the API key is not for the route {target.route}"
            await denied(self._platform, request.caller.actor, Permission.CHAT, target.route, reason)
            raise routes.unknown(route)
        return target

    async def _serving(self, request: Request, route: str) -> Target:
        target = await self._target(request, route)
        if refusal := target.refusal:
            raise refusal
        return target

    def _known_terms(self, request: Request, route: str) -> Terms | None:
        """What holds for the caller on a route, if that was found out before and is still so."""
        terms = request.caller.terms.get(route)
        holds = terms and terms.routes is self._routes.snapshot and terms.rules is self._rules.snapshot
        return terms if holds else None

    async def _terms(self, request: Request, route: str) -> Terms:
        """What holds for the caller on a route. Raises as `_target` and `terms_of`."""
        routes, rules, known = self._routes.snapshot, self._rules.snapshot, request.caller.terms
        if len(known) >= _MOST_TERMS:
            known.clear()
        target = await self._target(request, route)
        terms = known[route] = terms_of(request.caller.key, target, routes, rules)
        return terms

    def _door(self, target: Target) -> Inference:
        if target.external is not None:
            return self._outside or self._open_outside()
        if self._inside is None:
            raise Unavailable("the gateway is starting", remedy="Try again in a moment.")
        return self._inside

    def _open_outside(self) -> "Outside":
        from llmops_resources.outside import open_outside  # noqa: PLC0415  `_read_routes` loaded it

        patience = self._patience or Patience()
        self._outside = open_outside(self._platform.settings.outbound_allowed_hosts, patience)
        self._open.push_async_callback(self._outside.close)
        return self._outside

    def _read_routes(self) -> Snapshot:
        """Called in a thread, where loading the providers' door with its HTTP client holds up no call."""
        with self._platform.transaction(GATEWAY) as tx:
            found = routes.load(tx, self._platform.settings)
        if any(target.external for target in found.targets.values()):
            import llmops_resources.outside  # noqa: F401, PLC0415  10 MB, for those who have a provider
        return found

    def _give(self, actor: Actor, said: Said) -> Feedback:
        with self._platform.transaction(actor) as tx:
            return feedback.give(tx, said)

    def _still_valid(self, key: Bearer | None) -> bool:
        return self._rules.snapshot.holds(key)

    def _read_rules(self) -> Rules:
        with self._platform.transaction(GATEWAY) as tx:
            return rules.load(tx)


#: Every route of the gateway with its permission; the route census reads this.
RULES: tuple[Rule, ...] = (
    Rule("POST", re.compile(SERVE + r"(?P<name>[^/]+)/chat"), Permission.CHAT, ChatGateway.chat),
    Rule("GET", re.compile(SERVE + r"(?P<name>[^/]+)/health"), Permission.SERVING_READ, ChatGateway.health),
    Rule("POST", re.compile(SERVE + r"(?P<name>[^/]+)/feedback"), Permission.CHAT, ChatGateway.feedback),
    Rule("POST", re.compile(OPENAI + r"/(chat/)?completions"), Permission.CHAT, ChatGateway.completions),
    Rule("GET", re.compile(OPENAI + r"/models"), Permission.CHAT, ChatGateway.models),
    Rule("GET", re.compile(OPENAI + r"/models/(?P<name>[^/]+)"), Permission.CHAT, ChatGateway.model),
)


def conninfo(platform: Platform) -> str:
    """The database's address as libpq spells it."""
    return platform.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


def _fits(path: str) -> tuple[tuple[Rule, str], ...]:
    """The rules of a path, and the name in it."""
    found = ((rule, rule.path.fullmatch(path)) for rule in RULES)
    return tuple((rule, match.groupdict().get("name", "")) for rule, match in found if match)


_fitting = lru_cache(maxsize=1024)(_fits)  # the same few paths are asked for all the time


def _model(target: Target) -> dict[str, object]:
    created = int(target.created_at.timestamp())
    return {"id": target.route, "object": "model", "created": created, "owned_by": target.model_name}


async def _refuse_method(exchange: Exchange, surface: Surface, fitting: tuple[tuple[Rule, str], ...]) -> None:
    allowed = ", ".join(sorted({rule.method for rule, _ in fitting}))
    error = InvalidInput(f"{exchange.method[:20]} is not possible here", remedy=f"Use {allowed}.")
    _status, body = surface.failure(error)
    await exchange.answer(405, body, [(b"allow", allowed.encode())])


def _retry_after(error: PlatformError) -> list[tuple[bytes, bytes]]:
    if isinstance(error, TooManyRequests):
        return [(b"retry-after", b"%d" % max(1, round(error.retry_after)))]
    return [(b"retry-after", b"5")] if isinstance(error, Unavailable) else []
