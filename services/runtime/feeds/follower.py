"""The follower's half of a feed."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Generic

from services.runtime.feeds.messages import Ack, Beat, Change, Connect, Delta, Snapshot, State

_LOG = logging.getLogger(__name__)


class _Gap(Exception):
    """A message does not build on what is here; a new stream begins with a snapshot."""


class FeedFollower(Generic[State, Change]):
    """Keeps a copy of an authority's state and knows whether it may be relied on.

    `replace` and `apply` take a snapshot or a change into use, at once, without awaiting; the version is
    acknowledged when they return. One that raises breaks the connection, so that a change that cannot be applied
    is never acknowledged. `name` must be unique to this process run. `silence` is how many seconds without any
    message break a connection; reconnecting backs off from `backoff[0]` to `backoff[1]` seconds. The lease outlives
    the connection: an authority that restarts quickly is not noticed by callers.
    """

    def __init__(
        self,
        connect: Connect[State, Change],
        *,
        name: str,
        replace: Callable[[State], None],
        apply: Callable[[Change], None],
        silence: float = 1.5,
        backoff: tuple[float, float] = (0.05, 1.0),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.version = 0
        self.until = float("-inf")
        """When the lease ends, on `clock`. Compare it yourself where `fresh` would be too slow."""
        self._connect = connect
        self._replace = replace
        self._apply = apply
        self._silence = silence
        self._backoff = backoff
        self._clock = clock
        self._outbox: asyncio.Queue[Ack] = asyncio.Queue()
        self._sent: dict[int, float] = {}
        self._sequence = 0
        self._delay = backoff[0]
        self._leaving = False
        self._granted = asyncio.Event()

    @property
    def fresh(self) -> bool:
        """Whether the state may be relied on now."""
        return self._clock() < self.until

    async def ready(self, within: float) -> None:
        """Return when the state was fresh for the first time. Raises `TimeoutError` after `within` seconds."""
        async with asyncio.timeout(within):
            await self._granted.wait()

    async def run(self) -> None:
        """Follow until cancelled; then stop answering and tell the authority, so that nobody waits for the lease."""
        following = asyncio.create_task(self._stay_connected())
        try:
            await asyncio.shield(following)
        except asyncio.CancelledError:
            self._leaving = True
            self.until = float("-inf")
            self._acknowledge()
            await asyncio.wait({following}, timeout=0.3)
            raise
        finally:
            following.cancel()

    async def _stay_connected(self) -> None:
        while not self._leaving:
            try:
                await self._follow()
            except _Gap as gap:
                _LOG.warning("feed follower %s starts again: %s", self.name, gap)
            except Exception as error:
                if self._delay <= 2 * self._backoff[0]:
                    _LOG.warning("feed follower %s lost its authority: %s", self.name, type(error).__name__)
            await asyncio.sleep(self._delay * random.uniform(0.5, 1.0))  # noqa: S311 - spreads reconnections
            self._delay = min(2 * self._delay, self._backoff[1])

    async def _follow(self) -> None:
        """One stream, from its first message to its end."""
        outbox: asyncio.Queue[Ack] = asyncio.Queue()
        self._outbox, self._sent, self._sequence = outbox, {}, 0
        started = False

        async def acks() -> AsyncIterator[Ack]:
            while True:
                yield await outbox.get()

        self._acknowledge()
        updates = self._connect(acks())
        try:
            while True:
                try:
                    async with asyncio.timeout(self._silence):
                        update = await anext(updates)
                except StopAsyncIteration:
                    return
                if self._leaving:
                    continue
                match update:
                    case Snapshot(version, state):
                        self._replace(state)
                        self.version, started = version, True
                    case Delta(previous, version, change):
                        if not started or previous != self.version:
                            raise _Gap(f"a change builds on {previous}, not on {self.version}")
                        self._apply(change)
                        self.version = version
                    case Beat(version, echo, lease):
                        if not started or version != self.version:
                            raise _Gap(f"the authority is at {version}, not at {self.version}")
                        self._take_lease(echo, lease)
                self._acknowledge()
        finally:
            with suppress(Exception):
                await updates.aclose()

    def _acknowledge(self) -> None:
        self._sequence += 1
        self._sent[self._sequence] = self._clock()
        self._outbox.put_nowait(Ack(self.name, self.version, self._sequence, self._leaving))

    def _take_lease(self, echo: int, lease: float) -> None:
        sent = self._sent.get(echo)
        if sent is None:
            return
        self._sent = {sequence: at for sequence, at in self._sent.items() if sequence >= echo}
        self.until = max(self.until, sent + lease)
        self._delay = self._backoff[0]
        self._granted.set()
