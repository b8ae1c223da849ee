"""Many rows into one table at the speed of the driver."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain, islice
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Dialect, Table

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2

BATCH_ROWS = 500
"""Rows given to the driver at once: memory stays flat for any number of rows."""

SQLITE_PARAMETERS = 32_000
"""A little below the most parameters that one statement of SQLite may have (32,766 since 3.32)."""

_Row = Mapping[str, Any] | Sequence[Any]
_Values = tuple[Any, ...]


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
    waiting = iter(rows)
    first = next(waiting, None)
    if first is None:
        return 0
    names = tuple(columns) if columns is not None else tuple(first)  # the keys of a mapping
    prepare = _preparer(table, names, connection.dialect, tenant, by_name=columns is None)
    names = tuple(name for name in names if name != "tenant")
    size = min(BATCH_ROWS, SQLITE_PARAMETERS // (len(names) + 1))
    prepared = map(prepare, chain((first,), waiting))
    inserted = 0
    while batch := list(islice(prepared, size)):
        if len(batch) == size and connection.dialect.name == "sqlite":
            # One statement for all rows: half the work of row by row, and it lets other threads run meanwhile.
            statement = _statement_of_many(table, names, size, on_conflict_ignore)
            inserted += connection.exec_driver_sql(statement, (tenant, *chain.from_iterable(batch))).rowcount
        else:
            mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
            statement = _statement(table, names, mark, on_conflict_ignore)
            inserted += connection.exec_driver_sql(statement, [(*row, tenant) for row in batch]).rowcount
    return inserted


def _preparer(table: Table, names: tuple[str, ...], dialect: Dialect, tenant: str, *, by_name: bool) -> Any:
    """Return the function that turns one row into the driver's parameters, without the tenant."""
    if "tenant" in names:
        position = names.index("tenant")
        inner = _preparer(table, tuple(n for n in names if n != "tenant"), dialect, tenant, by_name=by_name)

        def checked(row: Any) -> _Values:
            if row["tenant" if by_name else position] != tenant:
                raise Fault(reason_pb2.REASON_TENANT_MISMATCH)
            prepared: _Values = inner(row if by_name else (*row[:position], *row[position + 1 :]))
            return prepared

        return checked
    binds = [
        (index, bind)
        for index, name in enumerate(names)
        if (bind := _processor(table.columns[name].type, dialect)) is not None
    ]
    values: Callable[[Any], _Values] = _picker(names) if by_name else tuple
    if not binds:
        return values

    def converted(row: Any) -> _Values:
        mutable = list(values(row))
        for index, bind in binds:
            mutable[index] = bind(mutable[index])
        return tuple(mutable)

    return converted


def _picker(names: tuple[str, ...]) -> Callable[[Any], _Values]:
    if len(names) == 1:
        only = names[0]
        return lambda row: (row[only],)
    return itemgetter(*names)


def _processor(kind: Any, dialect: Dialect) -> Callable[[Any], Any] | None:
    processor: Callable[[Any], Any] | None = kind.dialect_impl(dialect).bind_processor(dialect)
    return processor


@lru_cache(maxsize=256)
def _statement(table: Table, names: tuple[str, ...], mark: str, ignore: bool) -> str:
    """The statement for one row; the tenant comes last."""
    return _insert(table, names, f"VALUES ({', '.join([mark] * (len(names) + 1))})", ignore)


@lru_cache(maxsize=256)
def _statement_of_many(table: Table, names: tuple[str, ...], rows: int, ignore: bool) -> str:
    """SQLite's statement for so many rows; the tenant comes once, first."""
    row = f"({', '.join(['?'] * len(names))})"
    # WHERE keeps SQLite from reading ON as the beginning of a join.
    values = f"SELECT *, ? FROM (VALUES {', '.join([row] * rows)}) WHERE true"  # noqa: S608
    return _insert(table, names, values, ignore)


def _insert(table: Table, names: tuple[str, ...], values: str, ignore: bool) -> str:
    listed = ", ".join(f'"{table.columns[name].name}"' for name in (*names, "tenant"))
    end = " ON CONFLICT DO NOTHING" if ignore else ""
    return f'INSERT INTO "{table.name}" ({listed}) {values}{end}'
