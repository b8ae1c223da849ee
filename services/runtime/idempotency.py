"""The runtime's :class:`interceptors.ports.IdempotencyStore`: answers by request id (AIP-155), beside the change."""

from __future__ import annotations

import hmac
import os
from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, delete, select, update

from interceptors.faults import Fault
from interceptors.ports import Replayed, ReplayKey
from polyphony.errors.v1 import reason_pb2
from services.runtime.keyring import bind_parts
from services.runtime.persistence import SYSTEM, Database, Transaction
from services.runtime.persistence.columns import to_microseconds
from services.runtime.persistence.tables import idempotency_keys as table


class DatabaseIdempotencyStore:
    """Keeps responses in ``idempotency_keys``, encrypted, until their retention ends or their caller is erased."""

    def __init__(self, database: Database) -> None:
        if database.keyring is None:
            raise ValueError("stored responses are encrypted: the database needs a keyring")
        self._database = database
        self._cipher = AESGCM(database.keyring.derive(f"idempotent responses of {database.domain}"))
        self._digest_key = database.keyring.derive(f"idempotent requests of {database.domain}")

    async def find(self, key: ReplayKey) -> bytes | None:
        """The stored response of an earlier call, or None. Raises ``Fault(REQUEST_ID_REUSED)``."""
        return await self._database.read(lambda tx: self._find(tx.connection, key, tx), tenant=SYSTEM)

    def reserve(self, transaction: Transaction, key: ReplayKey) -> None:
        """Claim the key in the transaction, before the change.

        Two concurrent calls with the same id cannot both commit: the second one waits for the first (or is run again
        after it) and then raises ``Replayed``. Raises ``Fault(REQUEST_ID_REUSED)`` when the earlier request was
        another one.
        """
        expires = transaction.now + timedelta(seconds=key.retention)
        values = (*_place(key), self._digest(key), to_microseconds(expires), to_microseconds(transaction.now))
        mark = "?" if self._database.is_sqlite else "%s"
        marks = ", ".join([mark] * 6)
        claimed = transaction.connection.exec_driver_sql(
            "INSERT INTO idempotency_keys (tenant, actor, method, request_id, digest, expire_time) "  # noqa: S608
            f"VALUES ({marks}) ON CONFLICT (tenant, actor, method, request_id) DO UPDATE SET "
            "digest = excluded.digest, expire_time = excluded.expire_time, response = NULL "
            f"WHERE idempotency_keys.expire_time <= {mark}",
            values,
        )
        if claimed.rowcount == 0:
            response = self._find(transaction.connection, key, transaction)
            if response is not None:
                raise Replayed(response)

    def complete(self, transaction: Transaction, key: ReplayKey, response: bytes) -> None:
        """Store the response in the same transaction as the change."""
        nonce = os.urandom(12)
        sealed = nonce + self._cipher.encrypt(nonce, response, bind_parts(*_place(key)))
        transaction.connection.execute(update(table).where(*_match(key)).values(response=sealed))

    async def purge(self, *, limit: int = 5_000) -> int:
        """Delete up to ``limit`` answers whose retention has ended; returns how many."""
        return await self._database.write(lambda tx: _purge(tx, limit), tenant=SYSTEM)

    def _digest(self, key: ReplayKey) -> bytes:
        """Keyed: a request may hold a password, which a plain digest would let anyone with the file guess quickly."""
        return hmac.digest(self._digest_key, key.digest, "sha256")

    def _find(self, connection: Connection, key: ReplayKey, transaction: Transaction) -> bytes | None:
        row = connection.execute(
            select(table.c.digest, table.c.response).where(
                *_match(key), table.c.expire_time > transaction.now
            )
        ).one_or_none()
        if row is None:
            return None
        if not hmac.compare_digest(row.digest, self._digest(key)):
            raise Fault(reason_pb2.REASON_REQUEST_ID_REUSED, field="request_id")
        if row.response is None:
            return None
        return self._cipher.decrypt(row.response[:12], row.response[12:], bind_parts(*_place(key)))


def _place(key: ReplayKey) -> tuple[str, str, str, str]:
    return key.tenant, key.actor, key.method, key.request_id


def _match(key: ReplayKey) -> tuple[Any, ...]:
    return (
        table.c.tenant == key.tenant,
        table.c.actor == key.actor,
        table.c.method == key.method,
        table.c.request_id == key.request_id,
    )


def _purge(tx: Transaction, limit: int) -> int:
    due = tx.connection.execute(
        select(table.c.tenant, table.c.actor, table.c.method, table.c.request_id)
        .where(table.c.expire_time <= tx.now)
        .limit(limit)
    ).all()
    for tenant, actor, method, request_id in due:
        tx.connection.execute(
            delete(table).where(*_match(ReplayKey(tenant, actor, method, request_id, b"", 0)))
        )
    return len(due)
