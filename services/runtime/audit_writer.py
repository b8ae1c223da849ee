"""Group commit of audit records: one thread, one connection, one statement and one wake-up per batch."""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import lru_cache
from itertools import chain
from typing import Any

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from services.runtime.persistence import SYSTEM, Database
from services.runtime.persistence.engines import sqlite_pragmas
from services.runtime.persistence.tables import PENDING

WINDOW_SECONDS = 0.002
"""How long the writer waits for more after a batch of several. A lone record is never kept waiting."""
MAX_BATCH = 1024
"""Rows of one statement; five parameters each stay far below SQLite's and PostgreSQL's limits."""

_log = logging.getLogger(__name__)


Row = tuple[str, str, int, str, bytes]
"""One row of ``audit_outbox``: id, tenant, state, owner, record."""


@lru_cache(maxsize=2 * MAX_BATCH)
def upsert(rows: int, mark: str) -> str:
    """The statement that stores ``rows`` records; a final record replaces the pending one of the same call.

    All rows go in one statement, because the driver releases and takes back the interpreter lock once per statement:
    under load each of these costs more than the row itself.
    """
    values = ", ".join([f"({', '.join([mark] * 5)})"] * rows)
    return (
        f"INSERT INTO audit_outbox (id, tenant, state, owner, record) VALUES {values} "  # noqa: S608 - marks only
        "ON CONFLICT (id) DO UPDATE SET tenant = excluded.tenant, state = excluded.state, owner = excluded.owner, "
        f"record = excluded.record WHERE audit_outbox.state = {PENDING}"
    )


class AuditWriter:
    """Makes rows durable. :meth:`write` is called on the event loop; everything else happens on the writer's thread.

    The window adapts: the writer waits until as many records have come as in the batch before, or for
    :data:`WINDOW_SECONDS`, so that callers who answer each other's wake-ups share one commit without idling.
    """

    def __init__(self, database: Database) -> None:
        self._connect: Callable[[], _Connection] = lambda: _open(database)
        self._waiting: deque[tuple[Row, asyncio.Future[None]]] = deque()
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._rings_at = 0  # the number of waiting records that rings the bell; 0 while the thread is busy
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; runs on the event loop that will call :meth:`write`."""
        self._loop = asyncio.get_running_loop()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="audit-writer", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Write what waits, then end the thread."""
        self._stopping = True
        self._bell.put(None)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    def write(self, row: Row) -> asyncio.Future[None]:
        """Queue one row; the future is done when it is durable, or holds ``Fault(AUDIT_UNAVAILABLE)``."""
        if self._loop is None or self._thread is None or self._stopping:
            raise Fault(reason_pb2.REASON_AUDIT_UNAVAILABLE)
        future = self._loop.create_future()
        self._waiting.append((row, future))
        # The order matters on both sides: append, then look whether to ring; set the bell, then look for records.
        if self._rings_at and len(self._waiting) >= self._rings_at:
            self._rings_at = 0
            self._bell.put(None)
        return future

    def _work(self) -> None:
        connection: _Connection | None = None
        last = 1
        while True:
            self._wait(last)
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
            last = len(batch)
            if not batch:
                if self._stopping:
                    break
                continue
            error: Exception | None = None
            try:
                if connection is None:
                    connection = self._connect()
                # Of two versions of one record in the same batch (opened, then closed) only the later counts.
                connection.store({row[0]: row for row, _ in batch})
            except Exception as failure:
                _log.error("audit records could not be stored: %s", failure)
                error = failure
                if connection is not None:
                    with suppress(
                        Exception
                    ):  # what is broken may not close either, and this thread must go on
                        connection.close()
                    connection = None
            assert self._loop is not None
            try:
                self._loop.call_soon_threadsafe(_complete, batch, error)
            except RuntimeError:
                break  # the loop is closed: nobody waits any more
        if connection is not None:
            connection.close()

    def _wait(self, last: int) -> None:
        """Sleep until there is a batch worth writing."""
        self._rings_at = max(last, 1)
        if not self._stopping and len(self._waiting) < self._rings_at:
            with suppress(queue.Empty):
                self._bell.get(timeout=WINDOW_SECONDS if last > 1 else None)
        self._rings_at = 0


def _complete(batch: list[tuple[Row, asyncio.Future[None]]], error: Exception | None) -> None:
    for _, future in batch:
        if not future.done():
            if error is None:
                future.set_result(None)
            else:
                fault = Fault(reason_pb2.REASON_AUDIT_UNAVAILABLE)
                fault.__cause__ = error
                future.set_exception(fault)


class _Connection:
    """The writer's own connection, in autocommit: one statement is one transaction."""

    def __init__(
        self,
        execute: Callable[[str, tuple[Any, ...]], Any],
        close: Callable[[], None],
        mark: str,
        gate: AbstractContextManager[object],
    ) -> None:
        self._execute = execute
        self.close = close
        self._mark = mark
        self._gate = gate

    def store(self, rows: dict[str, Row]) -> None:
        values = tuple(chain.from_iterable(rows.values()))
        with self._gate:
            self._execute(upsert(len(rows), self._mark), values)


def _open(database: Database) -> _Connection:
    if database.path is not None:
        raw = sqlite3.connect(
            database.path, isolation_level=None, check_same_thread=False, cached_statements=MAX_BATCH
        )
        sqlite_pragmas(raw, writes=True)
        return _Connection(raw.execute, raw.close, "?", database.gate)
    connection = database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    connection.detach()  # it stays with the scope below, so it must never go back to the pool
    connection.exec_driver_sql(f"SET app.tenant = '{SYSTEM}'")
    return _Connection(connection.exec_driver_sql, connection.close, "%s", database.gate)
