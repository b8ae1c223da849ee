"""Histories in the database."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, select, tuple_

from services.runtime.persistence import Transaction
from services.spotify.adapters.tables import ContentRow, HistoryRow, ImportRow, PlayRow
from services.spotify.model import History


class SqlHistories:
    """See `ports.Histories`."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def current(self, user: str) -> History | None:
        """The person's history, unless it is deleted or was never begun."""
        row = self._tx.session.scalars(select(HistoryRow).where(HistoryRow.user == user)).one_or_none()
        return None if row is None else _entity(row)

    def last_deleted(self, user: str) -> History | None:
        """The history that the person deleted last and that is not purged."""
        statement = (
            select(HistoryRow)
            .where(
                HistoryRow.user == user,
                HistoryRow.delete_time.is_not(None),
                HistoryRow.purge_time > self._tx.now,
            )
            .order_by(HistoryRow.delete_time.desc(), HistoryRow.id.desc())
            .limit(1)
            .execution_options(include_deleted=True)
        )
        row = self._tx.session.scalars(statement).one_or_none()
        return None if row is None else _entity(row)

    def begin(self, user: str) -> History:
        """A new, empty history."""
        row = HistoryRow(user=user, play_count=0, update_time=self._tx.now)
        self._tx.session.add(row)
        self._tx.session.flush()
        return _entity(row)

    def grow(self, history: int, plays: int) -> bool:
        """Count `plays` more; False where the history was deleted."""
        row = self._tx.find(HistoryRow, history)
        if row is None:
            return False
        row.play_count += plays
        row.update_time = self._tx.now
        return True

    def delete(self, history: int, etag: str, keep: timedelta) -> History:
        """Hide it until `keep` has passed. Raises Fault ETAG_MISMATCH."""
        row = self._tx.require(HistoryRow, history)
        row.check_etag(etag)
        row.mark_deleted(self._tx.now, keep=keep)
        row.update_time = self._tx.now
        self._tx.session.flush()
        return _entity(row)

    def undelete(self, history: int, etag: str) -> History:
        """Show it again. Raises Fault ETAG_MISMATCH."""
        row = self._tx.require(HistoryRow, history, include_deleted=True)
        row.check_etag(etag)
        row.undelete()
        row.update_time = self._tx.now
        self._tx.session.flush()
        return _entity(row)

    def purge(self, rows: int) -> int:
        """Remove up to `rows` rows of histories whose purge time has come; the history itself goes last."""
        session = self._tx.session
        due = session.scalars(
            select(HistoryRow)
            .where(HistoryRow.purge_time <= self._tx.now)
            .order_by(HistoryRow.purge_time)
            .limit(1)
            .execution_options(include_deleted=True)
        ).one_or_none()
        if due is None:
            return 0
        key = (PlayRow.history, PlayRow.ended_at, PlayRow.content, PlayRow.ms_played)
        some = session.execute(select(*key).where(PlayRow.history == due.id).limit(rows)).all()
        if some:
            last = some[-1]
            session.execute(
                delete(PlayRow)
                .where(PlayRow.history == due.id, tuple_(*key[1:]) <= tuple_(*last[1:]))
                .execution_options(synchronize_session=False)
            )
            return len(some)
        for table in (ContentRow, ImportRow):
            session.execute(
                delete(table).where(table.history == due.id).execution_options(synchronize_session=False)
            )
        session.delete(due)
        session.flush()
        return 1


def _entity(row: HistoryRow) -> History:
    return History(
        id=row.id,
        user=row.user,
        play_count=row.play_count,
        update_time=row.update_time,
        delete_time=row.delete_time,
        purge_time=row.purge_time,
        etag=row.etag,
    )
