"""A tenant's log in the database."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from sqlalchemy import select

from services.compliance.adapters.tables import LedgerLog, LedgerRecord, LedgerTile
from services.compliance.ports import Leaf
from services.runtime.persistence import Transaction

_IDS_PER_QUERY = 500
_COLUMNS = ("id", "subject_index", "actor_index", "leaf")
_values = attrgetter("id", "subject_index", "actor_index", "encoded")


class SqlLog:
    """The :class:`~services.compliance.ports.Log` of one tenant in one transaction, which may span all tenants."""

    def __init__(self, tx: Transaction, tenant: str) -> None:
        self._tx = tx
        self._tenant = tenant

    def size(self) -> int:
        """How many records the log has."""
        log = self._tx.session.get(LedgerLog, self._tenant)
        return log.size if log is not None else 0

    def lock(self) -> int:
        """Takes the log for this transaction alone, and answers its size.

        On PostgreSQL a second writer waits for the row and is then run again by its transaction's retry; on SQLite
        the writing transaction is alone already.
        """
        log = self._tx.session.get(LedgerLog, self._tenant, with_for_update=True)
        if log is None:
            log = LedgerLog(tenant=self._tenant, size=0)
            self._tx.session.add(log)
            self._tx.session.flush()  # two first writers of one log meet here, at the primary key
        return log.size

    def known(self, ids: Sequence[str]) -> set[str]:
        """Which of these records the log has already."""
        found: set[str] = set()
        for at in range(0, len(ids), _IDS_PER_QUERY):
            some = ids[at : at + _IDS_PER_QUERY]
            found.update(
                self._tx.session.scalars(
                    select(LedgerRecord.id).where(
                        LedgerRecord.tenant == self._tenant, LedgerRecord.id.in_(some)
                    )
                )
            )
        return found

    def extend(self, size: int, leaves: Sequence[Leaf]) -> None:
        """Adds leaves behind the ``size`` there are."""
        self._tx.bulk_insert(
            LedgerRecord,
            ((number, *_values(leaf)) for number, leaf in enumerate(leaves, size)),
            columns=("sequence", *_COLUMNS),
            on_conflict_ignore=False,
            tenant=self._tenant,
        )
        self._tx.session.get_one(LedgerLog, self._tenant).size = size + len(leaves)

    def read(self, level: int, index: int) -> bytes:
        """The hashes in a tile; empty when nobody wrote it."""
        tile = self._tx.session.get(LedgerTile, (self._tenant, level, index))
        return tile.hashes if tile is not None else b""

    def write(self, level: int, index: int, hashes: bytes) -> None:
        """Puts a tile in place of what was there."""
        tile = self._tx.session.get(LedgerTile, (self._tenant, level, index))
        if tile is None:
            self._tx.session.add(LedgerTile(tenant=self._tenant, level=level, position=index, hashes=hashes))
        else:
            tile.hashes = hashes
