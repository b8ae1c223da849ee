"""The ledger as its services use it: takes records in, tells who waits for new ones, finds them again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from polyphony.compliance.v1.audit_record_pb2 import AuditRecord
from services.compliance.adapters.leaves import LeafReader, LeafWriter, RecordMalformed, parse_record
from services.compliance.adapters.log import SqlLog
from services.compliance.adapters.tables import LedgerRecord
from services.compliance.merkle import consistency_proof, inclusion_proof
from services.compliance.tiles import TiledTree
from services.compliance.usecases.sequence import sequence
from services.runtime.persistence import SYSTEM, Database, Page, Transaction

_POLL_SECONDS = 0.5
"""How late a watcher learns of what another worker took in."""
_WATCH_BATCH = 500
_LOCK = "ledger-sequencer"
_LOCK_SECONDS = 0.005
"""How often a worker looks whether the sequencer is free."""


@dataclass(frozen=True, slots=True)
class Found:
    """A record as its owner reads it: its place in the log, and whether its personal fields were erased."""

    index: int
    leaf: bytes
    record: AuditRecord
    erased: bool


class Ledger:
    """The logs of all tenants in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = asyncio.Lock()
        self._grown = asyncio.Condition()

    async def append(self, records: Sequence[bytes], *, of: str = "") -> int:
        """Takes encoded AuditRecords into the logs of their tenants, in order; answers how many were new.

        With ``of``, the name of a service, it takes that one's own only: no service says what another one did.

        Idempotent by record id. Raises :class:`RecordMalformed`, whose message says which, and takes none then.
        """
        tenants: dict[str, dict[str, bytes]] = {}
        for number, encoded in enumerate(records):
            try:
                record = parse_record(encoded)
            except RecordMalformed as error:
                raise RecordMalformed(f"records[{number}]: {error}") from None
            if of and not record.service.startswith(f"{of}-"):
                raise RecordMalformed(f"records[{number}]: not a record of {of}, which sends it")
            tenants.setdefault(record.tenant, {}).setdefault(record.id, encoded)

        def take(tx: Transaction) -> int:
            now = time.time_ns()
            return sum(
                sequence(SqlLog(tx, tenant), mine, LeafWriter(tx, tenant, now))
                for tenant, mine in sorted(
                    tenants.items()
                )  # one order for all, so that no two wait for each other
            )

        # A caller that goes away must not leave the lock behind: what was begun is completed.
        return await asyncio.shield(asyncio.ensure_future(self._take_turn(take)))

    async def _take_turn(self, take: Callable[[Transaction], int]) -> int:
        """Runs ``take`` as the only appender among all workers.

        The log's row would let only one of two concurrent transactions win, too; but the loser would have to run
        again, and under steady load lose again. The lock ends with its process.
        """
        locks = self._database.locks
        async with self._turn:
            while not await self._database.run_blocking(lambda: locks.acquire(_LOCK)):  # noqa: ASYNC110 - no event
                await asyncio.sleep(_LOCK_SECONDS)
            try:
                appended = await self._database.write(take, tenant=SYSTEM)
            finally:
                await self._database.run_blocking(lambda: locks.release(_LOCK))
        if appended:
            async with self._grown:
                self._grown.notify_all()
        return appended

    async def wait_for_growth(self) -> None:
        """Returns when some log has grown here, or may have grown at another worker."""
        try:
            async with asyncio.timeout(_POLL_SECONDS), self._grown:
                await self._grown.wait()
        except TimeoutError:
            return

    async def size(self) -> int:
        """How many records the log of the caller's tenant has."""
        return await self._database.read(lambda tx: SqlLog(tx, tx.tenant).size())

    async def page(self, user: str, *, size: int, token: str, parent: str) -> Page[Found]:
        """A page of the records about a person, newest first. Raises ``Fault(PAGE_TOKEN_INVALID)``."""

        def read(tx: Transaction) -> Page[Found]:
            reader = LeafReader(tx, user)
            if not SqlLog(tx, tx.tenant).size():
                return Page([], "")
            rows = tx.page(
                select(LedgerRecord).where(LedgerRecord.subject_index == reader.index()),
                by=[LedgerRecord.sequence.desc()],
                size=size,
                token=token,
                bound=(parent,),
            )
            return Page([_found(reader, row) for row in rows.items], rows.next_page_token)

        return await self._database.read(read)

    async def since(self, user: str, start: int) -> list[Found]:
        """The oldest records about a person from place ``start`` of the log on, a bounded number at once."""

        def read(tx: Transaction) -> list[Found]:
            reader = LeafReader(tx, user)
            if SqlLog(tx, tx.tenant).size() <= start:
                return []
            rows = tx.session.scalars(
                select(LedgerRecord)
                .where(LedgerRecord.subject_index == reader.index(), LedgerRecord.sequence >= start)
                .order_by(LedgerRecord.sequence)
                .limit(_WATCH_BATCH)
            )
            return [_found(reader, row) for row in rows]

        return await self._database.read(read)

    async def find(self, user: str, identifier: str) -> Found | None:
        """One record about a person; ``None`` where the log has none of that id, or it is about somebody else."""

        def read(tx: Transaction) -> Found | None:
            reader = LeafReader(tx, user)
            if not SqlLog(tx, tx.tenant).size():
                return None
            row = tx.session.scalars(
                select(LedgerRecord).where(
                    LedgerRecord.id == identifier, LedgerRecord.subject_index == reader.index()
                )
            ).one_or_none()
            return _found(reader, row) if row is not None else None

        return await self._database.read(read)

    async def prove(self, index: int, size: int) -> list[bytes]:
        """The inclusion proof of a place in the first ``size`` records of the caller's tenant."""
        return await self._database.read(
            lambda tx: inclusion_proof(TiledTree(SqlLog(tx, tx.tenant)).node, index, size)
        )

    async def prove_growth(self, since: int, size: int) -> list[bytes]:
        """The consistency proof between two sizes of the log of the caller's tenant. Raises ``ProofError``."""
        return await self._database.read(
            lambda tx: consistency_proof(TiledTree(SqlLog(tx, tx.tenant)).node, since, size)
        )


def _found(reader: LeafReader, row: LedgerRecord) -> Found:
    record, erased = reader.open(row.leaf)
    return Found(row.sequence, row.leaf, record, erased)
