"""Large request bodies: received by the event loop, read by a thread, with a bounded queue between the two.

Storing is blocking work (hashing, disks, the object store's client), so it runs in a thread that reads the body as an
ordinary iterator. While the thread is behind, nothing more is taken from the socket.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from starlette.requests import ClientDisconnect, Request

from llmops_resources.catalog.uploads.chunks import Digests
from llmops_resources.errors import InvalidInput, PlatformError, TooLarge, TooManyRequests

Result = TypeVar("Result")

#: Uploads that are taken in at the same time by one process; each has a thread and, to S3, some 50 MiB under way.
AT_ONCE: Final = 16
_WAIT_SECONDS: Final = 10.0
_BATCH: Final = 512 * 1024
_QUEUED: Final = 4 * 1024**2


class Uploads:
    """Runs what takes long over a request's body, a bounded number at a time. `stall` is in seconds.

    `digests` is what this process knows of the files that come in chunks.
    """

    def __init__(self, stall: float) -> None:
        self.digests = Digests()
        self._stall = stall
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._threads = CapacityLimiter(AT_ONCE)

    async def take(self, request: Request, work: Callable[[Iterator[bytes]], Result], *, max_bytes: int) -> Result:
        """What `work` makes of the body. The iterator raises InvalidInput when the body breaks off or stalls.

        Raises TooLarge when the body has, or says it has, more than `max_bytes`; TooManyRequests when all places stay
        taken.
        """
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > max_bytes:
            raise _too_large(max_bytes)
        await self._enter()
        try:
            pipe = _Pipe(asyncio.get_running_loop())
            filling = asyncio.create_task(self._fill(pipe, request, max_bytes))
            try:
                return await anyio.to_thread.run_sync(partial(work, iter(pipe)), limiter=self._threads)
            finally:
                filling.cancel()
                await asyncio.gather(filling, return_exceptions=True)
        finally:
            self._slots.release()

    async def _enter(self) -> None:
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                await self._slots.acquire()
        except TimeoutError:
            raise TooManyRequests(
                f"{AT_ONCE} uploads are being taken in already", retry_after=_WAIT_SECONDS, remedy="Try again soon."
            ) from None

    async def _fill(self, pipe: "_Pipe", request: Request, max_bytes: int) -> None:
        """Move the body into the pipe, in batches that must each arrive in time: a slow body is as bad as none."""
        body, total, ended = request.stream(), 0, False
        problem: PlatformError = InvalidInput("the upload was stopped", remedy="Send it again.")
        try:
            while not ended:
                batch: list[bytes] = []
                size = 0
                async with asyncio.timeout(self._stall):
                    while size < _BATCH and not ended:
                        piece = await anext(body, None)
                        ended = piece is None
                        batch.append(piece or b"")
                        size += len(piece or b"")
                total += size
                if total > max_bytes:
                    raise _too_large(max_bytes)
                await pipe.put(batch, size)
        except ClientDisconnect:
            problem = InvalidInput("the connection broke before everything had arrived", remedy="Send it again.")
        except TimeoutError:
            problem = InvalidInput(
                f"less than {_BATCH:,} bytes arrived within {self._stall:g} seconds", remedy="Send it again, faster."
            )
        except PlatformError as error:
            problem = error
        finally:
            pipe.end(None if ended and total <= max_bytes else problem)


class _Pipe:
    """Batches of bytes from the event loop to one thread, a few MiB at most."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._batches: queue.SimpleQueue[tuple[list[bytes], int] | PlatformError | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._held = 0
        self._room = asyncio.Event()

    async def put(self, batch: list[bytes], size: int) -> None:
        with self._lock:
            self._held += size
            full = self._held > _QUEUED
            self._room.clear()
        self._batches.put((batch, size))
        if full:
            await self._room.wait()

    def end(self, problem: PlatformError | None) -> None:
        self._batches.put(problem)

    def __iter__(self) -> Iterator[bytes]:
        while (item := self._batches.get()) is not None:
            if isinstance(item, PlatformError):
                raise item
            batch, size = item
            yield from filter(None, batch)
            with self._lock:
                self._held -= size
                room = self._held <= _QUEUED // 2
            if room:
                self._loop.call_soon_threadsafe(self._room.set)


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(
        f"the request has more than {max_bytes:,} bytes", remedy="Send less at once, or raise MAX_UPLOAD_BYTES."
    )
