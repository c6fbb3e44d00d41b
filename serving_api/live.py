"""Server-sent events of training jobs: what changed, told to whoever listens.

One poller a process looks at the database while somebody listens, with the same few queries for all of them. A reader
that is slow gets the newest state, never a queue of old ones. Events say that something changed, not what: a page asks
its usual routes for that. The protocol is the WHATWG HTML standard's, chapter 9.2.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

import orjson
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from llmops_resources.database import Actor
from llmops_resources.errors import PlatformError, TooManyRequests, Unavailable
from llmops_resources.platform import Platform
from llmops_resources.training import watching
from llmops_resources.training.watching import Glance
from llmops_resources.values import Value

TICK: Final = 1.0  # seconds between two looks at the database
RECONNECT: Final = 2_000  # milliseconds after which a browser comes back
LONGEST: Final = 900.0  # seconds of one stream: whoever comes back is authorised anew
STUCK: Final = 60.0  # seconds more for a reader that takes nothing

logger = logging.getLogger(__name__)


class News(Value):
    """One event: the state's fingerprint, what travels as data, and whether nothing more will come."""

    id: str
    data: dict[str, Any]
    last: bool = False


def news_of_job(glance: Glance) -> News:
    """A job's state as an event."""
    data = {"status": glance.status, "progress": glance.progress, "log": glance.log}
    return News(id=glance.fingerprint, data=data, last=glance.ended)


def news_of_list(fingerprint: str) -> News:
    """The state of the list of jobs as an event."""
    return News(id=fingerprint, data={})


class Stream:
    """One listener's place for the newest state. `job_id` None: it listens to the list of all jobs."""

    def __init__(self, job_id: UUID | None, known: str | None) -> None:
        self.job_id = job_id
        self.ended = False
        self._known = known
        self._newest: News | None = None
        self._woken = asyncio.Event()

    def tell(self, news: News) -> None:
        """Put this in the place of what was not read yet."""
        self._newest = news
        self._woken.set()

    def end(self) -> None:
        """No more events, as soon as the reader comes back for one."""
        self.ended = True
        self._woken.set()

    async def next(self, wait: float) -> News | None:
        """The newest state once it is another than the last one given; None after `wait` seconds, or at the end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                while not self.ended:
                    await self._woken.wait()
                    self._woken.clear()
                    news, self._newest = self._newest, None
                    if news is not None and news.id != self._known:
                        self._known = news.id
                        return news
        return None


class Live:
    """The streams of this process and what feeds them. Everything here runs in the event loop."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._streams: set[Stream] = set()
        self._poller: asyncio.Task[None] | None = None
        self._ended = False

    @property
    def polling(self) -> bool:
        """Whether the database is looked at."""
        return self._poller is not None

    def open(self, job_id: UUID | None, known: str | None) -> Stream:
        """A stream, to be closed. Raises TooManyRequests at the limit, Unavailable while the server stops."""
        if self._ended:
            raise Unavailable("the server is stopping", remedy="Connect again in a moment.")
        if len(self._streams) >= self._platform.settings.live_streams:
            raise TooManyRequests(
                "too many pages listen for events", retry_after=30, remedy="Poll the plain route, or come back later."
            )
        stream = Stream(job_id, known)
        self._streams.add(stream)
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll(), name="live")
        return stream

    def close(self, stream: Stream) -> None:
        """Forget a stream; after the last one the database is left alone."""
        self._streams.discard(stream)
        if not self._streams and self._poller is not None:
            self._poller.cancel()
            self._poller = None

    def end(self) -> None:
        """End all streams and refuse new ones: the process is about to stop."""
        self._ended = True
        for stream in self._streams:
            stream.end()

    async def _poll(self) -> None:
        while True:
            jobs = {stream.job_id for stream in self._streams if stream.job_id is not None}
            listed = any(stream.job_id is None for stream in self._streams)
            try:
                found, everything = await run_in_threadpool(self._look, jobs, listed)
            except PlatformError as error:  # listeners keep their streams; the next look may do better
                logger.warning("events of training jobs are late: %s", error)
            except Exception:
                logger.exception("events of training jobs are late")
            else:
                self._tell(found, everything)
            await asyncio.sleep(TICK)

    def _look(self, jobs: set[UUID], listed: bool) -> tuple[dict[UUID, Glance], str | None]:
        with self._platform.transaction(Actor("system:live")) as tx:
            return watching.glance(tx, jobs) if jobs else {}, watching.glance_at_all(tx) if listed else None

    def _tell(self, found: dict[UUID, Glance], everything: str | None) -> None:
        for stream in self._streams:
            if stream.job_id is not None and stream.job_id in found:
                stream.tell(news_of_job(found[stream.job_id]))
            elif stream.job_id is None and everything is not None:
                stream.tell(news_of_list(everything))


class EventStream(StreamingResponse):
    """The answer of a stream's route; closes the stream however the request ends."""

    media_type = "text/event-stream"

    def __init__(self, live: Live, stream: Stream, heartbeat: float) -> None:
        self._live, self._stream, self._heartbeat = live, stream, heartbeat
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(self._events(), headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["lasting"] = True  # its duration says nothing about how fast we are
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._live.close(self._stream)

    async def stream_response(self, send: Send) -> None:
        """Send until the end. A reader that takes nothing for long after that is left."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST + STUCK):
                await super().stream_response(send)

    async def _events(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        until = loop.time() + LONGEST
        yield format_sse_event(comment="open", retry=RECONNECT)
        while loop.time() < until and not self._stream.ended:
            news = await self._stream.next(self._heartbeat)
            if news is not None:
                yield format_sse_event(event="changed", data_str=orjson.dumps(news.data).decode(), id=news.id)
                if news.last:
                    return
            elif not self._stream.ended:
                yield KEEPALIVE_COMMENT
