"""The loop of an outbox relay: one process leads, failures back off, a stop drains."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random

from services.runtime.persistence import Database

IDLE_SECONDS = 0.2
"""How long an empty outbox is left alone; the delay that a relay adds at most when all is well."""
GATHER_SECONDS = 0.1
"""How long entries gather after a batch. Relayed one by one as they come, each (two transactions and a call) would cost
more than the call that left it."""
LEADER_SECONDS = 1.0
"""How often a process that does not lead tries to; a dead leader is replaced within this time."""
BACKOFF_SECONDS = (0.2, 10.0)
"""The first and the longest pause after failures; each pause is up to twice the one before."""

_log = logging.getLogger(__name__)


class Relay:
    """Runs :meth:`step` for as long as there is work, in one of the processes that share the database."""

    def __init__(self, database: Database, lock: str) -> None:
        self._shared = database
        self._lock = lock
        self._task: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    async def lead(self) -> None:
        """Called each time this process becomes the leader."""

    async def step(self) -> bool:
        """Relay some entries; returns whether there were any. Raises when the other side did not take them."""
        raise NotImplementedError

    def start(self) -> None:
        """Start relaying on the running loop."""
        self._stop.clear()
        self._task = asyncio.create_task(self._run(), name=self._lock)

    async def stop(self, *, drain_seconds: float = 5.0) -> None:
        """Relay what is left, for at most ``drain_seconds``, then end and let another process lead."""
        self._stop.set()
        if self._task is not None:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._task, drain_seconds)
            self._task = None
        await self._shared.run_blocking(lambda: self._shared.locks.release(self._lock))

    async def _run(self) -> None:
        first, longest = BACKOFF_SECONDS
        backoff = first
        leads = False
        while True:
            try:
                held = await self._shared.run_blocking(lambda: self._shared.locks.acquire(self._lock))
                if held and not leads:
                    await self.lead()
                leads = held
                worked = leads and await self.step()
                backoff = first
                if worked and self._stop.is_set():
                    continue
                pause = GATHER_SECONDS if worked else IDLE_SECONDS if leads else LEADER_SECONDS
            except Exception as error:
                _log.warning("%s of %s pauses: %s", self._lock, self._shared.domain, error)
                pause = backoff * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, keeps no secret
                backoff = min(backoff * 2, longest)
                if self._stop.is_set():
                    return  # the other side is away, and so will this process be: the next start sends the rest
            if self._stop.is_set():
                return
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stop.wait(), pause)
