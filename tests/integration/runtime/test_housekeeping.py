"""What has served its time goes, what has not stays."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, insert, select

from interceptors.ports import ReplayKey
from services.runtime import housekeeping
from services.runtime.housekeeping import Housekeeping
from services.runtime.idempotency import DatabaseIdempotencyStore
from services.runtime.persistence import SYSTEM, Database, Transaction
from services.runtime.persistence.tables import idempotency_keys, processed_events

KEY = ReplayKey("a", "u", "m", "r", b"d", 60.0)


async def left(database: Database) -> tuple[int, int]:
    def count(tx: Transaction) -> tuple[int, int]:
        answers, events = (
            tx.connection.scalar(select(func.count()).select_from(table)) or 0
            for table in (idempotency_keys, processed_events)
        )
        return answers, events

    return await database.read(count, tenant=SYSTEM)


async def test_a_sweep_takes_what_is_due(database: Database) -> None:
    store = DatabaseIdempotencyStore(database)

    def fill(tx: Transaction) -> None:
        for number in range(12):
            store.reserve(tx, replace(KEY, request_id=f"old {number}", retention=-1))
        store.reserve(tx, KEY)
        for days in (1, 31):
            values = {"consumer": "c", "id": str(days), "time": tx.now - timedelta(days=days)}
            tx.connection.execute(insert(processed_events).values(values))

    await database.write(fill, tenant="a")
    assert await left(database) == (13, 2)
    assert await Housekeeping(database, store).sweep() == 13
    assert await left(database) == (1, 1)


async def test_a_sweep_that_fails_is_put_off(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "PERIOD_SECONDS", 0.01)
    keeping = Housekeeping(database, DatabaseIdempotencyStore(database))
    swept = asyncio.Event()
    attempts = 0

    async def sweep() -> int:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise ConnectionError("away")
        swept.set()
        return 0

    monkeypatch.setattr(keeping, "sweep", sweep)
    task = asyncio.create_task(keeping.run())
    await asyncio.wait_for(swept.wait(), 5)
    task.cancel()
