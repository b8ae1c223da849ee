"""Revisions, etags, soft deletion and purge, over both databases."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from services.runtime.persistence import SYSTEM, Database, Transaction, purge
from tests.fixtures.shelf import Disc, Shelf


def make(tx: Transaction) -> Shelf:
    shelf = Shelf(id="s", title="one", discs=[Disc(id="d")])
    tx.session.add(shelf)
    return shelf


async def rename(database: Database, title: str, etag: str = "") -> Shelf:
    def work(tx: Transaction) -> Shelf:
        shelf = tx.require(Shelf, "s")
        shelf.check_etag(etag)
        shelf.title = title
        return shelf

    return await database.write(work, tenant="a")


def delete(keep: timedelta) -> Any:
    return lambda tx: tx.require(Shelf, "s").mark_deleted(tx.now, keep=keep)


async def test_each_update_makes_a_new_etag(database: Database) -> None:
    made = await database.write(make, tenant="a")
    loaded = await database.read(lambda tx: tx.require(Shelf, "s"), tenant="a")
    assert (made.revision, made.etag) == (1, loaded.etag)
    renamed = await rename(database, "two", etag=made.etag)
    assert renamed.revision == 2
    assert renamed.etag != made.etag


async def test_an_old_etag_is_refused_and_none_passes(database: Database) -> None:
    made = await database.write(make, tenant="a")
    await rename(database, "two")
    with pytest.raises(Fault) as caught:
        await rename(database, "three", etag=made.etag)
    assert caught.value.reason == reason_pb2.REASON_ETAG_MISMATCH
    assert (await database.read(lambda tx: tx.require(Shelf, "s"), tenant="a")).title == "two"


async def test_a_row_changed_underneath_is_an_etag_mismatch(database: Database) -> None:
    stale = await database.write(make, tenant="a")
    await rename(database, "two")

    def write_stale(tx: Transaction) -> None:
        stale.title = "three"
        tx.session.add(stale)

    with pytest.raises(Fault) as caught:
        await database.write(write_stale, tenant="a")
    assert caught.value.reason == reason_pb2.REASON_ETAG_MISMATCH


async def test_a_missing_row_names_the_resource(database: Database) -> None:
    with pytest.raises(Fault) as caught:
        await database.read(lambda tx: tx.require(Shelf, "none", name="shelves/none"), tenant="a")
    assert caught.value.reason == reason_pb2.REASON_RESOURCE_NOT_FOUND
    assert caught.value.metadata == {"resource": "shelves/none"}


async def test_a_deleted_row_is_hidden_and_can_be_undeleted(database: Database) -> None:
    await database.write(make, tenant="a")
    await database.write(delete(timedelta(days=1)), tenant="a")

    def look(tx: Transaction) -> tuple[Any, ...]:
        every = select(func.count(Shelf.id))
        return (
            tx.find(Shelf, "s"),
            tx.session.scalar(every),
            tx.session.scalar(every.execution_options(include_deleted=True)),
            tx.require(Shelf, "s", include_deleted=True).deleted,
        )

    assert await database.read(look, tenant="a") == (None, 0, 1, True)
    await database.write(lambda tx: tx.require(Shelf, "s", include_deleted=True).undelete(), tenant="a")
    assert await database.read(lambda tx: tx.find(Shelf, "s"), tenant="a") is not None
    with pytest.raises(Fault) as caught:
        await database.write(lambda tx: tx.require(Shelf, "s").undelete(), tenant="a")
    assert caught.value.reason == reason_pb2.REASON_STATE_CONFLICT


async def test_deleting_twice_keeps_the_first_time(database: Database) -> None:
    await database.write(make, tenant="a")

    def twice(tx: Transaction) -> tuple[Any, Any]:
        shelf = tx.require(Shelf, "s")
        shelf.mark_deleted(tx.now, keep=timedelta(days=1))
        first = shelf.purge_time
        shelf.mark_deleted(tx.now, keep=timedelta(days=9))
        return first, shelf.purge_time

    first, second = await database.write(twice, tenant="a")
    assert first == second


async def test_purge_removes_what_is_due_with_its_dependants_and_nothing_else(database: Database) -> None:
    await database.write(make, tenant="a")
    await database.write(delete(timedelta(days=1)), tenant="a")
    assert await database.write(lambda tx: purge(tx, Shelf), tenant=SYSTEM) == 0

    def expire(tx: Transaction) -> None:
        tx.require(Shelf, "s", include_deleted=True).purge_time = tx.now

    await database.write(expire, tenant="a")
    await database.write(lambda tx: tx.session.add(Shelf(id="other", title="t")), tenant="b")
    assert await database.write(lambda tx: purge(tx, Shelf), tenant=SYSTEM) == 1

    def left(tx: Transaction) -> list[str]:
        shelves = select(Shelf.id).execution_options(include_deleted=True)
        return [*tx.session.scalars(shelves), *tx.session.scalars(select(Disc.id))]

    assert await database.read(left, tenant=SYSTEM) == ["other"]
