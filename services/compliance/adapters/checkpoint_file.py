"""Signed checkpoints in a SQLite file of their own, which nothing that writes the ledger opens.

Per log one checkpoint is kept for each hour, its last; a newer one proves everything an older one did.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path

from services.compliance.checkpoint import Checkpoint
from services.runtime.persistence.engines import sqlite_pragmas

_HOUR_NANOS = 3_600_000_000_000

_TABLE = """
CREATE TABLE IF NOT EXISTS checkpoints (
    origin TEXT NOT NULL,
    hour INTEGER NOT NULL,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    note TEXT NOT NULL,
    signed_unix_nanos INTEGER NOT NULL,
    PRIMARY KEY (origin, hour)
) WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint as a signed note, and when it was signed, in nanoseconds since the epoch."""

    checkpoint: Checkpoint
    note: str
    signed_unix_nanos: int


class CheckpointFile:
    """The file. Its methods block for a moment and may be called from any thread, one file by several processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """Creates the file, readable by its owner only, where it is missing."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        sqlite_pragmas(connection, writes=True)
        connection.execute(_TABLE)
        self._connection = connection

    def close(self) -> None:
        """Gives the file back."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def newest(self, origin: str) -> SignedCheckpoint | None:
        """The last checkpoint of a log; ``None`` where none was signed yet."""
        with self._lock:
            return self._newest(origin)

    def put(self, signed: SignedCheckpoint) -> None:
        """Keeps a checkpoint, unless another worker has kept one of the same size or a larger one."""
        origin = signed.checkpoint.origin
        with self._lock, self._open_connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            last = self._newest(origin)
            if last is None or last.checkpoint.size < signed.checkpoint.size:
                connection.execute(
                    "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        origin,
                        signed.signed_unix_nanos // _HOUR_NANOS,
                        signed.checkpoint.size,
                        signed.checkpoint.root,
                        signed.note,
                        signed.signed_unix_nanos,
                    ),
                )

    def _newest(self, origin: str) -> SignedCheckpoint | None:
        row = (
            self._open_connection()
            .execute(
                "SELECT size, root, note, signed_unix_nanos FROM checkpoints WHERE origin = ?"
                " ORDER BY size DESC LIMIT 1",
                (origin,),
            )
            .fetchone()
        )
        if row is None:
            return None
        size, root, note, signed = row
        return SignedCheckpoint(Checkpoint(origin, size, root), note, signed)

    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise RuntimeError("the checkpoint file is not open")
        return self._connection
