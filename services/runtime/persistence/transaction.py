"""What a use case works with: one transaction of one tenant."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from google.protobuf.message import Message
from sqlalchemy import ColumnElement, Connection, Select, Table
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute

from interceptors.call import current_call
from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from services.runtime.keyring import Keyring
from services.runtime.persistence.bulk import bulk_insert
from services.runtime.persistence.entities import SYSTEM
from services.runtime.persistence.outbox import add_event
from services.runtime.persistence.pages import Page, PageTokens, key_columns, keyset
from services.runtime.persistence.scope import ScopedSession, ScopeError
from services.runtime.persistence.subject_keys import SubjectKeys

E = TypeVar("E")


class Transaction:
    """One transaction on the worker thread that runs it; worth nothing after its function has returned.

    ``tenant`` is the tenant id or :data:`SYSTEM`; ``now`` is the UTC time that the transaction began, the same for
    everything it writes.
    """

    def __init__(
        self, session: ScopedSession, now: datetime, keyring: Keyring | None, tokens: PageTokens | None
    ) -> None:
        self.session = session
        self.tenant = session.tenant
        self.now = now
        self._keyring = keyring
        self._tokens = tokens
        self.callbacks: list[Callable[[], object]] = []
        # Not `cached_property`: until Python 3.12 it holds one lock for all transactions of the process meanwhile, and
        # the first use of a connection may wait long for another writer.
        self._connection: Connection | None = None
        self._keys: SubjectKeys | None = None

    @property
    def connection(self) -> Connection:
        """The transaction's connection, without tenant criterion: for the runtime's own tables."""
        if self._connection is None:
            self._connection = self.session.connection()
        return self._connection

    @property
    def keys(self) -> SubjectKeys:
        """The data keys of this tenant's people; raises ``RuntimeError`` for a database without a keyring."""
        if self._keys is None:
            if self._keyring is None:
                raise RuntimeError("this database was opened without a keyring")
            self._keys = SubjectKeys(self._keyring, self.connection, self.tenant, self.now)
        return self._keys

    @property
    def shredded(self) -> bool:
        """Whether it destroyed somebody's data key."""
        return self._keys is not None and bool(self._keys.shredded)

    def find(self, entity: type[E], key: Any, *, include_deleted: bool = False) -> E | None:
        """Load a row by primary key, or ``None`` where this tenant has none (or a deleted one)."""
        return self.session.get(entity, key, execution_options={"include_deleted": include_deleted})

    def require(self, entity: type[E], key: Any, *, name: str = "", include_deleted: bool = False) -> E:
        """Load a row by primary key; raises ``Fault(RESOURCE_NOT_FOUND)``, naming the resource ``name``."""
        row = self.find(entity, key, include_deleted=include_deleted)
        if row is None:
            raise Fault(
                reason_pb2.REASON_RESOURCE_NOT_FOUND,
                "The resource does not exist, or not for this caller.",
                metadata={"resource": name} if name else None,
            )
        return row

    def bulk_insert(
        self,
        table: type[DeclarativeBase] | Table,
        rows: Iterable[Mapping[str, Any] | Sequence[Any]],
        *,
        columns: Sequence[str] | None = None,
        on_conflict_ignore: bool = True,
        tenant: str = "",
    ) -> int:
        """Insert many rows as fast as the driver can, and return how many were new.

        ``rows`` are mappings with the keys of the first one, or sequences in the order of ``columns``; keys are
        column names. The tenant is added. Python-side column defaults do not apply. With ``on_conflict_ignore``, a
        row that breaks a unique constraint is skipped; otherwise it raises ``IntegrityError``.
        """
        scope = self._tenant_of(tenant)
        target = table if isinstance(table, Table) else table.__table__
        assert isinstance(target, Table)
        self.session.flush()
        return bulk_insert(
            self.connection,
            target,
            rows,
            tenant=scope,
            columns=columns,
            on_conflict_ignore=on_conflict_ignore,
        )

    def emit(self, message: Message, *, subject: str = "", tenant: str = "") -> str:
        """Publish a domain event when, and only when, this transaction commits; returns the event id.

        The event's type is the full name of the message; ``subject`` is the resource it speaks of. Put ids into
        events, not personal data: the stream is not sealed.
        """
        call = current_call()
        return add_event(
            self.connection,
            message,
            tenant=self._tenant_of(tenant),
            subject=subject,
            time=self.now,
            trace_parent=call.trace_parent if call else "",
        )

    def on_commit(self, callback: Callable[[], object]) -> None:
        """Run ``callback`` on the event loop once the transaction has committed; never if it has not."""
        self.callbacks.append(callback)

    def page(
        self,
        statement: Select[E],
        *,
        by: Sequence[InstrumentedAttribute[Any] | ColumnElement[Any]],
        size: int,
        token: str = "",
        bound: Sequence[Any] = (),
        method: str = "",
    ) -> Page[E]:
        """Return one page of a listing (AIP-158).

        ``by`` are mapped columns, ``column`` or ``column.desc()``; together they must be unique and never null (end
        with the primary key). ``bound`` are the request fields that shape the listing (parent, filter, order): a
        token is good only with the same ones. ``method`` defaults to that of the current call. Raises
        ``Fault(PAGE_TOKEN_INVALID)``.
        """
        if self._tokens is None:
            raise RuntimeError("this database was opened without a keyring, which seals page tokens")
        call = current_call()
        scope: dict[str, Any] = {
            "tenant": self.tenant,
            "method": method or (call.method.path if call else ""),
            "bound": bound,
        }
        after = self._tokens.open(token, **scope) if token else None
        keys = key_columns(by)
        rows = list(self.session.scalars(keyset(statement, by, after).limit(size + 1)))
        if len(rows) <= size:
            return Page(rows, "")
        rows.pop()
        position = [getattr(rows[-1], key.key or "") for key in keys]
        return Page(rows, self._tokens.seal(position, **scope))

    def _tenant_of(self, tenant: str) -> str:
        if self.tenant != SYSTEM:
            if tenant not in ("", self.tenant):
                raise Fault(reason_pb2.REASON_TENANT_MISMATCH)
            return self.tenant
        if not tenant:
            raise ScopeError("a SYSTEM transaction names the tenant of what it writes")
        return tenant
