"""The door to model providers: OpenAI's protocol through `outbound.py`, for routes whose model is outside.

Apart from `inference.py`, since its HTTP client takes 10 MB of every process that has it.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any

import aiohttp

from llmops_resources import outbound
from llmops_resources.errors import PlatformError
from llmops_resources.inference import JSON, Answer, Patience


class Outside:
    """The door to providers, through the session that stays out of private networks."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def ask(self, url: str, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        """As `Inference.ask`."""
        try:
            response = await self._post(url, body, {**dict(JSON), **(headers or {})})
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _meaning(error) from error
        return _OutsideAnswer(response)

    async def close(self) -> None:
        """As `Inference.close`."""
        await self._session.close()

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        try:
            return await self._session.post(url, data=body, headers=headers, allow_redirects=False)
        except aiohttp.ServerDisconnectedError:
            # A kept-alive connection that the server had closed already: nothing was answered, so once more.
            return await self._session.post(url, data=body, headers=headers, allow_redirects=False)


class _OutsideAnswer(Answer):
    broken = aiohttp.ClientError, TimeoutError

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status

    @property
    def content_type(self) -> str:
        return self._response.content_type

    def close(self) -> None:
        if not self._response.content.at_eof():
            self._response.close()  # an unread rest must not reach the next user of this connection
        self._response.release()

    def _source(self) -> AsyncIterator[bytes]:
        return self._response.content.iter_any()

    def _explain(self, error: Any) -> PlatformError:
        return _meaning(error)

    def _header(self, name: str) -> str:
        return self._response.headers.get(name, "")


def open_outside(allowed_hosts: Collection[str], patience: Patience) -> Outside:
    """The door for this event loop."""
    session = outbound.open_session(
        allowed_hosts=allowed_hosts, connect=patience.connect, silence=patience.silence, total=patience.answer
    )
    return Outside(session)


def _meaning(error: aiohttp.ClientError | TimeoutError) -> PlatformError:
    return outbound.meaning(error, "the provider")
