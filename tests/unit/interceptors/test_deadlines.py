"""One timer ends every call whose time is over, and no other."""

import asyncio

from interceptors.deadlines import TICK_SECONDS, Deadlines


class Running:
    """Stands for a call: remembers with what it was ended, and when."""

    def __init__(self) -> None:
        self.ended: list[tuple[float, str]] = []

    def end(self, fault) -> None:
        self.ended.append((asyncio.get_running_loop().time(), fault.name))


async def test_a_call_is_ended_after_its_deadline_and_never_before():
    deadlines, now = Deadlines(), asyncio.get_running_loop().time()
    calls = {now + seconds: Running() for seconds in (0.0, 0.011, 0.02, 0.05, 0.1)}
    for deadline, call in calls.items():
        deadlines.add(call, deadline)
    await asyncio.sleep(0.1 + 5 * TICK_SECONDS)
    for deadline, call in calls.items():
        ((when, reason),) = call.ended
        assert reason == "DEADLINE_EXCEEDED"
        assert when >= deadline


async def test_a_call_that_ended_by_itself_is_let_be_and_forgotten():
    deadlines, now = Deadlines(), asyncio.get_running_loop().time()
    answered, late = Running(), Running()
    tick = deadlines.add(answered, now + 0.01)
    assert deadlines.add(late, now + 0.01) == tick
    deadlines.discard(answered, tick)
    await asyncio.sleep(0.01 + 4 * TICK_SECONDS)
    assert answered.ended == []
    assert len(late.ended) == 1
    deadlines.discard(late, tick)


async def test_the_timer_runs_only_while_there_is_a_deadline():
    loop, deadlines, calls = asyncio.get_running_loop(), Deadlines(), []
    original = loop.call_later
    loop.call_later = lambda *given: (calls.append(given), original(*given))[1]  # type: ignore[method-assign]
    try:
        for _ in range(2):
            deadlines.add(Running(), loop.time())
            await asyncio.sleep(4 * TICK_SECONDS)
        timers = [given for given in calls if getattr(given[1], "__self__", None) is deadlines]
        await asyncio.sleep(4 * TICK_SECONDS)
        assert 2 <= len(timers) <= 6
        assert len([given for given in calls if getattr(given[1], "__self__", None) is deadlines]) == len(
            timers
        )
    finally:
        loop.call_later = original  # type: ignore[method-assign]
