"""The auth domain over each real database, with cheap hashes and short waits."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from services.auth.assembly import Assembly, assemble
from services.auth.settings import Settings
from services.auth.wiring import MIGRATIONS
from services.runtime.keyring import Keyring
from services.runtime.persistence import Database
from tests.fixtures.postgres import postgres_url

__all__ = ["postgres_url"]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'data' / 'auth.db'}"
    url: str = request.getfixturevalue("postgres_url")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA IF EXISTS auth CASCADE"))
    engine.dispose()
    return url


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    """Cheap hashes, short leases; everything else as shipped."""
    (tmp_path / "keys").mkdir(mode=0o700)
    Keyring.create_file(tmp_path / "keys" / "auth.kek")
    return Settings(
        home=tmp_path,
        port=0,
        database_url=database_url,
        argon2_memory_kib=64,
        argon2_iterations=1,
        feed_lease_seconds=0.3,
    )


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[tuple[Assembly, Database]]:
    """The domain without its gRPC server."""
    database = Database(
        settings.database_url,
        domain="auth",
        migrations=MIGRATIONS,
        keyring=Keyring.from_file(settings.kek_file),
    )
    await database.start()
    assembly = assemble(settings, database)
    await assembly.open()
    feed = asyncio.create_task(assembly.feed.run())
    try:
        yield assembly, database
    finally:
        feed.cancel()
        await asyncio.gather(feed, return_exceptions=True)
        await assembly.close()
        await database.close()


@pytest.fixture
async def assembly(settings: Settings) -> AsyncIterator[Assembly]:
    """The domain without its gRPC server."""
    async with running(settings) as (assembly, _):
        yield assembly
