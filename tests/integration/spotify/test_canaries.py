"""What must be dropped at ingest reaches no file of the database, no log and no error; names rest under seal."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, create_engine, select, text

from services.runtime.persistence import Database
from tests.integration.spotify.conftest import Door, document, exported

DROPPED = {
    "ip_addr": "203.0.113.77",
    "ip_addr_decrypted": "203.0.113.78",
    "user_agent_decrypted": "CanaryAgent/7.7 (canary-device)",
    "username": "canary-spotify-name",
    "conn_country": "ZZCANARY",
    "platform": "Android OS 9 API 28 (canary-phone, SM-CANARY)",
}
SEALED = {
    "master_metadata_track_name": "Canary Song",
    "master_metadata_album_artist_name": "Canary Artist",
    "master_metadata_album_album_name": "Canary Album",
    "spotify_track_uri": "spotify:track:canary",
}
FILE_NAME = "canary_file_of_alice.json"


def at_rest(database: Database, url: str) -> bytes:
    """Every byte at rest: the files of SQLite, or every value of every table of PostgreSQL."""
    if database.path is not None:
        found = sorted(database.path.parent.glob(f"{database.path.name}*"))
        assert any(path.name.endswith("-wal") for path in found)
        return b"".join(path.read_bytes() for path in found if path.is_file())
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("SELECT set_config('app.tenant', '*', true)"))
        metadata = MetaData(schema="spotify")
        metadata.reflect(connection)
        values = [
            bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
            for table in metadata.sorted_tables
            for row in connection.execute(select(table))
            for value in row
        ]
    engine.dispose()
    return b"|".join(values)


def files(folder: Path) -> set[str]:
    """The names of what lies in a folder, without what follows the first dot."""
    return {path.name.split(".")[0] for path in folder.iterdir()}


async def test_what_is_dropped_and_what_is_sealed(
    door: Door,
    database: Database,
    url: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    caplog.set_level(logging.DEBUG)
    good: dict[str, Any] = exported(0, **DROPPED, **SEALED)
    bad = [
        {**good, "ms_played": "canary-length"},
        {**good, "ts": "canary-time"},
        {**good, "ms_played": -1},
        {**good, "ip_addr": {"nested": DROPPED["ip_addr"]}, "ts": None},
        {**good, "skipped": DROPPED["user_agent_decrypted"]},
    ]
    data = document(good, *bad)[:-1] + b',{"ts": "2020-01-01T00:00:00Z", "ip_addr": "203.0.113.77'
    done = await door.bring(data, name=FILE_NAME)
    assert (done.plays_imported, done.plays_rejected, done.truncated) == (1, 6, True)
    # It is there, and only under seal: the test looks in the right place.
    assert [play.title for play in await door.plays()] == ["Canary Song"]
    stored = at_rest(database, url)
    assert b"acme" in stored
    shown = "\n".join((caplog.text, *capfd.readouterr(), str(done.rejections)))
    for secret in (*DROPPED.values(), "canary-length", "canary-time", "canary"):
        if secret != "canary":
            assert secret.encode() not in stored, secret
        assert secret not in shown, secret
    for name in (*SEALED.values(), FILE_NAME):
        assert name.encode() not in stored, name
    assert b"canary" not in stored.lower()
    # Nothing is spooled: no file but the database's own.
    assert files(tmp_path) <= {"spotify"}
