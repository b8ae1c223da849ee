"""Rows of the runtime that have served their time are deleted while a service runs."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

from services.runtime.events import forget_processed
from services.runtime.idempotency import DatabaseIdempotencyStore
from services.runtime.persistence import SYSTEM, Database

PERIOD_SECONDS = 600.0
"""How often; a row outlives its time by this much at most, as long as the database answers."""
PROCESSED_MEMORY = timedelta(days=30)
"""How long an event stays known as handled: far longer than a stream could deliver it again."""

_log = logging.getLogger(__name__)


class Housekeeping:
    """Deletes expired answers and old memories of events. Workers may do so at the same time."""

    def __init__(self, database: Database, answers: DatabaseIdempotencyStore) -> None:
        self._database = database
        self._answers = answers

    async def run(self) -> None:
        """Sweep for as long as the service runs; a sweep that fails is only put off."""
        while True:
            try:
                await self.sweep()
            except Exception as error:
                _log.warning("housekeeping of %s is put off: %s", self._database.domain, error)
            await asyncio.sleep(PERIOD_SECONDS)

    async def sweep(self) -> int:
        """Delete everything that is due, in small transactions; returns how many rows."""
        swept = await self._database.write(
            lambda tx: forget_processed(tx, older_than=PROCESSED_MEMORY), tenant=SYSTEM
        )
        while batch := await self._answers.purge():
            swept += batch
        return swept
