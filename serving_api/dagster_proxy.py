"""Dagster's own pages under /dagster, for those who may see them. Its webserver has no login and is never exposed."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable

import aiohttp
from starlette.types import Message, Receive, Scope, Send
from yarl import URL

from llmops_resources.errors import Forbidden, InvalidInput, PlatformError, TooLarge, Unavailable
from llmops_resources.governance.permissions import Permission
from llmops_resources.platform import Platform
from serving_api.failures import envelope_bytes, status_of
from serving_api.identity import IDENTITY_HEADERS, header_map, permitted

PREFIX = "/dagster"
MAX_MESSAGE_BYTES = 16 * 1024**2
MAX_BODY_BYTES = 64 * 1024**2
#: RFC 9110 section 7.6.1: headers between two neighbors; and what the client library writes itself.
HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
     "upgrade", "proxy-connection", "host", "content-length"}
)  # fmt: skip

_DOWN = b"""<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="3">
<title>Dagster is starting</title><body style="font: 16px system-ui; margin: 4rem auto; max-width: 40rem">
<h1>Dagster does not answer</h1><p>It is starting, or was stopped. This page tries again every three seconds;
<code>llmops status</code> shows whether it runs, and <code>llmops up</code> starts it.</p></body></html>"""

logger = logging.getLogger(__name__)


class DagsterProxy:
    """Pure ASGI, HTTP and WebSocket. Start it inside the event loop that serves."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._upstream = f"http://127.0.0.1:{platform.settings.dagster_port}"
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Open the client."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=128, keepalive_timeout=4.0),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=3.0, sock_read=120.0),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            trust_env=False,
        )

    async def stop(self) -> None:
        """Close the client."""
        if self._session is not None:
            await self._session.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or answer why not: in the envelope, or as a page for a browser."""
        headers = header_map(scope["headers"])
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await permitted(self._platform, headers, Permission.PIPELINES_VIEW, str(scope["path"])[:200])
            url = self._url(scope)
            if scope["type"] == "websocket":
                await self._socket(scope, receive, watched, url)
            else:
                await self._http(scope, receive, watched, url)
        except PlatformError as error:
            await _refuse(scope, send, headers, error)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if begun:
                raise ConnectionError("Dagster broke off in the middle of its answer") from error
            down = Unavailable("Dagster does not answer", remedy="`llmops status` shows whether it runs; try again.")
            await _refuse(scope, send, headers, down)

    def _url(self, scope: Scope) -> URL:
        """The same path and query at Dagster's webserver, byte for byte.

        Raises InvalidInput for a path that tries to leave /dagster, Forbidden for GraphQL by GET: a link on a
        stranger's page could carry a mutation.
        """
        path, raw = str(scope["path"]), scope.get("raw_path") or scope["path"].encode()
        raw_path = raw.decode("latin-1").partition("?")[0]
        if not raw_path.startswith(PREFIX) or ".." in path.split("/") or "\\" in path:
            raise InvalidInput("the path does not stay within /dagster", remedy="Follow the links of the console.")
        query = scope["query_string"].decode("latin-1")
        if path.rstrip("/").endswith("/graphql") and scope["type"] == "http" and scope["method"] != "POST" and query:
            raise Forbidden("GraphQL queries go by POST", remedy="Send the query in the body.")
        return URL(f"{self._upstream}{raw_path}{'?' + query if query else ''}", encoded=True)

    @property
    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise Unavailable("the proxy is starting", remedy="Try again in a moment.")
        return self._session

    async def _http(self, scope: Scope, receive: Receive, send: Send, url: URL) -> None:
        sent = header_map(scope["headers"])
        has_body = "content-length" in sent or "transfer-encoding" in sent
        async with self._client.request(
            scope["method"],
            url,
            headers=_passed(sent.items()),
            data=_body(receive) if has_body else None,
            allow_redirects=False,
        ) as answer:
            kept = [
                (name.lower().encode("latin-1"), value.encode("latin-1"))
                for name, value in answer.headers.items()
                if name.lower() not in HOP_BY_HOP - {"content-length"}
            ]
            await send({"type": "http.response.start", "status": answer.status, "headers": kept})
            async for chunk in answer.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    async def _socket(self, scope: Scope, receive: Receive, send: Send, url: URL) -> None:
        await receive()  # websocket.connect
        async with self._client.ws_connect(
            url, protocols=scope.get("subprotocols", ()), max_msg_size=MAX_MESSAGE_BYTES, autoping=True
        ) as upstream:
            await send({"type": "websocket.accept", "subprotocol": upstream.protocol})
            pumps = {
                asyncio.create_task(_to_dagster(receive, upstream)),
                asyncio.create_task(_to_browser(upstream, send)),
            }
            _done, rest = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for task in rest:
                task.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError("the browser left")
        size += len(message.get("body", b""))
        if size > MAX_BODY_BYTES:
            raise TooLarge(f"the body is larger than {MAX_BODY_BYTES} bytes", remedy="Send less.")
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


def _passed(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Dagster must not learn who calls, and must not be told by the caller."""
    return {name: value for name, value in headers if name not in HOP_BY_HOP | IDENTITY_HEADERS | {"cookie"}}


async def _to_dagster(receive: Receive, upstream: aiohttp.ClientWebSocketResponse) -> None:
    while (message := await receive())["type"] != "websocket.disconnect":
        if message.get("text") is not None:
            await upstream.send_str(message["text"])
        else:
            await upstream.send_bytes(message["bytes"])


async def _to_browser(upstream: aiohttp.ClientWebSocketResponse, send: Send) -> None:
    async for message in upstream:
        if message.type is aiohttp.WSMsgType.TEXT:
            await send({"type": "websocket.send", "text": message.data})
        elif message.type is aiohttp.WSMsgType.BINARY:
            await send({"type": "websocket.send", "bytes": message.data})
    await send({"type": "websocket.close", "code": upstream.close_code or 1000})


async def _refuse(scope: Scope, send: Send, headers: dict[str, str], error: PlatformError) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": error.message[:100]})
        return
    page = isinstance(error, Unavailable) and "text/html" in headers.get("accept", "")
    body, media = (_DOWN, b"text/html; charset=utf-8") if page else (envelope_bytes(error), b"application/json")
    head = [(b"content-type", media), (b"content-length", b"%d" % len(body)), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status_of(error.kind), "headers": head})
    await send({"type": "http.response.body", "body": body})
