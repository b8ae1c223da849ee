"""Migrations: the runtime's revisions, then the domain's, at start, one process at a time, in one transaction."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text

from services.runtime.persistence.entities import SYSTEM

_log = logging.getLogger(__name__)

UNSECURED = frozenset({"audit_outbox", "idempotency_keys"})
"""Tables without row-level security: the tenant in them is the caller's, which is not the transaction's when a call
without a credential (a sign-up) makes a tenant. No entity is mapped to them."""
RUNTIME_REVISIONS = Path(__file__).parent / "migrations"
RUNTIME_VERSION_TABLE = "alembic_version_runtime"
DOMAIN_VERSION_TABLE = "alembic_version"


def migrate(engine: Engine, *, schema: str, domain: Path | None) -> None:
    """Bring the database to the newest revisions; idempotent. ``domain`` is a folder with a ``versions`` folder in it.

    The lock is SQLite's own write lock, or an advisory lock on PostgreSQL. Row-level security is put on every table
    with a tenant. Raises what the database raises; nothing is half done, because DDL is transactional in both.
    """
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            raw: Any = connection.connection.driver_connection
            # Outside a transaction only: a rebuilt table must not cascade its deletion to those that refer to it.
            raw.execute("PRAGMA foreign_keys = OFF")
            try:
                with connection.begin():
                    _upgrade(connection, domain)
                    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
                    if broken:
                        raise RuntimeError(
                            f"a migration left dangling references in {sorted({row[0] for row in broken})}"
                        )
            finally:
                raw.execute("PRAGMA foreign_keys = ON")
        return
    with (
        engine.connect().execution_options(isolation_level="READ COMMITTED") as connection,
        connection.begin(),
    ):
        key = int.from_bytes(hashlib.sha256(f"migrate {schema}".encode()).digest()[:8], "big", signed=True)
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
        exists = text("SELECT 1 FROM information_schema.schemata WHERE schema_name = :schema")
        if connection.execute(exists, {"schema": schema}).first() is None:
            connection.execute(text(f'CREATE SCHEMA "{schema}"'))
        connection.execute(text("SELECT set_config('app.tenant', :all, true)"), {"all": SYSTEM})
        _upgrade(connection, domain)
        _secure_rows(connection, schema)
        exempt = text("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")
        if connection.execute(exempt).scalar():
            _log.warning(
                "the database role of %s passes by row-level security: use one that does not", schema
            )


def _upgrade(connection: Connection, domain: Path | None) -> None:
    run_revisions(connection, RUNTIME_REVISIONS, RUNTIME_VERSION_TABLE)
    if domain is not None:
        run_revisions(connection, domain, DOMAIN_VERSION_TABLE)


def run_revisions(connection: Connection, folder: Path, version_table: str) -> None:
    """Apply the revisions of one folder that the database does not have yet."""
    script = ScriptDirectory(str(folder), version_locations=[str(folder / "versions")])

    def steps(current: Any, _: MigrationContext) -> Any:
        return script._upgrade_revs("head", current)

    context = MigrationContext.configure(
        connection,
        opts={"fn": steps, "script": script, "version_table": version_table, "render_as_batch": True},
    )

    with Operations.context(context):
        context.run_migrations()


def _secure_rows(connection: Connection, schema: str) -> None:
    """Put row-level security on every table with a tenant: a second wall behind the session's criterion.

    FORCE makes it hold for the tables' owner, too; only superusers are exempt, so a service's role must not be one.
    """
    secured = set(
        connection.execute(
            text(
                "SELECT tablename FROM pg_policies WHERE schemaname = :schema AND policyname = 'tenant_scope'"
            ),
            {"schema": schema},
        ).scalars()
    )
    inspector = inspect(connection)
    rule = f"tenant = current_setting('app.tenant', true) OR current_setting('app.tenant', true) = '{SYSTEM}'"
    for table in inspector.get_table_names(schema=schema):
        if table in secured | UNSECURED or "tenant" not in {
            column["name"] for column in inspector.get_columns(table, schema=schema)
        }:
            continue
        name = f'"{schema}"."{table}"'
        connection.execute(text(f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY"))
        connection.execute(text(f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY"))
        connection.execute(text(f"CREATE POLICY tenant_scope ON {name} USING ({rule}) WITH CHECK ({rule})"))
