"""The stores of `ports` over one transaction of the domain's database.

Every statement names its tenant, although the session adds it too: who signs up, logs in or refreshes has
no tenant yet, so the call's audit record belongs to another tenant than the row, and such a transaction has
no scope of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cached_property
from typing import TypeVar

from sqlalchemy import delete, select

from interceptors.call import current_call
from services.auth.adapters.authorization_state import next_version
from services.auth.adapters.sql_accounts import SqlAccounts
from services.auth.adapters.sql_sessions import SqlSessions
from services.auth.adapters.tables import LoginAttemptsRow, RevokedSessionRow, SessionRow
from services.auth.model.login_delay import Attempts
from services.auth.ports import ANYWHERE, Stores
from services.runtime.persistence import SYSTEM, Database, Transaction

R = TypeVar("R")


class SqlLoginAttempts:
    """The LoginAttempts of `ports`."""

    def __init__(self, tx: Transaction, tenant: str) -> None:
        """For the rows of `tenant`."""
        self._tx = tx
        self._tenant = tenant

    def get(self, address: bytes) -> Attempts | None:
        """The attempts at this address."""
        row = self._row(address)
        return Attempts(row.count, row.last_time, row.next_time) if row is not None else None

    def put(self, address: bytes, attempts: Attempts) -> None:
        """Stores them, whether or not there were any."""
        row = self._row(address)
        if row is None:
            row = LoginAttemptsRow(tenant=self._tenant, address=address)
            self._tx.session.add(row)
        row.count, row.last_time, row.next_time = attempts.count, attempts.last_at, attempts.next_at
        self._tx.session.flush()

    def clear(self, address: bytes) -> None:
        """Removes them."""
        row = self._row(address)
        if row is not None:
            self._tx.session.delete(row)
            self._tx.session.flush()

    def _row(self, address: bytes) -> LoginAttemptsRow | None:
        return self._tx.session.scalars(
            select(LoginAttemptsRow).where(
                LoginAttemptsRow.tenant == self._tenant, LoginAttemptsRow.address == address
            )
        ).one_or_none()


class SqlRevocations:
    """The Revocations of `ports`: steps of the authorisation state that the feed carries."""

    def __init__(self, tx: Transaction, tenant: str) -> None:
        """For the rows of `tenant`."""
        self._tx = tx
        self._tenant = tenant

    def add(self, session: str, forget_at: datetime) -> int:
        """Adds the step and returns its version."""
        version = next_version(self._tx)
        self._tx.session.add(
            RevokedSessionRow(version=version, tenant=self._tenant, session=session, forget_time=forget_at)
        )
        self._tx.session.flush()
        return version


class SqlStores:
    """The Stores of `ports`."""

    def __init__(self, tx: Transaction, tenant: str) -> None:
        """For the rows of `tenant`, in a transaction of that tenant or of none."""
        self._tx = tx
        self._tenant = tenant

    @property
    def now(self) -> datetime:
        """The time of the transaction, UTC."""
        return self._tx.now

    @cached_property
    def accounts(self) -> SqlAccounts:
        """Tenants and users."""
        return SqlAccounts(self._tx, self._tenant)

    @cached_property
    def sessions(self) -> SqlSessions:
        """Refresh-token families."""
        return SqlSessions(self._tx, self._tenant)

    @cached_property
    def attempts(self) -> SqlLoginAttempts:
        """Log-in attempts."""
        return SqlLoginAttempts(self._tx, self._tenant)

    @cached_property
    def revocations(self) -> SqlRevocations:
        """Revoked sessions."""
        return SqlRevocations(self._tx, self._tenant)


class SqlStorage:
    """The Storage of `ports`."""

    def __init__(self, database: Database, *, attempts_kept: timedelta) -> None:
        """Over the domain's database. `attempts_kept` is how long a log-in attempt counts."""
        self._database = database
        self._attempts_kept = attempts_kept

    async def read(self, work: Callable[[Stores], R], *, tenant: str) -> R:
        """Runs `work` on one snapshot."""
        return await self._database.read(
            lambda tx: work(SqlStores(tx, tenant)), tenant=SYSTEM if tenant == ANYWHERE else tenant
        )

    async def write(self, work: Callable[[Stores], R], *, tenant: str) -> R:
        """Runs `work` as the call's change. Where the caller has no tenant yet, the audit record is not the
        tenant's: row-level security lets only an unscoped transaction write both.
        """
        call = current_call()
        scoped = call is None or call.identity.tenant == tenant
        return await self._database.write(
            lambda tx: work(SqlStores(tx, tenant)), tenant=tenant if scoped else SYSTEM
        )

    async def note(self, work: Callable[[Stores], R], *, tenant: str) -> R:
        """Runs `work` beside the call's change."""
        return await self._database.write(lambda tx: work(SqlStores(tx, tenant)), tenant=tenant, aside=True)

    async def sweep(self) -> None:
        """Removes what no decision needs any more: old attempts, expired sessions, revocations of expired tokens."""

        def remove(tx: Transaction) -> None:
            for statement in (
                delete(LoginAttemptsRow).where(LoginAttemptsRow.last_time < tx.now - self._attempts_kept),
                delete(SessionRow).where(SessionRow.expire_time < tx.now),
                delete(RevokedSessionRow).where(RevokedSessionRow.forget_time < tx.now),
            ):
                tx.session.execute(statement, execution_options={"synchronize_session": False})

        await self._database.write(remove, tenant=SYSTEM, aside=True)
