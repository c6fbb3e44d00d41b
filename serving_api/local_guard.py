"""A door-keeper for local mode, in which whoever reaches the API is trusted: a web page must not be able to reach it.

DNS rebinding makes a stranger's page same-origin with us under the stranger's name, so only our own names are accepted
in Host. A page may also simply send a request across origins and ignore the answer, so requests that change something
must come from our own origin, and so must every subresource request and WebSocket.
"""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from typing import Any

from llmops_resources.errors import Forbidden, InvalidInput, PlatformError
from llmops_resources.settings import Settings
from serving_api.failures import envelope_bytes, status_of

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
MISDIRECTED = 421
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_ELSEWHERE = frozenset({b"cross-site", b"same-site"})
_POLICY_VIOLATION = 1008  # WebSocket close code, RFC 6455 section 7.4.1


class MisdirectedHost(InvalidInput):
    """The Host header names a machine that is not this one (HTTP 421)."""


class DoorKeeper:
    """Knows our own names."""

    def __init__(self, settings: Settings) -> None:
        self._names = frozenset({"localhost", "127.0.0.1", "[::1]", _bracketed(settings.api_host).lower()})

    def check(self, scope: Scope) -> None:
        """Raises InvalidInput (Host unreadable), MisdirectedHost or Forbidden (another origin)."""
        origin, site, mode, hosts = None, b"none", b"", []
        for written, value in scope["headers"]:
            name = written.lower()
            if name == b"host":
                hosts.append(value)
            elif name == b"origin":
                origin = value
            elif name == b"sec-fetch-site":
                site = value
            elif name == b"sec-fetch-mode":
                mode = value
        host = self._host(hosts)
        changes = scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS
        if changes and origin is not None and not _same_origin(origin, host):
            raise _foreign()
        if site in _ELSEWHERE and (changes or mode != b"navigate"):
            raise _foreign()

    def _host(self, values: list[bytes]) -> str:
        match = _host_of(values[0]) if len(values) == 1 else None
        if match is None:
            raise InvalidInput("the Host header is missing or malformed", remedy="Send one Host: localhost:<port>.")
        name, host = match
        if name not in self._names:
            raise MisdirectedHost(
                "this API answers under its local names only",
                remedy="Use localhost or 127.0.0.1; another name needs AUTH_MODE=oidc.",
            )
        return host


class LocalGuard:
    """Pure ASGI wrapper of an app."""

    def __init__(self, app: App, settings: Settings) -> None:
        self._app, self._keeper = app, DoorKeeper(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it in the envelope (a WebSocket: before it opens)."""
        if scope["type"] in {"http", "websocket"}:
            try:
                self._keeper.check(scope)
            except PlatformError as error:
                return await _refuse(scope, send, error)
        return await self._app(scope, receive, send)


@lru_cache(maxsize=256)
def _host_of(value: bytes) -> tuple[str, str] | None:
    """The name in a Host header, and the whole of it, in lower case; None when it is malformed."""
    match = _HOST.fullmatch(value.decode("latin-1"))
    if match is None or int(match[2] or 80) > 65535:
        return None
    return match[1].lower(), match[0].lower()


def _same_origin(origin: bytes, host: str) -> bool:
    scheme, _, authority = origin.decode("latin-1").lower().partition("://")
    default = {"http": ":80", "https": ":443"}.get(scheme)
    return default is not None and authority.removesuffix(default) == host.removesuffix(default)


def _foreign() -> Forbidden:
    return Forbidden(
        "a web page of another origin may not use this API", remedy="Open the console under this API's own address."
    )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def refusal(error: PlatformError) -> tuple[int, bytes]:
    """The status and the body of a request that was stopped at the door."""
    return MISDIRECTED if isinstance(error, MisdirectedHost) else status_of(error.kind), envelope_bytes(error)


async def _refuse(scope: Scope, send: Send, error: PlatformError) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": error.message})
        return
    status, body = refusal(error)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
