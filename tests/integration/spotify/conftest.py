"""The spotify domain over each real database."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import google_crc32c
import pytest
from sqlalchemy import create_engine, text

from polyphony.spotify.v1 import import_pb2
from polyphony.spotify.v1 import user_data_service_pb2 as pb
from services.runtime.keyring import Keyring
from services.runtime.persistence import Database
from services.spotify.adapters.export.reader import ExportReader
from services.spotify.adapters.storage import SqlStorage
from services.spotify.servicer import UserDataService
from services.spotify.usecases.import_history import ImportHistory
from services.spotify.wiring import MIGRATIONS
from tests.fixtures.postgres import postgres_url

__all__ = ["postgres_url"]

TENANT = "acme"
KEEP = timedelta(days=30)
CHUNK = 64 * 1024


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'spotify.db'}"
    address: str = request.getfixturevalue("postgres_url")
    engine = create_engine(address)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA IF EXISTS spotify CASCADE"))
    engine.dispose()
    return address


class Door:
    """The service as a client sees it, for one tenant."""

    def __init__(
        self, database: Database, tenant: str = TENANT, *, max_bytes: int = 1 << 30, readers: int = 2
    ) -> None:
        self.storage = SqlStorage(database, tenant)
        self.importing = ImportHistory(self.storage, ExportReader(), max_bytes=max_bytes, readers=readers)
        self.service = UserDataService(self.storage, self.importing, keep=KEEP)

    async def bring(
        self, data: bytes, *, user: str = "alice", name: str = "history.json", **changes: Any
    ) -> import_pb2.Import:
        """Stream a file in."""
        return await self.stream(requests(data, user=user, name=name, **changes))

    async def stream(
        self, messages: Iterable[pb.ImportHistoryRequest] | AsyncIterator[pb.ImportHistoryRequest]
    ) -> import_pb2.Import:
        """Stream any messages in."""

        async def arriving() -> AsyncIterator[pb.ImportHistoryRequest]:
            if isinstance(messages, AsyncIterator):
                async for message in messages:
                    yield message
            else:
                for message in messages:
                    yield message

        response = await self.service.ImportHistory(arriving(), None)
        return getattr(response, "import")

    async def plays(self, user: str = "alice", **request: Any) -> list[Any]:
        """All plays, page by page."""
        found: list[Any] = []
        token = ""
        while True:
            page = await self.service.ListPlays(
                pb.ListPlaysRequest(
                    parent=f"users/{user}", page_token=token, **{"page_size": 700, **request}
                ),
                None,
            )
            found += page.plays
            token = page.next_page_token
            if not token:
                return found

    async def profile(self, user: str = "alice", **request: Any) -> Any:
        """The profile."""
        response = await self.service.GetListeningProfile(
            pb.GetListeningProfileRequest(parent=f"users/{user}", **request), None
        )
        return response.profile


def requests(
    data: bytes,
    *,
    user: str = "alice",
    name: str = "history.json",
    sha256: bytes = b"",
    size: int = 0,
    chunk: int = CHUNK,
) -> Iterable[pb.ImportHistoryRequest]:
    """The messages that carry a file."""
    yield pb.ImportHistoryRequest(
        header=pb.ImportHeader(
            parent=f"users/{user}",
            file_name=name,
            size_bytes=size or len(data),
            sha256=sha256 or hashlib.sha256(data).digest(),
        )
    )
    for offset in range(0, len(data), chunk):
        piece = data[offset : offset + chunk]
        yield pb.ImportHistoryRequest(
            chunk=pb.ImportChunk(offset=offset, data=piece, crc32c=google_crc32c.value(piece))
        )


def exported(number: int = 0, **changes: Any) -> dict[str, Any]:
    """The element number `number` of a history: 500 tracks of 50 artists, one play every ten minutes."""
    track = number * 7 % 500
    return {
        "ts": (datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=10 * number)).strftime(
            "%Y-%m-%dT%H:%M:%SZ"
        ),
        "platform": "ios",
        "ms_played": 1_000 + number % 200_000,
        "conn_country": "FR",
        "ip_addr": "198.51.100.7",
        "master_metadata_track_name": f"Track {track}",
        "master_metadata_album_artist_name": f"Artist {track % 50}",
        "master_metadata_album_album_name": f"Album {track % 100}",
        "spotify_track_uri": f"spotify:track:{track:022d}",
        "reason_start": "trackdone",
        "reason_end": "fwdbtn" if number % 5 == 0 else "trackdone",
        "shuffle": False,
        "skipped": number % 5 == 0,
        "offline": False,
        "offline_timestamp": None,
        "incognito_mode": False,
        **changes,
    }


def document(*elements: dict[str, Any]) -> bytes:
    """A file of these elements."""
    return json.dumps(elements).encode()


OpenDatabase = Callable[[], Database]


@pytest.fixture
async def open_database(url: str) -> AsyncIterator[OpenDatabase]:
    """Opens an object of its own, as another worker would, for one database that is empty at first."""
    opened: list[Database] = []

    def make() -> Database:
        opened.append(Database(url, domain="spotify", migrations=MIGRATIONS, keyring=Keyring([b"\7" * 32])))
        return opened[-1]

    yield make
    await asyncio.gather(*(database.close() for database in opened))


@pytest.fixture
async def database(open_database: OpenDatabase) -> Database:
    """The migrated database."""
    made = open_database()
    await made.start()
    return made


@pytest.fixture
async def door(database: Database) -> AsyncIterator[Door]:
    """The service."""
    made = Door(database)
    yield made
    await made.importing.close()
