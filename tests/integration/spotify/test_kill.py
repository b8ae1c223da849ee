"""The service is killed in the middle of an import: the file is sent again, nothing is lost and nothing is doubled."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Row, select

from services.runtime.persistence import Database
from services.spotify.adapters.tables import HistoryRow, ImportRow, PlayRow
from tests.integration.spotify.conftest import TENANT, Door, document, exported

COUNT = 30_000

SERVICE = """
import asyncio, sys
from pathlib import Path
from services.runtime.keyring import Keyring
from services.runtime.persistence import Database
from services.spotify.wiring import MIGRATIONS
from tests.integration.spotify.conftest import Door, requests

async def main(url, file):
    database = Database(url, domain="spotify", migrations=MIGRATIONS, keyring=Keyring([b"\\7" * 32]))
    await database.start()
    async def arriving():
        for message in requests(Path(file).read_bytes()):
            yield message
            await asyncio.sleep(0.002)  # a network
    print("ready", flush=True)
    await Door(database).stream(arriving())
    print("done", flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


def start(url: str, file: Path) -> subprocess.Popen[str]:
    """A process that imports the file, slowly."""
    return subprocess.Popen(
        [sys.executable, "-c", SERVICE, url, str(file)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )


async def kept(database: Database, user: str) -> list[Row[tuple[int, int, int]]]:
    """Everything that makes a play, of all plays of a person."""
    statement = (
        select(PlayRow.ended_at, PlayRow.ms_played, PlayRow.flags)
        .join(HistoryRow, HistoryRow.id == PlayRow.history)
        .where(HistoryRow.user == user)
        .order_by(PlayRow.ended_at, PlayRow.ms_played)
    )
    return await database.read(lambda tx: list(tx.session.execute(statement).all()), tenant=TENANT)


@pytest.mark.parametrize("batches", [0, 2])
async def test_killed_in_the_middle(url: str, tmp_path: Path, database: Database, batches: int) -> None:
    data = document(
        *(exported(number, ms_played=-1 if number % 1000 == 7 else number) for number in range(COUNT))
    )
    file = tmp_path / "history.json"
    file.write_bytes(data)
    child = start(url, file)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    try:
        read = -1
        while read < batches * 10_000:
            assert child.poll() is None, "it was done before it could be killed"
            committed = await database.read(
                lambda tx: tx.session.scalar(select(ImportRow.plays_read)), tenant=TENANT
            )
            read = -1 if committed is None else committed
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert child.stdout.read() == ""
    child.stdout.close()

    door = Door(database)
    committed = await database.read(lambda tx: tx.session.scalar(select(ImportRow.plays_read)), tenant=TENANT)
    assert committed is not None
    assert batches * 10_000 <= committed < COUNT
    done = await door.bring(data)
    uninterrupted = await door.bring(data, user="bob")
    assert (done.plays_read, done.plays_imported, done.plays_duplicate, done.plays_rejected) == (
        COUNT,
        COUNT - COUNT // 1000,
        0,
        COUNT // 1000,
    )
    assert uninterrupted.plays_imported == done.plays_imported
    assert list(done.rejections) == list(uninterrupted.rejections)
    assert await kept(database, "alice") == await kept(database, "bob")
    assert list(done.ignored_entries) == []
    await door.importing.close()
