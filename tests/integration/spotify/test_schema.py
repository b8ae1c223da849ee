"""The revisions make exactly the tables that the code declares."""

from __future__ import annotations

from services.runtime.persistence import Database
from services.runtime.persistence.revise import differences
from services.spotify.adapters.tables import Entity


def test_migrated_database_equals_the_declared_tables(database: Database) -> None:
    with database.engine.connect() as connection:
        assert differences(connection, Entity.metadata) == []
