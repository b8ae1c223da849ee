"""Databases of one process have nothing to do with each other: one that waits keeps nobody from another."""

import asyncio
import sqlite3
import time
from contextlib import suppress

from sqlalchemy import text

from interceptors import Fault
from services.runtime.persistence import SYSTEM, Database


async def test_a_writer_that_waits_in_one_database_keeps_nobody_from_another(tmp_path):
    busy = Database(f"sqlite:///{tmp_path}/busy.db", domain="busy")
    free = Database(f"sqlite:///{tmp_path}/free.db", domain="free")
    await busy.start()
    await free.start()
    holder = sqlite3.connect(tmp_path / "busy.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    async def ask(database):
        await database.write(lambda tx: tx.connection.execute(text("SELECT 1")).one(), tenant=SYSTEM)

    waiting = asyncio.create_task(ask(busy))
    await asyncio.sleep(0.1)
    began = time.monotonic()
    await asyncio.wait_for(ask(free), 2)
    assert time.monotonic() - began < 1
    assert not waiting.done()
    holder.close()
    with suppress(Fault):
        await waiting
    await busy.close()
    await free.close()
