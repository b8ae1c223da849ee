"""Tells open streams of this process that a person's champion may have changed.

It is a hint that saves waiting: a stream also looks for itself from time to time, because another worker may have
made the change.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable


class Changes:
    """Wakes those who wait for a person's champion. Used on the event loop only."""

    def __init__(self) -> None:
        self._waiting: defaultdict[tuple[str, str], set[asyncio.Event]] = defaultdict(set)
        self._subscribers: list[Callable[[str, str], None]] = []

    def subscribe(self, told: Callable[[str, str], None]) -> None:
        """Call `told(tenant, user)` for each change, before anybody is woken."""
        self._subscribers.append(told)

    def tell(self, tenant: str, user: str) -> None:
        """Wake everybody who waits for this person."""
        for told in self._subscribers:
            told(tenant, user)
        for event in self._waiting.get((tenant, user), ()):
            event.set()

    async def wait(self, tenant: str, user: str, at_most: float) -> None:
        """Return when told, or after `at_most` seconds."""
        event = asyncio.Event()
        waiting = self._waiting[tenant, user]
        waiting.add(event)
        try:
            async with asyncio.timeout(at_most):
                await event.wait()
        except TimeoutError:
            pass
        finally:
            waiting.discard(event)
            if not waiting:
                self._waiting.pop((tenant, user), None)
