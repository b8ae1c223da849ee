"""SQLAlchemy engines with the transaction rules of this project, and what their errors mean."""

from __future__ import annotations

import os
import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

BUSY_TIMEOUT_SECONDS = 5.0
"""How long a SQLite connection waits for another process's write lock."""

_SQLITE_TRANSIENT = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_POSTGRES_TRANSIENT = {"40001", "40P01"}  # serialization_failure, deadlock_detected


@dataclass(frozen=True, slots=True)
class Engines:
    """The two ways into one database: ``writer`` begins writing transactions, ``reader`` reading ones."""

    writer: Engine
    reader: Engine
    path: Path | None
    """The SQLite file; ``None`` on PostgreSQL."""

    def dispose(self) -> None:
        """Close every pooled connection."""
        self.reader.dispose()
        if self.writer is not self.reader:
            self.writer.dispose()


def open_engines(url: str, *, schema: str, readers: int) -> Engines:
    """Build the engines for ``sqlite:///path`` or ``postgresql+psycopg://...``; nothing is connected yet.

    On PostgreSQL every connection has ``schema`` as its search path, so that statements are the same on both.
    Raises ``ValueError`` for another kind of URL.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise ValueError("SQLite needs a file: the readers and the writer have connections of their own")
        path = Path(parsed.database)
        writer = _sqlite(parsed, path, size=1, begin="BEGIN IMMEDIATE", writes=True)
        reader = _sqlite(parsed, path, size=readers, begin="BEGIN", writes=False)
        return Engines(writer, reader, path)
    if parsed.get_backend_name() == "postgresql":
        if not re.fullmatch(r"[a-z][a-z0-9_]*", schema):
            raise ValueError("a schema name is lower-case letters, digits and underscores")
        engine = create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            pool_size=readers,
            max_overflow=readers,
            pool_timeout=BUSY_TIMEOUT_SECONDS,
            pool_pre_ping=True,
            hide_parameters=True,  # an error must not carry a row into the log
            connect_args={"options": f"-csearch_path={schema}"},
        )
        writer = engine.execution_options(isolation_level="SERIALIZABLE")
        # REPEATABLE READ is a snapshot, as a SQLite reader has it: two statements see the same rows.
        reader = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        return Engines(writer, reader, None)
    raise ValueError(f"no support for {parsed.get_backend_name()} databases: use sqlite or postgresql")


def sqlite_pragmas(connection: sqlite3.Connection, *, writes: bool) -> None:
    """Configure one SQLite connection: durable at every commit, foreign keys on, deleted bytes overwritten."""
    connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_SECONDS * 1000)}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    if writes:
        # A destroyed key or an erased row must not survive in free pages of the file.
        connection.execute("PRAGMA secure_delete = ON")
    else:
        connection.execute("PRAGMA query_only = ON")


def _sqlite(url: URL, path: Path, *, size: int, begin: str, writes: bool) -> Engine:
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0,
        hide_parameters=True,  # an error must not carry a row into the log
        pool_timeout=BUSY_TIMEOUT_SECONDS,
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_SECONDS},
    )

    @event.listens_for(engine, "do_connect")
    def create_private(*_: Any) -> None:
        if not path.exists():
            # The side files (-wal, -shm) inherit these permissions from the database file.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: object) -> None:
        # The driver would begin transactions by itself, late and always DEFERRED; the "begin" event does it instead.
        connection.isolation_level = None
        sqlite_pragmas(connection, writes=writes)

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def is_transient(error: BaseException) -> bool:
    """Whether running the same transaction again may succeed: a lock held elsewhere, a serialisation failure."""
    if not isinstance(error, DBAPIError):
        return False
    cause = error.orig
    if isinstance(cause, sqlite3.OperationalError):
        return (getattr(cause, "sqlite_errorcode", 0) & 0xFF) in _SQLITE_TRANSIENT
    return getattr(cause, "sqlstate", None) in _POSTGRES_TRANSIENT


def is_unavailable(error: BaseException) -> bool:
    """Whether the storage itself failed: full or broken disk, lost server, exhausted pool, a lock held too long."""
    if isinstance(error, PoolTimeout):
        return True
    if not isinstance(error, DBAPIError):
        return False
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", None)
        return code is not None and (code & 0xFF) not in (
            sqlite3.SQLITE_ERROR,
            sqlite3.SQLITE_CONSTRAINT,
            sqlite3.SQLITE_MISMATCH,
        )
    state = getattr(cause, "sqlstate", None)
    if state is None:
        return error.connection_invalidated or type(cause).__name__ == "OperationalError"
    return error.connection_invalidated or state[:2] in ("08", "40", "53", "55", "57", "58")
