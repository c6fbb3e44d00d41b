"""Asking model servers until one answers: again where that is safe, then the fallback, never past an open breaker.

Safe is what happens before the first byte of an answer: nobody listened, or the server said that it is not ready (503,
and 529 of some providers). Anything else may have been worked on and is not asked of the same server again.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Final, Self

import msgspec

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


class Answering(msgspec.Struct, frozen=True):
    """The call that is answered with 200, and its answer, not read yet: a block, at whose end the server is freed.

    What goes wrong in it, while the server answers, counts for its breaker too.
    """

    call: Call
    answer: Answer
    breaker: Breaker

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.answer.close()
        if error is None:
            self.breaker.succeeded()
        elif isinstance(error, UpstreamFailed | UpstreamTimeout):
            self.breaker.failed(time.monotonic())
        else:
            self.breaker.released()


class Attempts:
    """The breakers of every model server, and the ways to them."""

    def __init__(self, door: Callable[[Target], Inference]) -> None:
        self._door = door
        self._breakers: dict[str, Breaker] = {}

    def breaker(self, target: Target) -> Breaker:
        """The breaker of the server behind a target."""
        key = target.server
        found = self._breakers.get(key)
        if found is None:
            if len(self._breakers) >= _MANY:  # servers come and go with their addresses
                self._breakers = {each: found for each, found in self._breakers.items() if found != Breaker()}
            found = self._breakers[key] = Breaker()
        return found

    def first(self, calls: Sequence[Call]) -> Coroutine[None, None, Answering]:
        """The first of the calls that is answered with 200. Raises what the first of them came to when none is."""
        return self._ask(calls[0]) if len(calls) == 1 else self._any(calls)

    async def _any(self, calls: Sequence[Call]) -> Answering:
        refused: PlatformError | None = None
        for call in calls:
            try:
                return await self._ask(call)
            except (*_FAULTS, TooManyRequests) as error:
                refused = refused or error
        raise refused or Unavailable("there is nobody to ask", remedy="Deploy a model to the route.")

    async def _ask(self, call: Call) -> Answering:
        breaker, failure = self.breaker(call.target), None
        for trial in range(TRIES):
            if not breaker.admits(time.monotonic()):
                raise failure or _resting(call.target, breaker.wait(time.monotonic()))
            answer: Answer | None = None
            try:
                answer = await self._door(call.target).ask(call.url, call.body, call.headers)
                if answer.status == 200:
                    return Answering(call, answer, breaker)
                refusal = await _refusal(call, answer)
            except _FAULTS as error:
                refusal = error
            except BaseException:
                breaker.released()
                raise
            status = answer.status if answer else 0  # nothing was answered
            if 0 < status < 500 or not isinstance(refusal, _FAULTS):
                breaker.released()  # it is well, and refuses: a wrong key, say, which another one mends at once
            else:
                breaker.failed(time.monotonic())
            again = isinstance(refusal, Unavailable) and status in {0, *_NOT_READY}
            if not again or trial + 1 == TRIES:
                raise refusal
            failure = refusal
            await asyncio.sleep(random.uniform(*PAUSE))  # noqa: S311  nothing secret
        raise AssertionError("the last trial returns or raises")


async def _refusal(call: Call, answer: Answer) -> PlatformError:
    """What the server's error means, read and closed."""
    try:
        return call.refusal(answer, await answer.body())
    finally:
        answer.close()


def _resting(target: Target, wait: float) -> Unavailable:
    return Unavailable(
        f"the model server of {target.route} failed several times in a row and is not asked for {wait:.0f} s",
        remedy="Try again then; if it stays, look at the endpoint's log.",
    )
