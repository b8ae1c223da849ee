"""The least that storing a history can cost: its very rows, put into the same tables by sqlite3 alone."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from bench.history_process import Imported, open_database
from services.spotify.usecases.import_history import BATCH_ELEMENTS

PLAYS = "history, ended_at, content, ms_played, end_reason, flags, platform, tenant"
CONTENTS = "history, number, kind, artist, album, uri_index, names, tenant"

Batch = tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]
"""Rows of contents and rows of plays for one transaction."""


def rows_of(folder: Path) -> list[Batch]:
    """What an import stored in `folder`, cut into transactions as it cut them: new contents with their plays."""
    with closing(sqlite3.connect(folder / "spotify.db")) as connection:
        plays = connection.execute(f"SELECT {PLAYS} FROM plays ORDER BY ended_at").fetchall()  # noqa: S608
        contents = {row[1]: row for row in connection.execute(f"SELECT {CONTENTS} FROM contents")}  # noqa: S608
    batches: list[Batch] = []
    for start in range(0, len(plays), BATCH_ELEMENTS):
        batch = plays[start : start + BATCH_ELEMENTS]
        new = dict.fromkeys(row[2] for row in batch if row[2] in contents)
        batches.append(([contents.pop(number) for number in new], batch))
    return batches


def store(batches: list[Batch], folder: Path) -> Imported:
    """Store them in a new database in `folder`; what that took, without making the tables or looking at memory."""
    asyncio.run(_migrate(folder))
    with closing(sqlite3.connect(folder / "spotify.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        began, spent = time.perf_counter(), time.process_time()
        for contents, plays in batches:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(f"INSERT INTO contents ({CONTENTS}) VALUES ({_marks(8)})", contents)  # noqa: S608
            connection.executemany(f"INSERT INTO plays ({PLAYS}) VALUES ({_marks(8)})", plays)  # noqa: S608
            connection.execute("COMMIT")
        seconds, spent = time.perf_counter() - began, time.process_time() - spent
        [(found,)] = connection.execute("SELECT count(*) FROM plays").fetchall()
    if found != sum(len(plays) for _, plays in batches):
        raise RuntimeError(f"only {found} plays were stored")
    return Imported(found, seconds, spent, 0)


def _marks(count: int) -> str:
    return ", ".join("?" * count)


async def _migrate(folder: Path) -> None:
    database = open_database(folder)
    await database.start()
    await database.close()
