"""The only door to model servers: OpenAI's protocol over HTTP, bounded in time, size and connections."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from llmops_resources.errors import PlatformError, Unavailable, UpstreamFailed, UpstreamTimeout

MAX_ANSWER_BYTES = 16 * 1024**2
MAX_CONNECTIONS = 512
#: Below the five seconds after which uvicorn closes an idle connection, so that we never write into a closed one.
_KEEPALIVE = 4.0


@dataclass(frozen=True)
class Patience:
    """Seconds to wait: for a connection, for the next byte, for a whole answer, and for a health probe."""

    connect: float = 5.0
    silence: float = 120.0
    answer: float = 600.0
    probe: float = 2.0


class Answer:
    """A model server's answer whose body has not been read yet."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def content_type(self) -> str:
        """The media type, without parameters."""
        return self._response.content_type

    @property
    def retry_after(self) -> float:
        """Seconds after which to come back, from one to sixty."""
        given = self._response.headers.get("Retry-After", "")
        return float(min(max(int(given), 1), 60)) if given.isdecimal() and len(given) < 10 else 1.0

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it arrives. Raises UpstreamFailed past MAX_ANSWER_BYTES, and as `Inference.open` does."""
        size = 0
        async for chunk in self._response.content.iter_any():
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                raise UpstreamFailed(
                    f"the model server's answer is larger than {MAX_ANSWER_BYTES} bytes", remedy="Ask for less."
                )
            yield chunk

    async def body(self) -> bytes:
        """The whole body."""
        return b"".join([chunk async for chunk in self.chunks()])


class Inference:
    """Connections to model servers. Open and close it inside the event loop that uses it.

    `explain` says what a failed connection means, in words for the caller.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        patience: Patience,
        explain: Callable[[aiohttp.ClientError | TimeoutError], PlatformError] | None = None,
    ) -> None:
        self._session = session
        self._patience = patience
        self._explain = explain or _meaning

    async def close(self) -> None:
        """Give every connection back."""
        await self._session.close()

    @asynccontextmanager
    async def open(self, url: str, body: bytes, headers: Mapping[str, str] | None = None) -> AsyncIterator[Answer]:
        """POST a JSON body and hand over the answer; leaving the block frees the model server at once.

        Raises Unavailable when nobody listens, UpstreamTimeout when it takes too long, UpstreamFailed when the
        connection breaks.
        """
        try:
            response = await self._post(url, body, {"Content-Type": "application/json", **(headers or {})})
            try:
                yield Answer(response)
            finally:
                if not response.content.at_eof():
                    response.close()  # an unread rest must not reach the next user of this connection
                response.release()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._explain(error) from error

    async def healthy(self, base_url: str) -> bool:
        """Whether the model server says it is well."""
        timeout = aiohttp.ClientTimeout(total=self._patience.probe)
        try:
            path = "/v1/models" if base_url.endswith("/openai") else "/health"  # KServe's runtime has no /health
            async with self._session.get(f"{base_url}{path}", timeout=timeout, allow_redirects=False) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        try:
            return await self._session.post(url, data=body, headers=headers, allow_redirects=False)
        except aiohttp.ServerDisconnectedError:
            # A kept-alive connection that the server had closed already: nothing was answered, so once more.
            return await self._session.post(url, data=body, headers=headers, allow_redirects=False)


def open_inference(patience: Patience | None = None) -> Inference:
    """A door for this event loop."""
    patience = patience or Patience()
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, keepalive_timeout=_KEEPALIVE),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(
            total=patience.answer, sock_connect=patience.connect, sock_read=patience.silence, connect=patience.answer
        ),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept-Encoding"),
        trust_env=False,
    )
    return Inference(session, patience)


def _meaning(error: aiohttp.ClientError | TimeoutError) -> PlatformError:
    if isinstance(error, TimeoutError):
        return UpstreamTimeout(
            "the model server did not answer in time", remedy="Ask for fewer tokens, or try again when it is less busy."
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        return Unavailable(
            "the model server cannot be reached", remedy="It is being restarted; try again in a few seconds."
        )
    return UpstreamFailed(
        "the connection to the model server broke", remedy="Send the request again; if it stays, look at its log."
    )
