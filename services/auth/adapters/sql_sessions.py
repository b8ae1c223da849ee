"""Refresh-token families in the domain's database: the Sessions of `ports`."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from sqlalchemy import CursorResult, select, update

from services.auth.adapters.tables import SessionRow
from services.auth.model.session import EndReason, Rotated, Session
from services.runtime.persistence import Transaction
from services.runtime.persistence.columns import from_microseconds, to_microseconds


class SqlSessions:
    """The Sessions of `ports`."""

    def __init__(self, tx: Transaction, tenant: str) -> None:
        """For the rows of `tenant`."""
        self._tx = tx
        self._tenant = tenant

    def add(self, session: Session) -> None:
        """Stores a new session."""
        self._tx.session.add(
            SessionRow(id=session.id, tenant=self._tenant, user=session.user, **_columns(session))
        )
        self._tx.session.flush()

    def get(self, session: str) -> Session | None:
        """The session with this id, read afresh."""
        row = self._tx.session.scalars(
            select(SessionRow)
            .where(SessionRow.tenant == self._tenant, SessionRow.id == session)
            .execution_options(populate_existing=True)
        ).one_or_none()
        return _session(row) if row is not None else None

    def advance(self, old: Session, new: Session) -> bool:
        """One conditional write: it counts only when the newest token is still the one that was presented."""
        return self._update(
            update(SessionRow)
            .where(
                SessionRow.tenant == self._tenant,
                SessionRow.id == old.id,
                SessionRow.generation == old.generation,
                SessionRow.token_hash == old.token_hash,
                SessionRow.end_time.is_(None),
            )
            .values(**_columns(new))
        )

    def end(self, session: str, why: EndReason, now: datetime) -> bool:
        """One conditional write: the first reason stays."""
        return self._update(
            update(SessionRow)
            .where(SessionRow.tenant == self._tenant, SessionRow.id == session, SessionRow.end_time.is_(None))
            .values(end_time=now, end_reason=why.value)
        )

    def _update(self, statement: Any) -> bool:
        done = self._tx.session.execute(statement, execution_options={"synchronize_session": False})
        return cast("CursorResult[Any]", done).rowcount == 1


def _columns(session: Session) -> dict[str, Any]:
    return {
        "generation": session.generation,
        "token_hash": session.token_hash,
        "recent": [[rotated.generation, to_microseconds(rotated.at)] for rotated in session.recent],
        "authenticate_time": session.authenticated_at,
        "refresh_time": session.refreshed_at,
        "expire_time": session.expires_at,
        "end_time": session.ended_at,
        "end_reason": session.ended_because,
    }


def _session(row: SessionRow) -> Session:
    return Session(
        id=row.id,
        tenant=row.tenant,
        user=row.user,
        generation=row.generation,
        token_hash=row.token_hash,
        authenticated_at=row.authenticate_time,
        refreshed_at=row.refresh_time,
        expires_at=row.expire_time,
        recent=tuple(Rotated(generation, from_microseconds(at)) for generation, at in row.recent),
        ended_at=row.end_time,
        ended_because=row.end_reason,
    )
