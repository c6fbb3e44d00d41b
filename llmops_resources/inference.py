"""The doors to model servers: OpenAI's protocol over HTTP, bounded in time, size and connections."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import aiohttp

from llmops_resources.errors import PlatformError, Unavailable, UpstreamFailed, UpstreamTimeout
from llmops_resources.http1 import BrokenConnection
from llmops_resources.pool import Pool, Unreachable

MAX_ANSWER_BYTES: Final = 16 * 1024**2
_JSON: Final = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Patience:
    """Seconds to wait: for a connection, for the next byte, for a whole answer, and for a health probe."""

    connect: float = 5.0
    silence: float = 120.0
    answer: float = 600.0
    probe: float = 2.0


@dataclass(frozen=True)
class Answer:
    """A model server's answer whose body has not been read yet."""

    status: int
    content_type: str
    _retry_after: str
    _body: Callable[[], AsyncIterator[bytes]]

    @property
    def retry_after(self) -> float:
        """Seconds after which to come back, from one to sixty."""
        given = self._retry_after
        return float(min(max(int(given), 1), 60)) if given.isdecimal() and len(given) < 10 else 1.0

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it arrives. Raises UpstreamFailed past MAX_ANSWER_BYTES, and as `Inference.open` does."""
        size = 0
        async for chunk in self._body():
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                raise UpstreamFailed(
                    f"the model server's answer is larger than {MAX_ANSWER_BYTES} bytes", remedy="Ask for less."
                )
            yield chunk

    async def body(self) -> bytes:
        """The whole body. Raises as `chunks`."""
        return b"".join([chunk async for chunk in self.chunks()])


class Inference(Protocol):
    """A door. It belongs to the event loop that opened it."""

    def open(
        self, url: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[Answer]:
        """POST a JSON body and hand over the answer; leaving the block frees the model server at once.

        Raises Unavailable when nobody listens, UpstreamTimeout when it takes too long, UpstreamFailed when the
        connection breaks.
        """
        ...

    async def close(self) -> None:
        """Give every connection back."""
        ...


class Inside:
    """The door to the model servers that the platform deployed."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._pool = Pool(patience.connect)

    @asynccontextmanager
    async def open(self, url: str, body: bytes, headers: Mapping[str, str] | None = None) -> AsyncIterator[Answer]:
        """As `Inference.open`."""
        sent = {**_JSON, **headers} if headers else _JSON
        try:
            taken = await self._pool.ask(
                "POST", url, sent, body, silence=self._patience.silence, total=self._patience.answer
            )
            connection = taken.connection
            try:
                given = connection.headers
                media = given.get(b"content-type", b"").split(b";", 1)[0].strip().decode("latin-1")
                again = given.get(b"retry-after", b"").decode("latin-1")
                yield Answer(connection.status, media, again, connection.chunks)
            finally:
                self._pool.give_back(taken)
        except (BrokenConnection, Unreachable, TimeoutError) as error:
            raise _meaning(error) from error

    async def healthy(self, base_url: str) -> bool:
        """Whether the model server says it is well."""
        path = "/v1/models" if base_url.endswith("/openai") else "/health"  # KServe's runtime has no /health
        most = self._patience.probe
        with contextlib.suppress(BrokenConnection, Unreachable, TimeoutError, ValueError):
            taken = await self._pool.ask("GET", base_url + path, {}, b"", silence=most, total=most)
            try:
                async for _chunk in taken.connection.chunks():
                    pass
                return taken.connection.status == 200
            finally:
                self._pool.give_back(taken)
        return False

    async def close(self) -> None:
        """As `Inference.close`."""
        self._pool.close()


class Outside:
    """The door to providers, through the session that stays out of private networks; `explain` says what failed."""

    def __init__(
        self, session: aiohttp.ClientSession, explain: Callable[[aiohttp.ClientError | TimeoutError], PlatformError]
    ) -> None:
        self._session, self._explain = session, explain

    @asynccontextmanager
    async def open(self, url: str, body: bytes, headers: Mapping[str, str] | None = None) -> AsyncIterator[Answer]:
        """As `Inference.open`."""
        try:
            response = await self._post(url, body, {**_JSON, **(headers or {})})
            again = response.headers.get("Retry-After", "")
            try:
                yield Answer(response.status, response.content_type, again, response.content.iter_any)
            finally:
                if not response.content.at_eof():
                    response.close()  # an unread rest must not reach the next user of this connection
                response.release()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._explain(error) from error

    async def close(self) -> None:
        """As `Inference.close`."""
        await self._session.close()

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        try:
            return await self._session.post(url, data=body, headers=headers, allow_redirects=False)
        except aiohttp.ServerDisconnectedError:
            # A kept-alive connection that the server had closed already: nothing was answered, so once more.
            return await self._session.post(url, data=body, headers=headers, allow_redirects=False)


def open_inference(patience: Patience | None = None) -> Inside:
    """A door for this event loop."""
    return Inside(patience or Patience())


def _meaning(error: BrokenConnection | Unreachable | TimeoutError) -> PlatformError:
    if isinstance(error, TimeoutError):
        return UpstreamTimeout(
            "the model server did not answer in time", remedy="Ask for fewer tokens, or try again when it is less busy."
        )
    if isinstance(error, Unreachable):
        return Unavailable(
            "the model server cannot be reached", remedy="It is being restarted; try again in a few seconds."
        )
    return UpstreamFailed(
        "the connection to the model server broke", remedy="Send the request again; if it stays, look at its log."
    )
