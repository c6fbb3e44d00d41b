"""Pure ASGI around everything: a request id, one log line a request, request metrics, and security headers.

Never `BaseHTTPMiddleware`: one of those costs more CPU than the rest of a chat request. What is done for every call is
done in few steps, since a gateway has nothing else to do.
"""

import itertools
import secrets
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving_api import logs
from serving_api.afterwards import leave
from serving_api.logs import Answered
from serving_api.tallies import Durations, Tally

_REQUESTS: Final = Tally("llmops_http_requests", "HTTP requests", ["method", "area", "status"])
_SECONDS: Final = Durations("llmops_http_request_seconds", "HTTP request duration in seconds", ["area"])
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_CSP = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "object-src 'none'; base-uri 'self'; frame-ancestors 'none'; form-action 'self'"
)
NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
#: Of what a browser might show; an answer in JSON, which `nosniff` keeps from being anything else, needs none of it.
_SHOWN: Final = (
    NOSNIFF,
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", _CSP.encode()),
)
_OURS: Final = frozenset({b"x-request-id", *(name for name, _ in _SHOWN)})
_ROOMS: Final = frozenset({
    "catalog", "prompts", "training", "evaluation", "serving", "serve", "governance", "audit", "observability",
})  # fmt: skip
_OTHERS: Final = frozenset({"dagster", "openai", "health", "ready", "metrics"})
_QUIET: Final = frozenset({"/health", "/ready", "/metrics"})


class RequestIds:
    """An id for every request: what the caller sent if it is sane, else a number of this process."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    def of(self, sent: bytes) -> str:
        """The id of a request that came with this X-Request-Id, which may be empty."""
        if 8 <= len(sent) <= 64 and sent.replace(b"-", b"").isalnum():
            return sent.decode()
        return f"{self._prefix}-{next(self._numbers):08d}"


class RequestLog:
    """Gives every request an id and accounts for it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._ids = RequestIds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = self._ids.of(next((value for name, value in scope["headers"] if name == b"x-request-id"), b""))
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        logs.REQUEST_ID.set(request_id)  # a request has a task, and so a context, of its own
        status, started, path = 500, time.perf_counter(), scope["path"]

        async def tagged(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _tagged(message["headers"], request_id, path)
            await send(message)

        try:
            await self.app(scope, receive, tagged)
        finally:
            seconds, lasting = time.perf_counter() - started, "lasting" in state
            answered(scope["method"], path, status, seconds, request_id, lasting=lasting)


def answered(
    method: str, path: str, status: int, seconds: float, request_id: str, *, lasting: bool = False
) -> None:
    """Account for a request that was answered; `lasting` for as long as was wanted."""
    method = method if method in _METHODS else "OTHER"
    leave(_account, Answered(method, path, status, seconds, lasting, request_id, time.time()))


def _account(requests: Sequence[Answered]) -> None:
    """Count requests, and write their lines."""
    for each in requests:
        area = _area(each.path[: logs.LONGEST_PATH])
        _REQUESTS.add((each.method, area, str(each.status)))
        if not each.lasting:  # an event stream lasts as long as its reader likes
            _SECONDS.observe((area,), each.seconds)
    told = [each for each in requests if each.path not in _QUIET]
    if told:
        logs.write(told)


def _tagged(given: list[tuple[bytes, bytes]], request_id: str, path: str) -> list[tuple[bytes, bytes]]:
    """The headers of an answer with ours, of which the app's own win."""
    tags: list[tuple[bytes, bytes]] = [(b"x-request-id", request_id.encode())]
    present, shown = set(), True
    for name, value in given:
        if name in _OURS or name.lower() in _OURS:
            present.add(name.lower())
        elif name == b"content-type":
            shown = not value.startswith((b"application/json", b"text/event-stream"))
    if not path.startswith("/dagster"):  # Dagster's own pages bring inline scripts and frames
        tags += _SHOWN if shown else (NOSNIFF,)
    return [*given, *(tag for tag in tags if tag[0] not in present)] if present else [*given, *tags]


@lru_cache(maxsize=1024)
def _area(path: str) -> str:
    """The room a path belongs to: a label with few values, whatever strangers ask for."""
    parts = path.split("/", 4)
    if path.startswith("/llm-ops/v1/") and len(parts) > 3:
        return parts[3] if parts[3] in _ROOMS else "unknown"
    return parts[1] if parts[1] in _OTHERS else "console"
