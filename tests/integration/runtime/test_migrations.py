"""Revisions and models agree, on both databases, and several processes may start at once."""

import asyncio
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, column, inspect, select, table

from services.runtime.persistence import Database
from services.runtime.persistence.migrate import RUNTIME_REVISIONS
from services.runtime.persistence.revise import differences, write_revision
from services.runtime.persistence.tables import RUNTIME
from tests.fixtures.shelf import Entity


@pytest.mark.parametrize("metadata", [RUNTIME, Entity.metadata], ids=["runtime", "domain"])
async def test_models_and_revisions_agree(database: Database, metadata: MetaData) -> None:
    with database.engine.connect() as connection:
        assert differences(connection, metadata) == []


async def test_a_difference_is_seen(database: Database) -> None:
    changed = MetaData()
    for known in RUNTIME.tables.values():
        known.to_metadata(changed)
    changed.tables["audit_outbox"].append_column(Column("extra", Integer))
    with database.engine.connect() as connection:
        assert [change[0] for change in differences(connection, changed)] == ["add_column"]


def test_the_runtimes_revisions_are_complete() -> None:
    assert write_revision(RUNTIME, RUNTIME_REVISIONS, "must not be needed") is None


async def test_starting_again_changes_nothing(database: Database, make: Any) -> None:
    def shape() -> Any:
        with database.engine.connect() as connection:
            names = sorted(inspect(connection).get_table_names())
            versions = [
                connection.execute(select(column("version_num")).select_from(table(name))).all()
                for name in names
                if "alembic" in name
            ]
            return names, versions

    before = shape()
    await make().start()
    assert shape() == before
    assert len(before[1]) == 2


async def test_a_second_revision_holds_what_is_new(
    database: Database, migrations: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "migrations"
    shutil.copytree(migrations, folder)
    changed = MetaData(naming_convention=Entity.metadata.naming_convention)
    for known in Entity.metadata.tables.values():
        known.to_metadata(changed)
    changed.tables["discs"].append_column(Column("year", Integer))
    written = write_revision(changed, folder, "Year of a disc")
    assert written is not None
    assert written.name == "0002_year_of_a_disc.py"
    source = written.read_text()
    assert 'down_revision = "0001"' in source
    assert "year" in source
    assert "create_table" not in source


START = """
import asyncio, sys
from pathlib import Path
from services.runtime.persistence import Database

async def main(url, folder):
    database = Database(url, domain="shelf", migrations=Path(folder))
    await database.start()
    await database.close()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_processes_that_start_together_all_succeed(url: str, migrations: Path, make: Any) -> None:
    command = [sys.executable, "-c", START, url, str(migrations)]
    racers = [
        await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE) for _ in range(4)
    ]
    errors = [(await racer.communicate())[1] for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * 4, errors
    database = make()
    await database.start()
    with database.engine.connect() as connection:
        assert differences(connection, Entity.metadata) == []


async def test_a_broken_revision_leaves_the_database_as_it_was(url: str, tmp_path: Path, make: Any) -> None:
    versions = tmp_path / "broken" / "versions"
    versions.mkdir(parents=True)
    (versions / "0001_broken.py").write_text(
        "from alembic import op\nrevision, down_revision = '0001', None\n"
        "def upgrade():\n    op.execute('CREATE TABLE half (id INTEGER)')\n    raise RuntimeError('stop')\n"
    )
    database = make(migrations=versions.parent)
    with pytest.raises(RuntimeError, match="stop"):
        await database.start()
    with database.engine.connect() as connection:
        assert inspect(connection).get_table_names() == []
