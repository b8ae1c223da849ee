"""One domain's database: transactions on worker threads, committed with what the call's participants add."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

from sqlalchemy import Engine, text
from sqlalchemy.orm.exc import StaleDataError

from interceptors.call import Call, current_call
from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from services.runtime.keyring import Keyring
from services.runtime.persistence.engines import is_transient, is_unavailable, open_engines
from services.runtime.persistence.entities import SYSTEM
from services.runtime.persistence.locks import AdvisoryLocks, FileLocks, ProcessLocks
from services.runtime.persistence.migrate import migrate
from services.runtime.persistence.pages import PageTokens
from services.runtime.persistence.scope import ScopedSession, ScopeError
from services.runtime.persistence.transaction import Transaction

ATTEMPTS = 5
"""How often a transaction runs at most when it loses against others; the last failure is STORAGE_UNAVAILABLE."""
RETRY_SECONDS = 0.01
"""The first pause before running again; it doubles, and half of it is random."""

T = TypeVar("T")
Work = Callable[[Transaction], T]

_log = logging.getLogger(__name__)


class Database:
    """The database of one domain. Nothing is opened before :meth:`start`.

    ``url`` is ``sqlite:///path`` or ``postgresql+psycopg://...``; on PostgreSQL the domain's tables lie in the schema
    ``domain``. ``migrations`` is the domain's folder of Alembic revisions. ``readers`` bounds concurrent reads (and
    writes, on PostgreSQL; SQLite has one writer). Without a ``keyring``, ``tx.keys`` and ``tx.page`` are not available.
    """

    def __init__(
        self,
        url: str,
        *,
        domain: str,
        migrations: Path | None = None,
        keyring: Keyring | None = None,
        readers: int = 4,
    ) -> None:
        self.domain = domain
        self.keyring = keyring
        self._migrations = migrations
        self._tokens = PageTokens(keyring.derive(f"page tokens of {domain}")) if keyring else None
        self._engines = open_engines(url, schema=domain, readers=readers)
        self._reads = ThreadPoolExecutor(readers, thread_name_prefix=f"{domain}-read")
        self._writes = ThreadPoolExecutor(
            1 if self.is_sqlite else readers, thread_name_prefix=f"{domain}-write"
        )
        self._gate: AbstractContextManager[object] = threading.Lock() if self.is_sqlite else nullcontext()
        self.locks: ProcessLocks
        if self._engines.path is not None:
            self.locks = FileLocks(self._engines.path.with_name(self._engines.path.name + ".locks"))
        else:
            self.locks = AdvisoryLocks(self._engines.writer, domain)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is a SQLite file."""
        return self._engines.path is not None

    @property
    def path(self) -> Path | None:
        """The SQLite file; ``None`` on PostgreSQL."""
        return self._engines.path

    @property
    def engine(self) -> Engine:
        """The engine of writing transactions, for the parts of the runtime that work beside :meth:`write`."""
        return self._engines.writer

    @property
    def gate(self) -> AbstractContextManager[object]:
        """Held during each write of this process on SQLite: writers take turns here, not by polling the file."""
        return self._gate

    async def run_blocking(self, work: Callable[[], T]) -> T:
        """Run something that may block for a moment, such as a process lock, on a reader's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._reads, work)

    async def start(self) -> None:
        """Create the database where it is missing and migrate it to the newest revision, one process at a time.

        Raises ``Fault(STORAGE_UNAVAILABLE)`` when it cannot be reached.
        """
        await asyncio.get_running_loop().run_in_executor(self._writes, self._start)

    def _start(self) -> None:
        try:
            if self._engines.path is not None:
                self._engines.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            migrate(self._engines.writer, schema=self.domain, domain=self._migrations)
        except Exception as error:
            raise _as_fault(error) from error

    async def close(self) -> None:
        """Finish what runs, then close every connection and give back the process locks."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._reads.shutdown()
        self._writes.shutdown()
        self.locks.close()
        self._engines.dispose()

    async def read(self, work: Work[T], *, tenant: str | None = None) -> T:
        """Run ``work`` in a reading transaction (one snapshot) on a worker thread and return its result."""
        return await self._run(self._reads, _Attempts(self, work, _scope(tenant), None, writes=False))

    async def write(self, work: Work[T], *, tenant: str | None = None, aside: bool = False) -> T:
        """Run ``work`` in a writing transaction on a worker thread; it is committed when this returns.

        Transactions behave as if one ran after the other (SQLite: one writer; PostgreSQL: SERIALIZABLE, run again
        after a conflict, so ``work`` must be repeatable). Inside a call, the call's participants add their rows to the
        same commit, except ``aside``: for what stands beside the call's own change and stays if the call fails, such
        as a counted log-in attempt.

        When the awaiting task is cancelled, a transaction that has not begun to commit is rolled back, one that has
        is completed, and only then is the cancellation delivered. Raises whatever ``work`` raises,
        ``Fault(ETAG_MISMATCH)`` when a revisioned row changed underneath, ``Fault(STORAGE_UNAVAILABLE)``.
        """
        call = None if aside else current_call()
        if call is not None and call.task is not None and call.task.done():
            call = None  # a background task that the call left behind: it is not that call any more
        attempts = _Attempts(self, work, _scope(tenant), call, writes=True)
        try:
            return await self._run(self._writes, attempts)
        finally:
            if attempts.committed:
                if call is not None and call.participants:
                    call.committed = True
                for callback in attempts.callbacks:
                    callback()

    async def _run(self, executor: ThreadPoolExecutor, attempts: _Attempts[T]) -> T:
        future = executor.submit(contextvars.copy_context().run, attempts.run)
        waiting = asyncio.wrap_future(future)
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            attempts.abandoned = True
            future.cancel()
            while not waiting.done():
                try:
                    await asyncio.wait([waiting])
                except asyncio.CancelledError:
                    continue  # asked again: still, a transaction is never left half open
            if not waiting.cancelled():
                waiting.exception()  # taken note of, so that the loop does not report it as forgotten
            raise

    def session(self, tenant: str, *, writes: bool) -> ScopedSession:
        """A new session of one tenant."""
        bind = self._engines.writer if writes else self._engines.reader
        return ScopedSession(bind, tenant=tenant, expire_on_commit=False)

    def transaction(self, session: ScopedSession) -> Transaction:
        """Begin: on PostgreSQL this also tells the row-level security which tenant asks."""
        tx = Transaction(session, datetime.now(UTC), self.keyring, self._tokens)
        if not self.is_sqlite:
            tx.connection.execute(
                text("SELECT set_config('app.tenant', :tenant, true)"), {"tenant": tx.tenant}
            )
        return tx

    def leave_no_trace(self) -> None:
        """Move committed pages out of the write-ahead log, so that overwritten bytes are gone from it, too."""
        if self.is_sqlite:
            with self._gate, self._engines.writer.connect() as connection:
                raw = connection.connection.driver_connection
                assert raw is not None
                raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")


class _Abandoned(Exception):
    """The awaiting task was cancelled before the commit began."""


class _Attempts(Generic[T]):
    """One transaction and its repetitions, on a worker thread."""

    def __init__(
        self, database: Database, work: Work[T], tenant: str, call: Call | None, *, writes: bool
    ) -> None:
        self._database = database
        self._work = work
        self._tenant = tenant
        self._call = call
        self._writes = writes
        self.abandoned = False
        self.committed = False
        self.callbacks: list[Callable[[], object]] = []

    def run(self) -> T:
        pause = RETRY_SECONDS
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._once()
            except StaleDataError:
                raise Fault(
                    reason_pb2.REASON_ETAG_MISMATCH,
                    "The resource was changed by another call at the same time.",
                ) from None
            except Exception as error:
                if not is_transient(error) or attempt == ATTEMPTS or self.abandoned:
                    raise _as_fault(error) from error
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads retries, keeps no secret
            pause *= 2
        raise AssertionError("unreachable")

    def _once(self) -> T:
        gate = self._database.gate if self._writes else nullcontext()
        with gate, self._database.session(self._tenant, writes=self._writes) as session:
            tx = self._database.transaction(session)
            if not self._writes:
                return self._work(tx)
            participants = tuple(self._call.participants) if self._call is not None else ()
            for participant in participants:
                participant.before(tx)
            result = self._work(tx)
            session.flush()
            for participant in participants:
                participant.after(tx, result)
            if self.abandoned:
                raise _Abandoned
            session.commit()
            self.committed = True
            self.callbacks = tx.callbacks
            shredded = tx.shredded
        if shredded:
            self._database.leave_no_trace()
        return result


def _scope(tenant: str | None) -> str:
    if tenant is None:
        call = current_call()
        if call is None or not call.identity.tenant:
            raise ScopeError("outside a call a transaction names its tenant, or tenant=SYSTEM")
        tenant = call.identity.tenant
        if tenant == SYSTEM:
            raise ScopeError("no credential has the SYSTEM scope")
    if not tenant:
        raise ScopeError("an empty tenant is no scope")
    return tenant


def _as_fault(error: Exception) -> Exception:
    if is_unavailable(error):
        _log.error("storage failed: %s", type(getattr(error, "orig", error)).__name__, exc_info=error)
        return Fault(reason_pb2.REASON_STORAGE_UNAVAILABLE)
    return error
