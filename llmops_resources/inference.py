"""The door to model servers: OpenAI's protocol over HTTP, bounded in time, size and connections."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Final, Protocol

from llmops_resources.errors import PlatformError, Unavailable, UpstreamFailed, UpstreamTimeout
from llmops_resources.http1 import BrokenConnection, Connection
from llmops_resources.pool import Pool, Unreachable

MAX_ANSWER_BYTES: Final = 16 * 1024**2
JSON: Final = (("Content-Type", "application/json"),)
_BROKEN: Final = (BrokenConnection, Unreachable, TimeoutError)


@dataclass(frozen=True)
class Patience:
    """Seconds to wait: for a connection, for the next byte, for a whole answer, and for a health probe."""

    connect: float = 5.0
    silence: float = 120.0
    answer: float = 600.0
    probe: float = 2.0


class Answer(ABC):
    """A model server's answer whose body has not been read yet. Close it, read or not: that frees the server at once.

    `retry_after`: seconds after which to come back, from one to sixty. `broken` is what the connection raises, and
    `_explain` puts it into our words.
    """

    __slots__ = ("status",)
    broken: ClassVar[tuple[type[Exception], ...]]
    status: int

    @property
    @abstractmethod
    def content_type(self) -> str:
        """The media type, without parameters."""

    @property
    def retry_after(self) -> float:
        given = self._header("Retry-After")
        return float(min(max(int(given), 1), 60)) if given.isdecimal() and len(given) < 10 else 1.0

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it arrives. Raises UpstreamFailed past MAX_ANSWER_BYTES, and as `Inference.ask` does."""
        size = 0
        try:
            async for chunk in self._source():
                size += len(chunk)
                if size > MAX_ANSWER_BYTES:
                    raise UpstreamFailed(
                        f"the model server's answer is larger than {MAX_ANSWER_BYTES} bytes", remedy="Ask for less."
                    )
                yield chunk
        except self.broken as error:
            raise self._explain(error) from error

    def whole(self) -> bytes | None:
        """The whole body if it is here already, as most are that come at once; otherwise wait for `body`."""
        return None

    async def body(self) -> bytes:
        """The whole body. Raises as `chunks`."""
        return b"".join([chunk async for chunk in self.chunks()])

    @abstractmethod
    def close(self) -> None:
        """Give the connection back; what was not read of the answer is not waited for."""

    @abstractmethod
    def _source(self) -> AsyncIterator[bytes]: ...

    @abstractmethod
    def _explain(self, error: Any) -> PlatformError: ...

    @abstractmethod
    def _header(self, name: str) -> str: ...


class Inference(Protocol):
    """A door. It belongs to the event loop that opened it."""

    async def ask(self, url: str, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        """POST a JSON body; the head of the answer has come.

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

    async def ask(self, url: str, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        """As `Inference.ask`."""
        sent = (*JSON, *headers.items()) if headers else JSON
        patience = self._patience
        try:
            connection = await self._pool.ask("POST", url, sent, body, silence=patience.silence, total=patience.answer)
        except _BROKEN as error:
            raise _meaning(error) from error
        return _InsideAnswer(self._pool, connection)

    async def healthy(self, base_url: str) -> bool:
        """Whether the model server says it is well."""
        path = "/v1/models" if base_url.endswith("/openai") else "/health"  # KServe's runtime has no /health
        most = self._patience.probe
        with contextlib.suppress(*_BROKEN, ValueError):
            connection = await self._pool.ask("GET", base_url + path, (), b"", silence=most, total=most)
            try:
                async for _chunk in connection.chunks():
                    pass
                return connection.status == 200
            finally:
                self._pool.give_back(connection)
        return False

    async def close(self) -> None:
        """As `Inference.close`."""
        self._pool.close()


class _InsideAnswer(Answer):
    __slots__ = ("_connection", "_pool")
    broken = _BROKEN

    def __init__(self, pool: Pool, connection: Connection) -> None:
        self._pool, self._connection = pool, connection
        self.status = connection.status

    @property
    def content_type(self) -> str:
        return _media(self._connection.headers.get(b"content-type", b""))

    def whole(self) -> bytes | None:
        return self._connection.whole()

    def close(self) -> None:
        self._pool.give_back(self._connection)

    def _source(self) -> AsyncIterator[bytes]:
        return self._connection.chunks()

    def _explain(self, error: Any) -> PlatformError:
        return _meaning(error)

    def _header(self, name: str) -> str:
        return self._connection.headers.get(name.lower().encode(), b"").decode("latin-1")


def open_inference(patience: Patience | None = None) -> Inside:
    """A door for this event loop."""
    return Inside(patience or Patience())


@lru_cache(maxsize=64)
def _media(declared: bytes) -> str:
    return declared.split(b";", 1)[0].strip().decode("latin-1")


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
