"""The authorisation state in the domain's database, as the source of its feed.

Every change takes the next version from one row, whose lock it holds until it commits: versions appear in
the order of commits and without gaps.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from services.auth.adapters.tables import AuthorizationHeadRow, RevokedSessionRow
from services.auth.model.authorization import (
    AuthorizationChange,
    AuthorizationState,
    Policy,
    RevokedSession,
)
from services.runtime.persistence import SYSTEM, Database, Transaction

_HEAD = 1


def next_version(tx: Transaction) -> int:
    """Takes the next version of the authorisation state for a change made in this transaction."""
    tx.session.execute(
        update(AuthorizationHeadRow)
        .where(AuthorizationHeadRow.id == _HEAD)
        .values(version=AuthorizationHeadRow.version + 1),
        execution_options={"synchronize_session": False},
    )
    return tx.session.scalars(
        select(AuthorizationHeadRow.version).where(AuthorizationHeadRow.id == _HEAD)
    ).one()


class SqlAuthorizationState:
    """The FeedSource of the authorisation feed."""

    def __init__(self, database: Database) -> None:
        """Over the domain's database."""
        self._database = database

    async def install(self, policy: Policy) -> None:
        """Puts `policy` in force, as a new version where it differs from the one that is."""
        try:
            await self._database.write(lambda tx: _install(tx, policy), tenant=SYSTEM)
        except IntegrityError:
            # Another worker made the first version at the same moment; now there is one to compare with.
            await self._database.write(lambda tx: _install(tx, policy), tenant=SYSTEM)

    async def version(self) -> int:
        """The newest committed version."""
        return await self._database.read(lambda tx: _head(tx).version, tenant=SYSTEM)

    async def snapshot(self) -> tuple[int, AuthorizationState]:
        """The whole state and its version. Sessions whose tokens have all expired are left out."""
        return await self._database.read(_snapshot, tenant=SYSTEM)

    async def changes_after(self, version: int) -> Sequence[tuple[int, AuthorizationChange]]:
        """Every change after `version`; empty where not all of them are known any more."""
        return await self._database.read(lambda tx: _changes(tx, version), tenant=SYSTEM)


def _head(tx: Transaction) -> AuthorizationHeadRow:
    return tx.session.scalars(select(AuthorizationHeadRow).where(AuthorizationHeadRow.id == _HEAD)).one()


def _policy(head: AuthorizationHeadRow) -> Policy:
    return Policy(head.model, tuple(head.rules))


def _install(tx: Transaction, policy: Policy) -> None:
    head = tx.session.scalars(
        select(AuthorizationHeadRow).where(AuthorizationHeadRow.id == _HEAD)
    ).one_or_none()
    if head is None:
        head = AuthorizationHeadRow(id=_HEAD, version=0)
        tx.session.add(head)
    elif head.digest == policy.digest:
        return
    head.version += 1
    head.policy_version = head.version
    head.model, head.rules, head.digest = policy.model, list(policy.rules), policy.digest
    tx.session.flush()


def _snapshot(tx: Transaction) -> tuple[int, AuthorizationState]:
    head = _head(tx)
    rows = tx.session.scalars(
        select(RevokedSessionRow)
        .where(RevokedSessionRow.forget_time > tx.now)
        .order_by(RevokedSessionRow.version)
    )
    revoked = tuple(RevokedSession(row.session, row.forget_time) for row in rows)
    return head.version, AuthorizationState(_policy(head), revoked)


def _changes(tx: Transaction, version: int) -> list[tuple[int, AuthorizationChange]]:
    head = _head(tx)
    changes: dict[int, AuthorizationChange] = {
        row.version: RevokedSession(row.session, row.forget_time)
        for row in tx.session.scalars(select(RevokedSessionRow).where(RevokedSessionRow.version > version))
    }
    if head.policy_version > version:
        changes[head.policy_version] = _policy(head)
    if sorted(changes) != list(range(version + 1, head.version + 1)):
        return []  # A step is no longer known: it was swept, or another policy came after it.
    return sorted(changes.items(), key=lambda change: change[0])
