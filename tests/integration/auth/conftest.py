"""The auth domain over each real database, with cheap hashes and short waits."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pgserver
import pytest
from sqlalchemy import create_engine, text

import services.auth
from services.auth.assembly import Assembly, assemble
from services.auth.settings import Settings
from services.runtime.keyring import Keyring
from services.runtime.persistence import Database

MIGRATIONS = Path(services.auth.__file__).parent / "migrations"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real PostgreSQL, as a role that row-level security binds."""
    server = pgserver.get_server(tmp_path_factory.mktemp("postgres"))
    admin = create_engine(server.get_uri().replace("postgresql://", "postgresql+psycopg://"))
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CREATE ROLE polyphony LOGIN NOSUPERUSER"))
        connection.execute(text("GRANT CREATE ON DATABASE postgres TO polyphony"))
    yield admin.url.set(username="polyphony").render_as_string(hide_password=False)
    admin.dispose()
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'data' / 'auth.db'}"
    url: str = request.getfixturevalue("postgres")
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
