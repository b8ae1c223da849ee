"""One database of each kind, empty, with the tables of the runtime and of a small domain."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from services.runtime.keyring import Keyring
from services.runtime.persistence import Database
from services.runtime.persistence.revise import write_revision
from tests.fixtures.postgres import postgres_url
from tests.fixtures.shelf import Entity

__all__ = ["postgres_url"]

MakeDatabase = Callable[..., Database]


@pytest.fixture(scope="session")
def migrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The domain's revisions, written by the command that writes them."""
    folder = tmp_path_factory.mktemp("shelf") / "migrations"
    assert write_revision(Entity.metadata, folder, "Shelves and discs") is not None
    return folder


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'data' / 'shelf.db'}"
        return
    address: str = request.getfixturevalue("postgres_url")
    engine = create_engine(address)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA IF EXISTS shelf CASCADE"))
    yield address
    engine.dispose()


@pytest.fixture
def keyring() -> Keyring:
    """A key-encryption key for one test."""
    return Keyring([os.urandom(32)])


@pytest.fixture
async def make(url: str, keyring: Keyring, migrations: Path) -> AsyncIterator[MakeDatabase]:
    """Makes databases on the same storage, as several processes would; closes them at the end."""
    made: list[Database] = []

    def build(**changes: object) -> Database:
        given: dict[str, object] = {
            "domain": "shelf",
            "migrations": migrations,
            "keyring": keyring,
            **changes,
        }
        made.append(Database(url, **given))  # type: ignore[arg-type]
        return made[-1]

    yield build
    await asyncio.gather(*(database.close() for database in made))


@pytest.fixture
async def database(make: MakeDatabase) -> Database:
    """A started database."""
    made = make()
    await made.start()
    return made
