"""Removal of soft-deleted rows whose time has come."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from services.runtime.persistence.entities import SoftDeleted
from services.runtime.persistence.transaction import Transaction


def purge(tx: Transaction, entity: type[SoftDeleted], *, limit: int = 1000) -> int:
    """Delete up to ``limit`` rows whose ``purge_time`` has passed and return how many; zero means all are gone.

    Runs in a write, usually with ``tenant=SYSTEM``. Dependent rows go by their foreign keys' ON DELETE.
    """
    due: Any = (
        select(entity)
        .where(entity.purge_time <= tx.now)
        .order_by(entity.purge_time)
        .limit(limit)
        .execution_options(include_deleted=True)
    )
    rows = tx.session.scalars(due).all()
    for row in rows:
        tx.session.delete(row)
    tx.session.flush()
    return len(rows)
