"""Ends calls at their deadlines with one timer for all of them.

A timer of the event loop for each call would cost more than the rest of the road: nearly every call
ends long before its deadline, and its cancelled timer stays in the loop's heap until then.
"""

from __future__ import annotations

import asyncio

from interceptors.call import Call
from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2

TICK_SECONDS = 0.02
"""How much later than its deadline a call may be ended."""


class Deadlines:
    """The calls of one event loop that have a deadline, by the tick at which it has passed."""

    def __init__(self) -> None:
        self._ticks: dict[int, set[Call]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, call: Call, deadline: float) -> int:
        """End `call` once `deadline` (seconds of the loop's clock) has passed; returns what `discard` needs."""
        tick = int(deadline / TICK_SECONDS) + 1
        calls = self._ticks.get(tick)
        if calls is None:
            calls = self._ticks[tick] = set()
        calls.add(call)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._sweep)
        return tick

    def discard(self, call: Call, tick: int) -> None:
        """Let the call be; it ended by itself."""
        if (calls := self._ticks.get(tick)) is not None:
            calls.discard(call)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = int(loop.time() / TICK_SECONDS)
        for tick in [tick for tick, calls in self._ticks.items() if tick <= now or not calls]:
            for call in self._ticks.pop(tick):
                call.end(Fault(reason_pb2.REASON_DEADLINE_EXCEEDED))
        self._timer = loop.call_later(TICK_SECONDS, self._sweep) if self._ticks else None
