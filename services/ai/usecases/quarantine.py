"""Put aside what was learnt from data that may not be used any more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from services.ai.changes import Changes
from services.ai.model import State, Version
from services.ai.ports import Storage, Stores
from services.ai.serving import Serving


class Quarantine:
    """Ends a person's trainings, destroys the artefacts of their versions and unloads these."""

    def __init__(self, storage: Storage, serving: Serving, changes: Changes) -> None:
        """Holds what it needs."""
        self._storage = storage
        self._serving = serving
        self._changes = changes

    async def __call__(self, *, tenant: str, user: str, before: datetime, reason: str, message: str) -> int:
        """End every training asked for until `before`, and quarantine the versions of those that have ended; returns
        how many versions of the person are quarantined now. What was asked for later rests on a newer decision and is
        left alone.

        Doing it again is harmless, and needed after Fault MODEL_UNAVAILABLE: then the versions are out of use, but
        the inference server may still hold them.
        """

        def quarantine(stores: Stores) -> Sequence[Version]:
            for training in stores.trainings.running(user):
                if training.created <= before:
                    stores.trainings.put(
                        training.ended(State.FAILED, stores.now, reason=reason, message=message)
                    )
            return stores.models.quarantine(user, before, stores.now)

        versions = await self._storage.write(quarantine, tenant=tenant)
        self._changes.tell(tenant, user)
        await self._serving.drop([version.id for version in versions])
        return len(versions)
