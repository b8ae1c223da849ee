"""Transactions of the runtime as the use cases see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from services.runtime.persistence import Database, Transaction
from services.spotify.adapters.events import OutboxEvents
from services.spotify.adapters.histories import SqlHistories
from services.spotify.adapters.imports import SqlImports
from services.spotify.adapters.plays import SqlPlays
from services.spotify.adapters.profiles import SqlProfiles
from services.spotify.ports import Stores

R = TypeVar("R")


class SqlStorage:
    """See `ports.Storage`. The tenant is that of the call, unless one is given (for jobs)."""

    def __init__(self, database: Database, tenant: str | None = None) -> None:
        self._database = database
        self._tenant = tenant

    async def read(self, work: Callable[[Stores], R]) -> R:
        """Run `work` in a reading transaction."""
        return await self._database.read(lambda tx: work(_stores(tx)), tenant=self._tenant)

    async def write(self, work: Callable[[Stores], R]) -> R:
        """Run `work` in a writing transaction, which is committed when this returns."""
        return await self._database.write(lambda tx: work(_stores(tx)), tenant=self._tenant)


def _stores(tx: Transaction) -> Stores:
    return Stores(tx.now, SqlHistories(tx), SqlImports(tx), SqlPlays(tx), SqlProfiles(tx), OutboxEvents(tx))
