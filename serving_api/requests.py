"""Pure ASGI around everything: a request id, one log line a request, request metrics, and security headers.

Never `BaseHTTPMiddleware`: one of those costs more CPU than the rest of a chat request.
"""

import itertools
import secrets
import time

import structlog
from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUESTS = Counter("llmops_http_requests_total", "HTTP requests", ["method", "area", "status"])
SECONDS = Histogram("llmops_http_request_seconds", "HTTP request duration in seconds", ["area"])
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_CSP = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "object-src 'none'; base-uri 'self'; frame-ancestors 'none'; form-action 'self'"
)
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
]

logger = structlog.get_logger()


class RequestLog:
    """Gives every request an id (kept when the caller sent a sane one) and accounts for it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = self._request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        status, started, path = 500, time.perf_counter(), str(scope["path"])
        framed = path.startswith("/dagster")

        async def tagged(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                present = {name.lower() for name, _ in message["headers"]}
                extra = [(b"x-request-id", request_id.encode())]
                if not framed:  # Dagster's own pages bring inline scripts and frames
                    extra += [*_HEADERS, (b"content-security-policy", _CSP.encode())]
                added = [pair for pair in extra if pair[0] not in present]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self.app(scope, receive, tagged)
        finally:
            self._account(scope, path, status, time.perf_counter() - started)
            structlog.contextvars.clear_contextvars()

    def _request_id(self, scope: Scope) -> str:
        for name, value in scope["headers"]:
            if name == b"x-request-id" and 8 <= len(value) <= 64 and value.replace(b"-", b"").isalnum():
                return str(value.decode())
        return f"{self._prefix}-{next(self._numbers):08d}"

    def _account(self, scope: Scope, path: str, status: int, seconds: float) -> None:
        area = _area(path)
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        REQUESTS.labels(method, area, str(status)).inc()
        if not scope["state"].get("lasting"):  # an event stream lasts as long as its reader likes
            SECONDS.labels(area).observe(seconds)
        if path not in {"/health", "/ready", "/metrics"}:
            logger.info("request", method=method, path=path[:300], status=status, ms=round(seconds * 1000, 1))


def _area(path: str) -> str:
    """The room a path belongs to: a label with few values, whatever strangers ask for."""
    parts = path.split("/", 4)
    if path.startswith("/llm-ops/v1/") and len(parts) > 3:
        known = {
            "catalog", "prompts", "training", "evaluation", "serving", "serve", "governance", "audit", "observability",
        }  # fmt: skip
        return parts[3] if parts[3] in known else "unknown"
    return parts[1] if parts[1] in {"dagster", "openai", "health", "ready", "metrics"} else "console"
