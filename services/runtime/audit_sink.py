"""The runtime's :class:`interceptors.ports.AuditSink`: audit records, durable in the domain's own database."""

from __future__ import annotations

from sqlalchemy import select, update

from interceptors.ids import new_id
from interceptors.ports import AuditEntry
from polyphony.compliance.v1 import audit_record_pb2
from services.runtime.audit_writer import AuditWriter, upsert
from services.runtime.persistence import SYSTEM, Database, Transaction
from services.runtime.persistence.tables import PENDING, READY, audit_outbox


class DatabaseAuditSink:
    """Stores records in ``audit_outbox``, from where :class:`AuditRelay` takes them to the ledger.

    A mutation's record is inserted by its own transaction; every other record goes through group commit. A pending
    record carries the id of its owner, who holds a process lock of that name: when the owner is dead, whoever starts
    next finishes its records as interrupted.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._writer = AuditWriter(database)
        self.owner = new_id()

    async def start(self) -> None:
        """Begin to accept records, and finish those that dead processes left pending."""
        await self._database.run_blocking(lambda: self._database.locks.acquire(_lock(self.owner)))
        self._writer.start()
        await self.recover()

    async def stop(self) -> None:
        """Make durable what was accepted; later records are refused with ``Fault(AUDIT_UNAVAILABLE)``."""
        await self._writer.stop()
        await self._database.run_blocking(lambda: self._database.locks.release(_lock(self.owner)))

    async def append(self, entry: AuditEntry) -> None:
        """Durable when it returns; concurrent calls share one commit. Raises ``Fault(AUDIT_UNAVAILABLE)``.

        A cancelled caller does not take its record back: what happened, happened.
        """
        await self._writer.write((entry.id, entry.tenant, READY, "", entry.payload))

    async def open(self, entry: AuditEntry) -> None:
        """Store the record of a running call, durably, as pending. Raises ``Fault(AUDIT_UNAVAILABLE)``."""
        await self._writer.write((entry.id, entry.tenant, PENDING, self.owner, entry.payload))

    async def close(self, entry: AuditEntry) -> None:
        """Replace the pending record of ``entry.id`` by the final one, or insert it where none is pending."""
        await self.append(entry)

    def insert(self, transaction: Transaction, entry: AuditEntry, *, pending: bool) -> None:
        """Add the record to the transaction of the change it describes; a pending one of the same call is replaced."""
        state, owner = (PENDING, self.owner) if pending else (READY, "")
        transaction.connection.exec_driver_sql(
            upsert(1, "?" if self._database.is_sqlite else "%s"),
            (entry.id, entry.tenant, state, owner, entry.payload),
        )

    async def recover(self) -> int:
        """Finish the pending records of dead processes as interrupted; returns how many. Those of the living stay."""
        owners = await self._database.read(_owners, tenant=SYSTEM)
        return sum([await self._recover(owner) for owner in owners - {self.owner}])

    async def _recover(self, owner: str) -> int:
        locks = self._database.locks
        if not await self._database.run_blocking(lambda: locks.acquire(_lock(owner))):
            return 0  # alive
        try:
            return await self._database.write(lambda tx: _finish(tx, owner), tenant=SYSTEM)
        finally:
            await self._database.run_blocking(lambda: locks.release(_lock(owner)))


def _lock(owner: str) -> str:
    return f"audit-{owner}"


def _owners(tx: Transaction) -> set[str]:
    pending = select(audit_outbox.c.owner).where(audit_outbox.c.state == PENDING).distinct()
    return set(tx.connection.scalars(pending))


def _finish(tx: Transaction, owner: str) -> int:
    mine = (audit_outbox.c.state == PENDING, audit_outbox.c.owner == owner)
    rows = tx.connection.execute(select(audit_outbox.c.id, audit_outbox.c.record).where(*mine)).all()
    for identifier, payload in rows:
        record = audit_record_pb2.AuditRecord.FromString(payload)
        record.interrupted = True
        tx.connection.execute(
            update(audit_outbox)
            .where(audit_outbox.c.id == identifier)
            .values(state=READY, owner="", record=record.SerializeToString())
        )
    return len(rows)
