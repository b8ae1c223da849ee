"""The tenant criterion, added to every ORM statement of a session; what cannot carry it is refused."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Never, cast

from sqlalchemy import ClauseElement, Insert, Table, TextClause, Update, event
from sqlalchemy.orm import (
    InstanceState,
    LoaderCriteriaOption,
    ORMExecuteState,
    Session,
    UOWTransaction,
    with_loader_criteria,
)
from sqlalchemy.sql import visitors

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from services.runtime.persistence.entities import SYSTEM, SoftDeleted, TenantScoped


class ScopeError(Exception):
    """A statement that the tenant criterion cannot be added to: a mistake in the code, never in a request."""


class ScopedSession(Session):
    """A session of one tenant, or of none where ``tenant`` is :data:`SYSTEM`."""

    def __init__(self, *args: Any, tenant: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tenant = tenant
        self.criterion = _criterion(tenant)

    def bulk_save_objects(self, *args: Any, **kwargs: Any) -> Never:
        """Refused, as its two siblings: they pass by the checks of a flush. Use ``tx.bulk_insert``."""
        raise ScopeError("the session's bulk methods have no tenant criterion: use tx.bulk_insert")

    bulk_insert_mappings = bulk_update_mappings = bulk_save_objects


@lru_cache(maxsize=1024)
def _criterion(tenant: str) -> LoaderCriteriaOption:
    # Kept, because making it costs a tenth of a small reading transaction.
    return with_loader_criteria(
        TenantScoped, lambda cls: cls.tenant == tenant, include_aliases=True, propagate_to_loaders=False
    )


_NOT_DELETED = with_loader_criteria(
    SoftDeleted, lambda cls: cls.delete_time.is_(None), include_aliases=True, propagate_to_loaders=False
)


def _mismatch() -> Fault:
    return Fault(reason_pb2.REASON_TENANT_MISMATCH)


@event.listens_for(ScopedSession, "do_orm_execute")
def _add_criteria(state: ORMExecuteState) -> None:
    session = state.session
    assert isinstance(session, ScopedSession)
    tenant = session.tenant
    if state.is_column_load:
        return  # reloads columns of a row, by primary key, that this session has loaded or made
    if tenant != SYSTEM:
        if not state.is_orm_statement:
            _refuse_unscoped(state)
            return
        if state.is_insert:
            _fill_tenant(state, tenant)
            return
        if state.is_update:
            _keep_tenant(state)
        state.statement = state.statement.options(session.criterion)
    elif not state.is_orm_statement or state.is_insert:
        return
    if not state.execution_options.get("include_deleted", False):
        state.statement = state.statement.options(_NOT_DELETED)


def _refuse_unscoped(state: ORMExecuteState) -> None:
    if isinstance(state.statement, TextClause):
        raise ScopeError("text() has no tenant criterion: use the mapped class, or tenant=SYSTEM")
    for element in visitors.iterate(cast(ClauseElement, state.statement)):
        if isinstance(element, Table) and "tenant" in element.columns:
            raise ScopeError(
                f"a Core statement on {element.name} has no tenant criterion: use the mapped class"
            )


def _fill_tenant(state: ORMExecuteState, tenant: str) -> None:
    statement = state.statement
    assert isinstance(statement, Insert)
    mapper = state.bind_mapper
    if mapper is None or not issubclass(mapper.class_, TenantScoped):
        return
    if statement.select is not None or statement._multi_values:
        raise ScopeError("insert rows as parameters: values of a statement cannot be given their tenant")
    given_rows: Any = state.parameters
    rows: list[dict[str, Any]] = [given_rows] if isinstance(given_rows, dict) else given_rows
    for row in rows or ():
        if row.setdefault("tenant", tenant) != tenant:
            raise _mismatch()
    if not rows:
        given = {getattr(key, "name", key): value for key, value in (statement._values or {}).items()}
        if "tenant" in given and getattr(given["tenant"], "value", None) != tenant:
            raise _mismatch()
        state.statement = statement.values(tenant=tenant)


def _keep_tenant(state: ORMExecuteState) -> None:
    statement = state.statement
    assert isinstance(statement, Update)
    # Given rows, an UPDATE matches by primary key alone and takes no criterion.
    if isinstance(state.parameters, list):
        raise ScopeError("an UPDATE of rows by primary key has no tenant criterion: load and change them")
    if "tenant" in {
        getattr(key, "name", key) for key in (*(statement._values or ()), *(state.parameters or ()))
    }:
        raise ScopeError("a row never changes its tenant")


@event.listens_for(ScopedSession, "before_flush")
def _check_rows(session: Session, context: UOWTransaction, instances: object) -> None:
    assert isinstance(session, ScopedSession)
    for row in session.new:
        if isinstance(row, TenantScoped):
            if session.tenant == SYSTEM:
                if not row.tenant:
                    raise ScopeError(f"a new {type(row).__name__} of a SYSTEM transaction needs its tenant")
            elif row.tenant is None:
                row.tenant = session.tenant
            elif row.tenant != session.tenant:
                raise _mismatch()
    for row in (*session.dirty, *session.deleted):
        if isinstance(row, TenantScoped):
            state: InstanceState[Any] = row._sa_instance_state  # type: ignore[attr-defined]
            if state.attrs["tenant"].history.has_changes():
                raise _mismatch()
            if session.tenant not in (SYSTEM, row.tenant):
                raise _mismatch()
