"""The stores of the ai domain over SQLAlchemy: SQLite and PostgreSQL alike."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from typing import TypeVar

from services.ai.adapters.sql_models import SqlModels
from services.ai.adapters.sql_trainings import SqlTrainings
from services.ai.ports import Stores
from services.runtime.persistence import Database, Transaction

R = TypeVar("R")


class SqlStores:
    """The stores within one transaction."""

    def __init__(self, tx: Transaction) -> None:
        """Works in `tx` and ends with it."""
        self._tx = tx

    @property
    def now(self) -> datetime:
        """The time of the transaction, UTC."""
        return self._tx.now

    @cached_property
    def trainings(self) -> SqlTrainings:
        """Trainings."""
        return SqlTrainings(self._tx)

    @cached_property
    def models(self) -> SqlModels:
        """Models."""
        return SqlModels(self._tx)

    def after_commit(self, callback: Callable[[], object]) -> None:
        """Runs `callback` on the event loop once the transaction has committed."""
        self._tx.on_commit(callback)


class SqlStorage:
    """Runs work in the domain's database."""

    def __init__(self, database: Database) -> None:
        """Uses `database`, which somebody else starts and closes."""
        self._database = database

    async def read(self, work: Callable[[Stores], R], *, tenant: str | None = None) -> R:
        """Runs `work` on one snapshot."""
        return await self._database.read(lambda tx: work(SqlStores(tx)), tenant=tenant)

    async def write(self, work: Callable[[Stores], R], *, tenant: str | None = None) -> R:
        """Runs `work` as one change."""
        return await self._database.write(lambda tx: work(SqlStores(tx)), tenant=tenant)
