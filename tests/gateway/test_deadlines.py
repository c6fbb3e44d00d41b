"""Blocks that may not last: each ends with its own error, whoever else is late at the same time."""

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from serving_api.chat.deadlines import TICK, Cutoff, Deadlines


class Late(Exception):
    pass


class Later(Exception):
    pass


def scenario(told: Callable[[Deadlines, "asyncio.Task[object]"], Coroutine[None, None, str]]) -> str:
    """What a task came to that works with deadlines of its own loop, of which none may be left."""

    async def main() -> str:
        deadlines, task = Deadlines(asyncio.get_running_loop()), asyncio.current_task()
        assert task is not None
        found = await told(deadlines, task)
        await asyncio.sleep(2 * TICK)
        assert not deadlines._due
        assert deadlines._timer is None
        assert not task.cancelling()
        return found

    return asyncio.run(main())


def test_a_block_that_ends_in_time_ends_as_it_likes() -> None:
    async def quick(deadlines: Deadlines, task: "asyncio.Task[object]") -> str:
        with Cutoff(deadlines, task, 3 * TICK, Late):
            await asyncio.sleep(0)
        await asyncio.sleep(4 * TICK)  # it is not cut off afterwards
        return "well"

    assert scenario(quick) == "well"


def test_a_block_that_is_late_raises_its_error_and_the_task_goes_on() -> None:
    async def slow(deadlines: Deadlines, task: "asyncio.Task[object]") -> str:
        with pytest.raises(Late), Cutoff(deadlines, task, TICK, Late):
            await asyncio.sleep(60)
        await asyncio.sleep(0)
        return "well"

    assert scenario(slow) == "well"


@pytest.mark.parametrize(("inner", "outer", "error"), [(1, 100, Late), (100, 1, Later), (1, 1, Later)])
def test_of_two_blocks_the_one_that_is_late_raises_and_the_outer_one_when_both_are(
    inner: int, outer: int, error: type[Exception]
) -> None:
    async def nested(deadlines: Deadlines, task: "asyncio.Task[object]") -> str:
        both = Cutoff(deadlines, task, outer * TICK, Later), Cutoff(deadlines, task, inner * TICK, Late)
        with pytest.raises(error), both[0], both[1]:
            await asyncio.sleep(60)
        return "well"

    assert scenario(nested) == "well"


def test_an_error_of_the_block_itself_is_raised_as_it_is_even_when_it_is_late() -> None:
    async def fails(deadlines: Deadlines, task: "asyncio.Task[object]") -> str:
        with pytest.raises(ValueError, match="own"), Cutoff(deadlines, task, TICK, Late):
            raise ValueError("own")
        return "well"

    assert scenario(fails) == "well"


def test_a_block_that_makes_an_error_of_its_own_of_being_cut_off_leaves_nothing_behind() -> None:
    async def turns(deadlines: Deadlines, task: "asyncio.Task[object]") -> str:
        with pytest.raises(ValueError, match="own"), Cutoff(deadlines, task, TICK, Late):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                raise ValueError("own") from None
        return "well"

    assert scenario(turns) == "well"


def test_who_is_cancelled_by_somebody_else_is_cancelled() -> None:
    async def waits(deadlines: Deadlines, _task: "asyncio.Task[object]") -> str:
        async def work() -> None:
            task = asyncio.current_task()
            assert task is not None
            with Cutoff(deadlines, task, 100 * TICK, Late):
                await asyncio.sleep(60)

        working = asyncio.create_task(work())
        await asyncio.sleep(0)
        working.cancel()
        told = await asyncio.gather(working, return_exceptions=True)
        return type(told[0]).__name__

    assert scenario(waits) == "CancelledError"
