"""Every audit record of a mesh, wherever it is on its way."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polyphony.compliance.v1 import audit_record_pb2
from services.__main__ import DOMAINS
from services.runtime.persistence.tables import READY


@dataclass
class Journal:
    """Every audit record of the mesh, by the parent that the call named, from the outboxes and the ledger."""

    folder: Path
    by_parent: dict[str, list[audit_record_pb2.AuditRecord]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _seen: set[str] = field(default_factory=set)
    _taken: int = 0

    def read(self) -> None:
        """Look for new records. The outboxes first: a record leaves its outbox only when the ledger has it."""
        for domain in DOMAINS:
            query = f"SELECT record FROM audit_outbox WHERE state = {READY}"  # noqa: S608
            for (encoded,) in self._query(domain, query):
                self._take(audit_record_pb2.AuditRecord.FromString(encoded))
        query = "SELECT rowid, leaf FROM ledger_records WHERE rowid > ? ORDER BY rowid"
        for row, leaf in self._query("compliance", query, self._taken):
            self._taken = row
            self._take(audit_record_pb2.LedgerLeaf.FromString(leaf).record)

    def _query(self, domain: str, query: str, *values: Any) -> list[Any]:
        with sqlite3.connect(f"file:{self.folder / domain}.db?mode=ro", uri=True) as connection:
            return connection.execute(query, values).fetchall()

    def _take(self, record: audit_record_pb2.AuditRecord) -> None:
        if record.id not in self._seen:
            self._seen.add(record.id)
            self.by_parent[record.parent].append(record)

    async def of(self, parent: str, *, settle: float = 0.0) -> list[audit_record_pb2.AuditRecord]:
        """The records of the calls that named `parent`; waits for the first one, and `settle` seconds for another."""
        until = time.monotonic() + 5
        while parent not in self.by_parent and time.monotonic() < until:
            self.read()
            await asyncio.sleep(0.005)
        if settle:
            await asyncio.sleep(settle)
            self.read()
        return self.by_parent.get(parent, [])

    async def hold_to_one_each(self) -> None:
        """Look once more, when everything on its way has arrived: no call left two records."""
        await asyncio.sleep(1)
        self.read()
        assert {p: len(found) for p, found in self.by_parent.items() if p and len(found) > 1} == {}
