"""Write the next revision of a schema: what the models have and the revisions so far do not.

    python -m services.runtime.persistence.revise services.spotify.adapters.sql:Entity \\
        services/spotify/migrations "plays"

The revisions are applied to an empty SQLite database, which is compared with the metadata; the file is meant to be
read, and corrected where data must move, before it is committed.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from alembic.autogenerate import compare_metadata, produce_migrations, render_python_code
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData
from sqlalchemy.types import TypeDecorator

from services.runtime.persistence.engines import open_engines
from services.runtime.persistence.migrate import (
    DOMAIN_VERSION_TABLE,
    RUNTIME_REVISIONS,
    RUNTIME_VERSION_TABLE,
    migrate,
    run_revisions,
)

_HEAD = '''"""{message}"""

import sqlalchemy as sa
from alembic import op

revision = "{number:04d}"
down_revision = {previous}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema to this revision."""
{body}
'''


def differences(connection: Connection, metadata: MetaData) -> list[Any]:
    """What Alembic would change to make the database equal to the metadata; empty when they agree."""
    return list(compare_metadata(_context(connection, metadata), metadata))


def _context(connection: Connection, metadata: MetaData) -> MigrationContext:
    def ours(name: str | None, kind: str, _: Any) -> bool:
        return kind != "table" or name in metadata.tables

    return MigrationContext.configure(
        connection,
        opts={
            "target_metadata": metadata,
            "include_name": ours,
            "compare_type": True,
            "render_item": _render,
            "user_module_prefix": None,
        },
    )


def _render(kind: str, item: Any, context: Any) -> Any:
    # A revision keeps what is stored, not the Python type of the day: that may be renamed later.
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.impl!r}" if hasattr(item, "impl") else False
    return False


def write_revision(metadata: MetaData, folder: Path, message: str) -> Path | None:
    """Write the next revision into ``folder/versions``; returns its path, or ``None`` when nothing has changed."""
    versions = folder / "versions"
    versions.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        engines = open_engines(f"sqlite:///{scratch}/revise.db", schema="revise", readers=1)
        runtime = folder.resolve() == RUNTIME_REVISIONS.resolve()
        if not runtime:
            migrate(engines.writer, schema="revise", domain=None)
        with engines.writer.begin() as connection:
            run_revisions(connection, folder, RUNTIME_VERSION_TABLE if runtime else DOMAIN_VERSION_TABLE)
            script = produce_migrations(_context(connection, metadata), metadata)
            assert script.upgrade_ops is not None
            body = (
                None
                if script.upgrade_ops.is_empty()
                else render_python_code(script.upgrade_ops, render_item=_render)
            )
        engines.dispose()
    if body is None:
        return None
    number = 1 + max((int(file.name[:4]) for file in versions.glob("[0-9][0-9][0-9][0-9]_*.py")), default=0)
    previous = f'"{number - 1:04d}"' if number > 1 else "None"
    lines = [line for line in body.splitlines() if not line.strip().startswith("# ###")]
    target = versions / f"{number:04d}_{re.sub(r'[^a-z0-9]+', '_', message.lower()).strip('_')}.py"
    indented = "\n".join(f"    {line.strip()}" if index == 0 else line for index, line in enumerate(lines))
    target.write_text(_HEAD.format(message=message, number=number, previous=previous, body=indented))
    return target


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Write the next revision of a schema.")
    parser.add_argument("models", help="module:name of a declarative base or a MetaData")
    parser.add_argument("folder", type=Path, help="the folder that holds versions/")
    parser.add_argument("message", help="what changes, in a few words")
    given = parser.parse_args()
    module, _, name = given.models.partition(":")
    found = getattr(importlib.import_module(module), name)
    written = write_revision(getattr(found, "metadata", found), given.folder, given.message)
    print(written or "nothing has changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
