"""No statement of one tenant reads, changes or makes a row of another, in either database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, exists, func, insert, literal, select, text, union_all, update
from sqlalchemy.orm import aliased, joinedload, selectinload

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from services.runtime.persistence import SYSTEM, Database, ScopeError, Transaction
from services.runtime.persistence.tables import subject_keys
from tests.fixtures.shelf import Disc, Shelf

TENANTS = ["a", "b"]


def stock(tx: Transaction) -> None:
    """One shelf with two discs for the tenant, with ids that name it."""
    t = tx.tenant
    tx.session.add(
        Shelf(id=f"{t}-shelf", title=t, discs=[Disc(id=f"{t}-1", plays=1), Disc(id=f"{t}-2", plays=2)])
    )


@pytest.fixture
async def stocked(database: Database) -> Database:
    for tenant in TENANTS:
        await database.write(stock, tenant=tenant)
    return database


Other = aliased(Disc)
READS: dict[str, Callable[[Any], Any]] = {
    "entities": lambda s: [d.id for d in s.scalars(select(Disc))],
    "columns": lambda s: list(s.scalars(select(Disc.id))),
    "alias": lambda s: list(s.scalars(select(Other.id))),
    "join": lambda s: list(s.scalars(select(Disc.id).join(Shelf, Disc.shelf_id == Shelf.id))),
    "cross join": lambda s: [
        i for row in s.execute(select(Disc.id, Shelf.id).join(Shelf, literal(True))) for i in row
    ],
    "subquery": lambda s: list(s.scalars(select(select(Disc.id).subquery().c.id))),
    "cte": lambda s: list(s.scalars(select(select(Disc.id).cte().c.id))),
    "union": lambda s: list(s.scalars(union_all(select(Disc.id), select(Shelf.id)))),
    "in subquery": lambda s: list(s.scalars(select(Shelf.id).where(Shelf.id.in_(select(Disc.shelf_id))))),
    "scalar subquery": lambda s: list(s.scalars(select(select(func.max(Disc.id)).scalar_subquery()))),
    "get own and other": lambda s: [d.id for t in TENANTS if (d := s.get(Disc, f"{t}-1"))],
    "lazy load": lambda s: [d.id for shelf in s.scalars(select(Shelf)) for d in shelf.discs],
    "select in load": lambda s: [
        d.id for shelf in s.scalars(select(Shelf).options(selectinload(Shelf.discs))) for d in shelf.discs
    ],
    "joined load": lambda s: [
        d.shelf.id for d in s.scalars(select(Disc).options(joinedload(Disc.shelf))).unique() if d.shelf
    ],
    "from statement of entities": lambda s: [row.id for row in s.execute(select(Disc.id, Disc.plays))],
}


@pytest.mark.parametrize("form", READS)
async def test_every_form_of_select_sees_its_own_rows_only(stocked: Database, form: str) -> None:
    for tenant in TENANTS:
        seen = await stocked.read(lambda tx: READS[form](tx.session), tenant=tenant)
        assert seen, f"{form} saw nothing at all"
        assert {identifier.split("-")[0] for identifier in seen} == {tenant}
    every = await stocked.read(lambda tx: READS[form](tx.session), tenant=SYSTEM)
    assert {i.split("-")[0] for i in every} == ({"b"} if form == "scalar subquery" else set(TENANTS))


async def test_counts_and_existence_are_scoped(stocked: Database) -> None:
    def look(tx: Transaction) -> tuple[Any, Any, Any]:
        s = tx.session
        return (
            s.scalar(select(func.count(Disc.id))),
            s.scalar(select(func.sum(Disc.plays))),
            s.scalar(select(exists(select(Disc.id).where(Disc.id == "b-1")))),
        )

    assert await stocked.read(look, tenant="a") == (2, 3, False)
    assert await stocked.read(look, tenant="b") == (2, 3, True)
    assert await stocked.read(look, tenant="c") == (0, None, False)


WRITES: dict[str, Callable[[Any], Any]] = {
    "update": lambda s: s.execute(update(Disc).values(plays=99)),
    "update by id": lambda s: s.execute(update(Disc).where(Disc.id == "b-1").values(plays=99)),
    "update with subquery": lambda s: s.execute(
        update(Disc).where(Disc.id.in_(select(Disc.id))).values(plays=99)
    ),
    "delete": lambda s: s.execute(delete(Disc)),
    "delete shelves": lambda s: s.execute(delete(Shelf)),
}


@pytest.mark.parametrize("form", WRITES)
async def test_a_change_stays_within_its_tenant(stocked: Database, form: str) -> None:
    def state(tx: Transaction) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in tx.session.execute(select(Disc.id, Disc.plays).order_by(Disc.id))]

    before = await stocked.read(state, tenant="b")
    await stocked.write(lambda tx: WRITES[form](tx.session), tenant="a")
    assert await stocked.read(state, tenant="b") == before
    if form != "update by id":
        await stocked.write(lambda tx: WRITES[form](tx.session), tenant="b")
        assert await stocked.read(state, tenant="b") != before, (
            "the statement changed nothing even for its owner"
        )


async def faults(database: Database, work: Callable[[Transaction], Any], tenant: str = "a") -> int:
    with pytest.raises(Fault) as caught:
        await database.write(work, tenant=tenant)
    return caught.value.reason


async def test_a_new_row_gets_the_tenant_and_no_other(database: Database) -> None:
    def make(tx: Transaction) -> str:
        disc = Disc(id="one")
        tx.session.add(disc)
        tx.session.flush()
        return disc.tenant

    assert await database.write(make, tenant="a") == "a"
    mismatch = reason_pb2.REASON_TENANT_MISMATCH
    assert await faults(database, lambda tx: tx.session.add(Disc(id="two", tenant="b"))) == mismatch
    assert (
        await faults(database, lambda tx: tx.session.execute(insert(Disc).values(id="3", tenant="b")))
        == mismatch
    )
    rows = [{"id": "4", "plays": 0, "tenant": "b"}]
    assert await faults(database, lambda tx: tx.session.execute(insert(Disc), rows)) == mismatch
    assert await faults(database, lambda tx: tx.bulk_insert(Disc, rows)) == mismatch
    assert (
        await faults(database, lambda tx: tx.bulk_insert(Disc, [("5", "b")], columns=["id", "tenant"]))
        == mismatch
    )
    assert await faults(database, lambda tx: tx.bulk_insert(Disc, rows, tenant="b")) == mismatch
    assert await faults(database, lambda tx: tx.emit(StringValue(), tenant="b")) == mismatch
    assert await faults(database, lambda tx: tx.keys.of("u", tenant="b")) == mismatch


async def test_insert_statements_get_the_tenant(database: Database) -> None:
    def make(tx: Transaction) -> None:
        tx.session.execute(insert(Disc).values(id="one", plays=0))
        tx.session.execute(insert(Disc), [{"id": "two", "plays": 0}, {"id": "three", "plays": 0}])
        tx.session.execute(insert(Disc), {"id": "four", "plays": 0, "tenant": "a"})

    await database.write(make, tenant="a")
    assert await database.read(lambda tx: tx.session.scalar(select(func.count(Disc.id))), tenant="a") == 4


async def test_a_row_never_changes_its_tenant(stocked: Database) -> None:
    def move(tx: Transaction) -> None:
        tx.require(Disc, "a-1").tenant = "b"

    assert await faults(stocked, move) == reason_pb2.REASON_TENANT_MISMATCH
    with pytest.raises(ScopeError):
        await stocked.write(lambda tx: tx.session.execute(update(Disc).values(tenant="b")), tenant="a")
    with pytest.raises(ScopeError):
        await stocked.write(
            lambda tx: tx.session.execute(update(Disc), [{"id": "a-1", "tenant": "b"}]), tenant="a"
        )


async def test_a_row_of_another_tenant_cannot_be_merged_in(stocked: Database) -> None:
    """An object loaded elsewhere, or made up, with another tenant's primary key."""
    foreign = await stocked.read(lambda tx: tx.require(Disc, "b-1"), tenant="b")
    foreign.plays = 99
    assert await faults(stocked, lambda tx: tx.session.add(foreign)) == reason_pb2.REASON_TENANT_MISMATCH
    plays = await stocked.read(lambda tx: tx.require(Disc, "b-1").plays, tenant="b")
    assert plays == 1


async def test_bulk_update_by_primary_key_cannot_reach_another_tenant(stocked: Database) -> None:
    row = {"id": "b-1", "plays": 99}
    ways: list[Callable[[Any], Any]] = [
        lambda s: s.execute(update(Disc), [row]),
        lambda s: s.bulk_update_mappings(Disc, [row]),
        lambda s: s.bulk_insert_mappings(Disc, [{"id": "new", "plays": 1, "tenant": "b"}]),
        lambda s: s.bulk_save_objects([Disc(id="new", plays=1, tenant="b")]),
    ]
    for way in ways:
        with pytest.raises(ScopeError):
            await stocked.write(lambda tx, way=way: way(tx.session), tenant="a")
    assert await stocked.read(lambda tx: tx.require(Disc, "b-1").plays, tenant="b") == 1


@pytest.mark.parametrize(
    "statement",
    [
        text("SELECT id FROM discs"),
        select(Disc.__table__),
        select(func.count()).select_from(Disc.__table__),
        Disc.__table__.update().values(plays=9),
        Disc.__table__.delete(),
        Disc.__table__.insert().values(id="x", plays=0, tenant="b"),
        select(literal(1)).where(exists(select(Disc.__table__.c.id))),
        insert(Disc).values([{"id": "x", "plays": 0}, {"id": "y", "plays": 0}]),
        insert(Disc).from_select(["id", "plays"], select(literal("x"), literal(0))),
    ],
    ids=str,
)
async def test_what_cannot_be_scoped_is_refused(stocked: Database, statement: Any) -> None:
    with pytest.raises(ScopeError):
        await stocked.write(lambda tx: tx.session.execute(statement), tenant="a")


async def test_a_system_transaction_names_the_tenant_of_each_row(database: Database) -> None:
    with pytest.raises(ScopeError):
        await database.write(lambda tx: tx.session.add(Disc(id="one")), tenant=SYSTEM)
    with pytest.raises(ScopeError):
        await database.write(lambda tx: tx.bulk_insert(Disc, [{"id": "one"}]), tenant=SYSTEM)
    await database.write(lambda tx: tx.session.add(Disc(id="one", tenant="a")), tenant=SYSTEM)
    assert await database.read(lambda tx: tx.require(Disc, "one").tenant, tenant="a") == "a"


async def test_bulk_insert_counts_what_was_new(database: Database) -> None:
    rows = [{"id": f"d{n}", "plays": n} for n in range(4500)]
    assert await database.write(lambda tx: tx.bulk_insert(Disc, rows), tenant="a") == 4500
    assert (
        await database.write(lambda tx: tx.bulk_insert(Disc, [*rows, {"id": "new", "plays": 0}]), tenant="a")
        == 1
    )
    by_position = [("p1", 5), ("p2", 6)]
    assert (
        await database.write(
            lambda tx: tx.bulk_insert(Disc, by_position, columns=["id", "plays"]), tenant="a"
        )
        == 2
    )
    assert await database.read(lambda tx: tx.require(Disc, "p2").plays, tenant="a") == 6


async def test_row_level_security_stands_behind_the_session(stocked: Database) -> None:
    if stocked.is_sqlite:
        pytest.skip("SQLite has no row-level security")
    raw = text("SELECT count(*) FROM discs")
    for tenant, rows in (("a", 2), ("b", 2), ("c", 0), (SYSTEM, 4)):
        assert await stocked.read(lambda tx: tx.connection.execute(raw).scalar(), tenant=tenant) == rows
    with pytest.raises(Exception, match="row-level security"):
        await stocked.write(
            lambda tx: tx.connection.execute(
                text("INSERT INTO discs (id, plays, tenant) VALUES ('x', 0, 'b')")
            ),
            tenant="a",
        )
    # A connection that never said who asks sees nothing.
    with stocked.engine.connect() as connection:
        assert connection.execute(raw).scalar() == 0
        assert connection.execute(select(func.count()).select_from(subject_keys)).scalar() == 0


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c"]), st.sampled_from(["add", "bump", "drop"]), st.integers(0, 5)
        ),
        max_size=12,
    )
)
async def test_tenants_behave_as_if_each_had_a_database_of_its_own(database: Database, steps: Any) -> None:
    await database.write(lambda tx: tx.session.execute(delete(Disc)), tenant=SYSTEM)
    model: dict[str, dict[str, int]] = {"a": {}, "b": {}, "c": {}}
    for tenant, action, number in steps:
        own = model[tenant]
        identifier = f"{tenant}{number}"

        def act(tx: Transaction, action: str = action, identifier: str = identifier) -> None:
            if action == "add":
                tx.bulk_insert(Disc, [{"id": identifier, "plays": 0}])
            elif action == "bump":
                tx.session.execute(update(Disc).values(plays=Disc.plays + 1))
            else:
                tx.session.execute(delete(Disc).where(Disc.id.like(f"%{identifier[-1]}")))

        await database.write(act, tenant=tenant)
        if action == "add":
            own.setdefault(identifier, 0)
        elif action == "bump":
            model[tenant] = {key: plays + 1 for key, plays in own.items()}
        else:
            own.pop(identifier, None)
    for tenant, expected in model.items():
        rows = await database.read(
            lambda tx: tx.session.execute(select(Disc.id, Disc.plays)).all(), tenant=tenant
        )
        assert dict(tuple(row) for row in rows) == expected
