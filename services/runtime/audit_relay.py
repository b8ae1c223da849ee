"""From a domain's outbox to the ledger: at least once, in order, by one process at a time."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

from prometheus_client import Counter
from sqlalchemy import Delete, Update, delete, select, update

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from services.runtime.audit_sink import DatabaseAuditSink
from services.runtime.persistence import SYSTEM, Database, Transaction
from services.runtime.persistence.tables import READY, REFUSED, audit_outbox
from services.runtime.relay import Relay

BATCH_RECORDS = 1024
BATCH_BYTES = 2 * 1024 * 1024
"""Bytes of records in one batch, well below the ledger's limit of a request."""

SET_ASIDE = Counter(
    "polyphony_audit_records_set_aside_total",
    "Audit records that the ledger refused for good: look into each.",
)

_FOR_GOOD = (
    reason_pb2.REASON_REQUEST_INVALID,
    reason_pb2.REASON_REQUEST_MALFORMED,
    reason_pb2.REASON_REQUEST_TOO_LARGE,
)

_log = logging.getLogger(__name__)

_Batch = list[tuple[str, bytes]]


class AuditRelay(Relay):
    """Hands final records to ``append``, in the order of their calls, and deletes them once it has returned.

    ``append`` takes encoded AuditRecords; it must be idempotent by record id, since a batch is sent again after a
    failure. Records of dead processes are finished when this process becomes the one that relays.
    """

    def __init__(
        self,
        database: Database,
        sink: DatabaseAuditSink,
        append: Callable[[Sequence[bytes]], Awaitable[None]],
    ) -> None:
        super().__init__(database, "audit-relay")
        self._database = database
        self._sink = sink
        self._append = append

    async def lead(self) -> None:
        """Finish what dead processes left pending."""
        finished = await self._sink.recover()
        if finished:
            _log.warning("finished %d audit records of processes that died", finished)

    async def step(self) -> bool:
        """Relay one batch; returns whether there was one."""
        batch = await self._database.read(_next, tenant=SYSTEM)
        if not batch:
            return False
        await self._deliver(batch)
        return True

    async def _deliver(self, batch: _Batch) -> None:
        """Append, then delete. A record that the ledger refuses for good is found by halving and set aside."""
        identifiers = [identifier for identifier, _ in batch]
        chosen = audit_outbox.c.id.in_(identifiers)
        try:
            await self._append([record for _, record in batch])
        except Fault as fault:
            if fault.reason not in _FOR_GOOD:
                raise
            if len(batch) > 1:
                middle = len(batch) // 2
                await self._deliver(batch[:middle])
                await self._deliver(batch[middle:])
                return
            SET_ASIDE.inc()
            _log.critical("the ledger refuses the audit record %s: %s", identifiers[0], fault)
            await self._change(update(audit_outbox).where(chosen).values(state=REFUSED))
        else:
            await self._change(delete(audit_outbox).where(chosen))

    async def _change(self, statement: Update | Delete) -> None:
        await self._database.write(lambda tx: tx.connection.execute(statement).rowcount, tenant=SYSTEM)


def _next(tx: Transaction) -> _Batch:
    ready = (
        select(audit_outbox.c.id, audit_outbox.c.record)
        .where(audit_outbox.c.state == READY)
        .order_by(audit_outbox.c.id)
        .limit(BATCH_RECORDS)
    )
    batch: _Batch = []
    size = 0
    for identifier, record in tx.connection.execute(ready):
        size += len(record)
        if batch and size > BATCH_BYTES:
            break
        batch.append((identifier, record))
    return batch
