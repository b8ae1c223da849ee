"""Many rows into one table at the speed of the driver."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Dialect, Table

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2

BATCH_ROWS = 2_000
"""Rows given to the driver at once: memory stays flat for any number of rows."""

_Row = Mapping[str, Any] | Sequence[Any]


def bulk_insert(
    connection: Connection,
    table: Table,
    rows: Iterable[_Row],
    *,
    tenant: str,
    columns: Sequence[str] | None,
    on_conflict_ignore: bool,
) -> int:
    """Insert ``rows`` and return how many were new; see :meth:`Transaction.bulk_insert`."""
    inserted = 0
    batch: list[tuple[Any, ...]] = []
    statement = ""
    prepare = None
    for row in rows:
        if prepare is None:
            names = tuple(columns) if columns is not None else tuple(row)  # the keys of a mapping
            prepare = _preparer(table, names, connection.dialect, tenant, by_name=columns is None)
            statement = _statement(table, names, connection.dialect.paramstyle, on_conflict_ignore)
        batch.append(prepare(row))
        if len(batch) == BATCH_ROWS:
            inserted += connection.exec_driver_sql(statement, batch).rowcount
            batch = []
    if batch:
        inserted += connection.exec_driver_sql(statement, batch).rowcount
    return inserted


def _preparer(table: Table, names: tuple[str, ...], dialect: Dialect, tenant: str, *, by_name: bool) -> Any:
    """Return the function that turns one row into the driver's parameters, the tenant last."""
    if "tenant" in names:
        position = names.index("tenant")
        inner = _preparer(table, tuple(n for n in names if n != "tenant"), dialect, tenant, by_name=by_name)

        def checked(row: Any) -> tuple[Any, ...]:
            if row["tenant" if by_name else position] != tenant:
                raise Fault(reason_pb2.REASON_TENANT_MISMATCH)
            prepared: tuple[Any, ...] = inner(row if by_name else (*row[:position], *row[position + 1 :]))
            return prepared

        return checked
    binds = [
        (index, bind)
        for index, name in enumerate(names)
        if (bind := _processor(table.columns[name].type, dialect)) is not None
    ]
    last = (tenant,)
    values: Callable[[Any], tuple[Any, ...]] = _picker(names) if by_name else tuple
    if not binds:
        return lambda row: values(row) + last

    def converted(row: Any) -> tuple[Any, ...]:
        mutable = list(values(row))
        for index, bind in binds:
            mutable[index] = bind(mutable[index])
        mutable.append(tenant)
        return tuple(mutable)

    return converted


def _picker(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) == 1:
        only = names[0]
        return lambda row: (row[only],)
    return itemgetter(*names)


def _processor(kind: Any, dialect: Dialect) -> Callable[[Any], Any] | None:
    processor: Callable[[Any], Any] | None = kind.dialect_impl(dialect).bind_processor(dialect)
    return processor


@lru_cache(maxsize=256)
def _statement(table: Table, names: tuple[str, ...], paramstyle: str, ignore: bool) -> str:
    names = (*(n for n in names if n != "tenant"), "tenant")
    mark = "?" if paramstyle == "qmark" else "%s"
    listed = ", ".join(f'"{table.columns[name].name}"' for name in names)
    marks = ", ".join([mark] * len(names))
    end = " ON CONFLICT DO NOTHING" if ignore else ""
    # Names come from the table's own definition; S608 cannot know that.
    return f'INSERT INTO "{table.name}" ({listed}) VALUES ({marks}){end}'  # noqa: S608
