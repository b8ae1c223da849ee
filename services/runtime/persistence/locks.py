"""Locks that end with the process that holds them, by name, among all processes that share one database.

With them a worker proves that it lives (so that nobody finishes its pending audit records) and one worker at a time
relays an outbox. No clock is involved: the operating system, or PostgreSQL, frees the lock of a killed process at once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine, text


class ProcessLocks(Protocol):
    """Named locks of one database. Every method may block for a moment: call them on a worker thread."""

    def acquire(self, name: str) -> bool:
        """Take the lock if it is free; returns whether this object holds it now."""

    def release(self, name: str) -> None:
        """Give the lock back; nothing happens when it is not held."""

    def close(self) -> None:
        """Give all locks back."""


class FileLocks:
    """``flock`` on files in a folder beside a SQLite database."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, int] = {}
        self._guard = threading.Lock()

    def acquire(self, name: str) -> bool:
        with self._guard:
            if name in self._held:
                return True
            self._folder.mkdir(mode=0o700, exist_ok=True)
            path = self._folder / name
            while True:
                descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(descriptor)
                    return False
                # The holder before may have removed the file between open and flock: then this lock is of no file.
                if _same_file(descriptor, path):
                    self._held[name] = descriptor
                    return True
                os.close(descriptor)

    def release(self, name: str) -> None:
        with self._guard:
            descriptor = self._held.pop(name, None)
            if descriptor is not None:
                (self._folder / name).unlink(missing_ok=True)
                os.close(descriptor)

    def close(self) -> None:
        for name in list(self._held):
            self.release(name)


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.fstat(descriptor).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


class AdvisoryLocks:
    """PostgreSQL session locks on one connection of their own; they last as long as that connection."""

    def __init__(self, engine: Engine, schema: str) -> None:
        self._engine = engine
        self._schema = schema
        self._connection: Connection | None = None
        self._held: set[str] = set()
        self._guard = threading.Lock()

    def acquire(self, name: str) -> bool:
        with self._guard:
            if name in self._held and self._alive():
                return True
            if self._connection is None:
                self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
                self._connection.detach()  # in the pool its session, and with it the locks, would outlive close()
            got = self._connection.execute(
                text("SELECT pg_try_advisory_lock(:key)"), {"key": self._key(name)}
            ).scalar()
            if got:
                self._held.add(name)
            return bool(got)

    def release(self, name: str) -> None:
        with self._guard:
            if name in self._held and self._connection is not None:
                self._held.discard(name)
                self._connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": self._key(name)})

    def close(self) -> None:
        with self._guard:
            self._held.clear()
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _alive(self) -> bool:
        """Whether the session that holds the locks still exists; a lost one has lost them all."""
        assert self._connection is not None
        try:
            self._connection.execute(text("SELECT 1"))
        except Exception:
            self._connection.close()
            self._connection = None
            self._held.clear()
            return False
        return True

    def _key(self, name: str) -> int:
        digest = hashlib.sha256(f"{self._schema}/{name}".encode()).digest()
        return int.from_bytes(digest[:8], "big", signed=True)
