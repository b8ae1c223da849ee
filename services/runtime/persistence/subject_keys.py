"""Data keys of people as one transaction uses them (``tx.keys``): seal, open, blind index, shred."""

from __future__ import annotations

import hashlib
import hmac
import os
import unicodedata
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidTag
from sqlalchemy import Connection, bindparam, delete, insert, select, update
from sqlalchemy.orm import InstrumentedAttribute

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from services.runtime.keyring import KEY_BYTES, DataKey, Keyring, SealBrokenError, bind_parts
from services.runtime.persistence.columns import Sealed
from services.runtime.persistence.entities import SYSTEM
from services.runtime.persistence.tables import idempotency_keys, subject_keys

TENANT_SUBJECT = "*"
"""The reserved subject whose key makes blind indexes that must be found without knowing the person."""

_HEADER = bytes([Sealed.VERSION])

# Built once: a batch of audit records loads hundreds of keys, and building the statement cost more than running it.
_KEY = select(subject_keys.c.wrapped, subject_keys.c.kek).where(
    subject_keys.c.tenant == bindparam("tenant"), subject_keys.c.subject == bindparam("subject")
)


class SubjectKey:
    """The data key of one person, within one transaction. The key row is made when something is first sealed."""

    def __init__(self, keys: SubjectKeys, tenant: str, subject: str) -> None:
        self._keys = keys
        self.tenant = tenant
        self.subject = subject
        self._places: dict[tuple[str, str], bytes] = {}

    def seal(self, column: InstrumentedAttribute[Any], row: str, value: str | bytes) -> bytes:
        """Encrypt a value for one column (declared ``Sealed``) of the row with primary key ``row``.

        Raises ``Fault(SUBJECT_KEY_DESTROYED)`` for a person whose data was erased: no new key is made for them.
        """
        table, name = _place(column)
        return self.seal_at(table, name, row, value)

    def seal_at(self, table: str, column: str, row: str, value: str | bytes) -> bytes:
        """As :meth:`seal`, with the place named in words; for loops over many rows."""
        plain = value.encode() if isinstance(value, str) else value
        nonce = os.urandom(12)
        bound = self._bound(table, column) + bind_parts(row)
        return _HEADER + nonce + self._keys.load(self, create=True).cipher.encrypt(nonce, plain, bound)

    def open(self, column: InstrumentedAttribute[Any], row: str, sealed: bytes) -> bytes:
        """Decrypt a sealed value. Raises ``Fault(SUBJECT_KEY_DESTROYED)`` or :class:`SealBrokenError`."""
        table, name = _place(column)
        return self.open_at(table, name, row, sealed)

    def open_text(self, column: InstrumentedAttribute[Any], row: str, sealed: bytes) -> str:
        """As :meth:`open`, for text."""
        return self.open(column, row, sealed).decode()

    def open_at(self, table: str, column: str, row: str, sealed: bytes) -> bytes:
        """As :meth:`open`, with the place named in words; for loops over many rows."""
        cipher = self._keys.load(self, create=False).cipher
        try:
            if sealed[:1] != _HEADER:
                raise InvalidTag
            return cipher.decrypt(sealed[1:13], sealed[13:], self._bound(table, column) + bind_parts(row))
        except (InvalidTag, ValueError):
            raise SealBrokenError(f"a value of {table}.{column} does not open where it stands") from None

    def blind_index(self, column: InstrumentedAttribute[Any], value: str) -> bytes:
        """Return the keyed digest of a value for equality search: NFKC, without outer blanks, case folded."""
        table, name = _place(column)
        normal = unicodedata.normalize("NFKC", value).strip().casefold()
        key = self._keys.load(self, create=True).index
        return hmac.digest(key, self._bound(table, name) + bind_parts(normal), hashlib.sha256)

    def _bound(self, table: str, column: str) -> bytes:
        """What a value of a column is bound to, but for the row; the same for every row of it."""
        place = (table, column)
        bound = self._places.get(place)
        if bound is None:
            bound = self._places[place] = bind_parts(self.tenant, self.subject, *place)
        return bound


class SubjectKeys:
    """The data keys that one transaction may use: ``tx.keys``."""

    def __init__(self, keyring: Keyring, connection: Connection, tenant: str, now: datetime) -> None:
        self._keyring = keyring
        self._connection = connection
        self._tenant = tenant
        self._now = now
        self._loaded: dict[tuple[str, str], DataKey] = {}
        self.shredded: list[bytes] = []

    def of(self, subject: str, *, tenant: str = "") -> SubjectKey:
        """The key of a person (a user id); ``tenant`` is needed in a SYSTEM transaction only."""
        return SubjectKey(self, self._tenant_of(tenant), subject)

    def of_tenant(self, *, tenant: str = "") -> SubjectKey:
        """The tenant's own key: for a blind index that is searched before the person is known, such as a login name."""
        return SubjectKey(self, self._tenant_of(tenant), TENANT_SUBJECT)

    def shred(self, subject: str, *, tenant: str = "") -> bool:
        """Destroy a person's data key; returns whether there was one to destroy.

        From the commit on, ``open`` and ``seal`` raise ``Fault(SUBJECT_KEY_DESTROYED)`` in every process. A marker
        stays, so that late data of an erased person cannot start a new key. Stored answers to the person go, too.
        """
        tenant = self._tenant_of(tenant)
        self._loaded.pop((tenant, subject), None)
        # Stored answers are not sealed under the person's key, so they go with it.
        self._connection.execute(
            delete(idempotency_keys).where(
                idempotency_keys.c.tenant == tenant, idempotency_keys.c.actor == subject
            )
        )
        row = self._row(tenant, subject)
        if row is None:
            self._connection.execute(
                insert(subject_keys).values(
                    tenant=tenant, subject=subject, kek="", create_time=self._now, destroy_time=self._now
                )
            )
            return False
        if row.wrapped is None:
            return False
        self._connection.execute(
            update(subject_keys)
            .where(subject_keys.c.tenant == tenant, subject_keys.c.subject == subject)
            .values(wrapped=None, kek="", destroy_time=self._now)
        )
        self.shredded.append(row.wrapped)
        self._keyring.forget(row.wrapped)
        return True

    def load(self, key: SubjectKey, *, create: bool) -> DataKey:
        """The data key behind a :class:`SubjectKey`, read once per transaction so that a destroyed key is noticed."""
        place = (key.tenant, key.subject)
        found = self._loaded.get(place)
        if found is None:
            row = self._row(*place)
            if row is None:
                if not create:
                    raise SealBrokenError(
                        "this person has no data key, so nothing can have been sealed for them"
                    )
                row = self._make(*place)
            if row.wrapped is None:
                raise Fault(reason_pb2.REASON_SUBJECT_KEY_DESTROYED)
            found = self._keyring.data_key(row.wrapped, row.kek, *place)
            self._loaded[place] = found
        return found

    def _tenant_of(self, tenant: str) -> str:
        if self._tenant != SYSTEM:
            if tenant not in ("", self._tenant):
                raise Fault(reason_pb2.REASON_TENANT_MISMATCH)
            return self._tenant
        if not tenant:
            raise ValueError("a SYSTEM transaction names the tenant of a key")
        return tenant

    def _row(self, tenant: str, subject: str) -> Any:
        return self._connection.execute(_KEY, {"tenant": tenant, "subject": subject}).one_or_none()

    def _make(self, tenant: str, subject: str) -> Any:
        self._connection.execute(
            insert(subject_keys).values(
                tenant=tenant,
                subject=subject,
                kek=self._keyring.current,
                wrapped=self._keyring.wrap(os.urandom(KEY_BYTES), tenant, subject),
                create_time=self._now,
            )
        )
        return self._row(tenant, subject)


def rewrap(connection: Connection, keyring: Keyring, *, limit: int = 500) -> int:
    """Wrap data keys of retired key-encryption keys under the current one; returns how many (zero: all done).

    Rotation touches no data: only the wrapped keys change. Runs in a SYSTEM write, until it returns zero.
    """
    rows = connection.execute(
        select(subject_keys)
        .where(subject_keys.c.kek != keyring.current, subject_keys.c.wrapped.is_not(None))
        .limit(limit)
    ).all()
    for row in rows:
        plain = keyring.unwrap(row.wrapped, row.kek, row.tenant, row.subject)
        connection.execute(
            update(subject_keys)
            .where(subject_keys.c.tenant == row.tenant, subject_keys.c.subject == row.subject)
            .values(wrapped=keyring.wrap(plain, row.tenant, row.subject), kek=keyring.current)
        )
    return len(rows)


def _place(column: InstrumentedAttribute[Any]) -> tuple[str, str]:
    stored = column.property.columns[0]
    return stored.table.name, stored.name
