"""Asking model servers until one answers: again where that is safe, then the fallback, never past an open breaker.

Safe is what happens before the first byte of an answer: nobody listened, or the server said that it is not ready (503,
and 529 of some providers). Anything else may have been worked on and is not asked of the same server again.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final
from uuid import UUID

from llmops_resources.errors import PlatformError, TooManyRequests, Unavailable, UpstreamFailed, UpstreamTimeout
from llmops_resources.gateway.breaker import Breaker
from llmops_resources.gateway.routes import Target
from llmops_resources.inference import Answer, Inference
from serving_api.chat.call import Call

TRIES: Final = 2
#: Seconds before asking again, at random so that callers do not come back together.
PAUSE: Final = (0.05, 0.2)
_MANY: Final = 1000
_NOT_READY: Final = frozenset({503, 529})
_FAULTS: Final = (Unavailable, UpstreamFailed, UpstreamTimeout)


class Attempts:
    """The breakers of every model server, and the ways to them."""

    def __init__(self, door: Callable[[Target], Inference]) -> None:
        self._door = door
        self._breakers: dict[tuple[UUID, str], Breaker] = {}

    def breaker(self, target: Target) -> Breaker:
        """The breaker of the server behind a target."""
        key = target.endpoint_id, target.url("")
        if key not in self._breakers and len(self._breakers) >= _MANY:  # servers come and go with their addresses
            self._breakers = {each: found for each, found in self._breakers.items() if found != Breaker()}
        return self._breakers.setdefault(key, Breaker())

    @asynccontextmanager
    async def open(self, calls: Sequence[Call]) -> AsyncIterator[tuple[Call, Answer]]:
        """The first of the calls that is answered with 200, and its answer, not read yet.

        Raises what the first of them came to when none is. What goes wrong in the block counts for the server too.
        """
        first: PlatformError | None = None
        async with AsyncExitStack() as stack:
            for call in calls:
                try:
                    answer = await self._ask(stack, call)
                except (*_FAULTS, TooManyRequests) as error:
                    first = first or error
                    continue
                breaker = self.breaker(call.target)
                try:
                    yield call, answer
                except (UpstreamFailed, UpstreamTimeout):
                    breaker.failed(time.monotonic())
                    raise
                except BaseException:
                    breaker.released()
                    raise
                breaker.succeeded()
                return
        raise first or Unavailable("there is nobody to ask", remedy="Deploy a model to the route.")

    async def _ask(self, stack: AsyncExitStack, call: Call) -> Answer:
        breaker, failure = self.breaker(call.target), None
        for trial in range(TRIES):
            if not breaker.admits(time.monotonic()):
                raise failure or _resting(call.target, breaker.wait(time.monotonic()))
            status = 0  # nothing was answered
            try:
                async with AsyncExitStack() as attempt:
                    door = self._door(call.target)
                    answer = await attempt.enter_async_context(door.open(call.url, call.body, call.headers))
                    if answer.status == 200:
                        stack.push_async_exit(attempt.pop_all())
                        return answer
                    status = answer.status
                    raise call.refusal(answer, await answer.body())
            except _FAULTS as error:
                if 0 < status < 500:  # it is well, and refuses: a wrong key, say, which another one mends at once
                    breaker.released()
                else:
                    breaker.failed(time.monotonic())
                again = isinstance(error, Unavailable) and status in {0, *_NOT_READY}
                if not again or trial + 1 == TRIES:
                    raise
                failure = error
            except BaseException:
                breaker.released()
                raise
            await asyncio.sleep(random.uniform(*PAUSE))  # noqa: S311  nothing secret
        raise AssertionError("the last trial returns or raises")


def _resting(target: Target, wait: float) -> Unavailable:
    return Unavailable(
        f"the model server of {target.route} failed several times in a row and is not asked for {wait:.0f} s",
        remedy="Try again then; if it stays, look at the endpoint's log.",
    )
