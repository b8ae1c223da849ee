"""Which version a name means now, without asking the database for each call.

What this process changes is seen at once. What another worker changes is seen after `fresh_seconds`: until then a
call may be answered by the version that was meant a moment ago. That never revives what was quarantined, because its
artefact is destroyed and it is unloaded; and consent is settled on the road, before anything is asked here.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from services.ai.changes import Changes
from services.ai.model import Version
from services.ai.ports import Storage, Stores

MOST = 4_096
"""Names remembered at once."""


class Pointers:
    """Remembers what aliases mean."""

    def __init__(self, storage: Storage, changes: Changes, *, fresh_seconds: float) -> None:
        """Forgets what `changes` tells of."""
        self._storage = storage
        self._fresh = fresh_seconds
        self._known: OrderedDict[tuple[str, str, str, str], tuple[float, Version]] = OrderedDict()
        self._forgotten = 0
        changes.subscribe(self._forget)

    async def version(
        self, tenant: str, user: str, model: str, alias: str, find: Callable[[Stores], Version]
    ) -> Version:
        """What `find` says the alias of the person's model means, or what it said a moment ago. Raises what it raises;
        a failure is not remembered."""
        place = (tenant, user, model, alias)
        known = self._known.get(place)
        if known is not None and time.monotonic() < known[0]:
            return known[1]
        forgotten, expires = self._forgotten, time.monotonic() + self._fresh
        version = await self._storage.read(find, tenant=tenant)
        if (
            forgotten == self._forgotten
        ):  # else it may have been read before the change that was told meanwhile
            self._known[place] = (expires, version)
            self._known.move_to_end(place)
            while len(self._known) > MOST:
                self._known.popitem(last=False)
        return version

    def _forget(self, tenant: str, user: str) -> None:
        self._forgotten += 1
        for place in [place for place in self._known if place[:2] == (tenant, user)]:
            del self._known[place]
