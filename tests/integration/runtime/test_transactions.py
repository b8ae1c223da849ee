"""Transactions commit whole or not at all, whatever happens to them or to whoever waits for them."""

import asyncio
import sqlite3
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from interceptors.call import Call, enter_call
from interceptors.faults import Fault
from interceptors.identity import Identity
from interceptors.ports import Replayed
from polyphony.errors.v1 import reason_pb2
from services.runtime.persistence import SYSTEM, Database, ScopeError, Transaction
from services.runtime.persistence.tables import event_outbox
from tests.fixtures.shelf import Disc, Shelf


def add(identifier: str) -> Any:
    return lambda tx: tx.session.add(Disc(id=identifier))


async def count(database: Database, tenant: str = "a") -> int:
    return await database.read(lambda tx: tx.session.scalar(select(func.count(Disc.id))) or 0, tenant=tenant)


async def test_a_write_is_there_for_the_next_read(database: Database) -> None:
    await database.write(add("one"), tenant="a")
    assert await count(database) == 1


async def test_what_raises_leaves_nothing(database: Database) -> None:
    def fail(tx: Transaction) -> None:
        tx.session.add(Disc(id="one"))
        tx.session.flush()
        tx.emit(StringValue(value="x"))
        tx.on_commit(lambda: pytest.fail("called without a commit"))
        raise LookupError("no")

    with pytest.raises(LookupError):
        await database.write(fail, tenant="a")
    assert await count(database) == 0
    assert (
        await database.read(lambda tx: tx.connection.execute(select(event_outbox)).all(), tenant=SYSTEM) == []
    )


async def test_a_callback_runs_on_the_loop_after_the_commit(database: Database) -> None:
    seen: list[bool] = []

    def work(tx: Transaction) -> None:
        tx.on_commit(lambda: seen.append(threading.current_thread() is threading.main_thread()))

    await database.write(work, tenant="a")
    assert seen == [True]


async def test_a_reading_transaction_cannot_write(database: Database) -> None:
    def sneak(tx: Transaction) -> None:
        tx.session.add(Disc(id="one"))
        tx.session.flush()

    with pytest.raises(Exception, match=r"(?i)read.?only|STORAGE_UNAVAILABLE"):
        await database.read(sneak, tenant="a")
    assert await count(database) == 0


async def test_outside_a_call_the_tenant_must_be_said(database: Database) -> None:
    with pytest.raises(ScopeError):
        await database.read(lambda tx: None)
    with pytest.raises(ScopeError):
        await database.write(lambda tx: None, tenant="")


async def test_a_cancelled_call_that_has_not_begun_to_commit_is_undone(database: Database) -> None:
    running, go_on = threading.Event(), threading.Event()

    def slow(tx: Transaction) -> None:
        tx.session.add(Disc(id="one"))
        tx.session.flush()
        running.set()
        go_on.wait(10)

    task = asyncio.create_task(database.write(slow, tenant="a"))
    await asyncio.to_thread(running.wait)
    task.cancel()
    await asyncio.sleep(0.05)
    assert not task.done(), "the cancellation came before the transaction had ended"
    task.cancel()  # impatience changes nothing
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await count(database) == 0
    await database.write(add("two"), tenant="a")  # no lock is left behind
    assert await count(database) == 1


async def test_a_commit_under_way_is_completed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    committing, go_on = threading.Event(), threading.Event()
    session_type = type(database.session("a", writes=True))
    commit = session_type.commit

    def slow_commit(self: Any) -> None:
        committing.set()
        go_on.wait(10)
        commit(self)

    monkeypatch.setattr(session_type, "commit", slow_commit)
    called: list[int] = []

    def work(tx: Transaction) -> None:
        tx.session.add(Disc(id="one"))
        tx.on_commit(lambda: called.append(1))

    task = asyncio.create_task(database.write(work, tenant="a"))
    await asyncio.to_thread(committing.wait)
    task.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await count(database) == 1
    assert called == [1], "what waits for the commit must hear of it although nobody waits for the answer"


async def test_a_queued_write_that_is_cancelled_never_runs(make: Any) -> None:
    database = make(readers=1)
    await database.start()
    go_on = threading.Event()
    blocker = asyncio.create_task(database.write(lambda tx: go_on.wait(10), tenant="a"))
    await asyncio.sleep(0.05)
    queued = asyncio.create_task(database.write(add("one"), tenant="a"))
    await asyncio.sleep(0.05)
    queued.cancel()
    with pytest.raises(asyncio.CancelledError):
        await queued
    go_on.set()
    await blocker
    assert await count(database) == 0


async def test_concurrent_read_modify_write_loses_no_update(make: Any) -> None:
    first, second = make(), make()
    await first.start()
    await second.start()
    await first.write(add("one"), tenant="a")

    def play(tx: Transaction) -> None:
        disc = tx.require(Disc, "one")
        time.sleep(0.001)
        disc.plays += 1

    done = await asyncio.gather(
        *(database.write(play, tenant="a") for database in (first, second) * 10), return_exceptions=True
    )
    failures = [error for error in done if error is not None]
    assert all(isinstance(e, Fault) and e.reason == reason_pb2.REASON_STORAGE_UNAVAILABLE for e in failures)
    plays = await first.read(lambda tx: tx.require(Disc, "one").plays, tenant="a")
    assert plays == 20 - len(failures)
    assert plays >= 10


async def test_a_writer_on_sqlite_waits_for_its_turn_instead_of_running_twice(make: Any) -> None:
    first, second = make(), make()
    if first.path is None:
        pytest.skip("PostgreSQL lets writers run together and repeats the loser")
    await first.start()
    await first.write(add("one"), tenant="a")
    runs = 0

    def play(tx: Transaction) -> None:
        nonlocal runs
        runs += 1
        disc = tx.require(Disc, "one")
        time.sleep(0.002)
        disc.plays += 1

    await asyncio.gather(*(database.write(play, tenant="a") for database in (first, second) * 5))
    assert runs == 10


async def test_a_broken_constraint_is_the_domains_to_explain(database: Database) -> None:
    await database.write(add("one"), tenant="a")
    with pytest.raises(IntegrityError):
        await database.write(add("one"), tenant="a")
    with pytest.raises(IntegrityError):
        await database.write(lambda tx: tx.session.add(Disc(id="two", shelf_id="none")), tenant="a")


async def test_a_full_disk_is_a_fault_and_leaves_nothing(database: Database) -> None:
    if database.path is None:
        pytest.skip("SQLite can be told how large its disk is")

    def fill(tx: Transaction) -> None:
        pages = tx.connection.exec_driver_sql("PRAGMA page_count").scalar()
        tx.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        tx.bulk_insert(Disc, ({"id": f"disc-{n:060}", "plays": 0} for n in range(5000)))

    with pytest.raises(Fault) as caught:
        await database.write(fill, tenant="a")
    assert caught.value.reason == reason_pb2.REASON_STORAGE_UNAVAILABLE
    assert await count(database) == 0


async def test_a_lock_held_for_good_is_a_fault(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    if database.path is None:
        pytest.skip("PostgreSQL has no file lock")

    def impatient(tx: Transaction) -> None:
        tx.connection.exec_driver_sql("PRAGMA busy_timeout = 10")

    await database.write(impatient, tenant="a")
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(Fault) as caught:
            await database.write(add("one"), tenant="a")
    finally:
        other.execute("ROLLBACK")
        other.close()
    assert caught.value.reason == reason_pb2.REASON_STORAGE_UNAVAILABLE
    await database.write(add("one"), tenant="a")


class Witness:
    """A commit participant that writes down what it sees."""

    def __init__(self, *, replay: bool = False) -> None:
        self.replay = replay
        self.results: list[Any] = []

    def before(self, transaction: Transaction) -> None:
        if self.replay:
            raise Replayed(b"stored")

    def after(self, transaction: Transaction, result: Any) -> None:
        transaction.session.add(Shelf(id="witness", title="t"))
        self.results.append(result)


def call_of(tenant: str, *participants: Witness) -> Call:
    call = Call(
        method=SimpleNamespace(path="/shelf.v1.Shelves/List"),  # type: ignore[arg-type]
        metadata={},
        peer="",
        id="c",
        received=0,
        identity=Identity(credential=2, tenant=tenant, user="u"),
    )
    call.participants.extend(participants)
    return call


async def test_participants_join_the_commit_of_their_call(database: Database) -> None:
    witness = Witness()
    call = call_of("a", witness)
    enter_call(call)
    assert await database.write(lambda tx: "answer") == "answer"
    assert witness.results == ["answer"]
    assert call.committed
    assert await database.read(lambda tx: tx.find(Shelf, "witness")) is not None


async def test_a_write_aside_takes_no_participants(database: Database) -> None:
    witness = Witness()
    call = call_of("a", witness)
    enter_call(call)
    await database.write(add("one"), aside=True)
    assert not witness.results
    assert not call.committed


async def test_a_participant_can_refuse_before_the_change(database: Database) -> None:
    enter_call(call_of("a", Witness(replay=True)))
    with pytest.raises(Replayed):
        await database.write(lambda tx: pytest.fail("ran"))


async def test_a_failed_change_takes_its_participants_rows_along(database: Database) -> None:
    class Late(Witness):
        def after(self, transaction: Transaction, result: Any) -> None:
            super().after(transaction, result)
            transaction.session.flush()
            raise LookupError("no")

    call = call_of("a", Late())
    enter_call(call)
    with pytest.raises(LookupError):
        await database.write(add("one"))
    assert not call.committed
    assert await count(database) == 0
    assert await database.read(lambda tx: tx.find(Shelf, "witness")) is None


async def test_a_task_left_behind_by_a_call_is_not_that_call(database: Database) -> None:
    witness = Witness()

    async def handler() -> asyncio.Task[None]:
        call = call_of("a", witness)
        call.task = asyncio.current_task()
        enter_call(call)

        async def later() -> None:
            await asyncio.sleep(0.02)
            await database.write(add("one"), tenant="a")

        return asyncio.create_task(later())

    left = await asyncio.create_task(handler())
    await left
    assert not witness.results
    assert await count(database) == 1


async def test_files_are_for_their_owner_only(database: Database) -> None:
    if database.path is None:
        pytest.skip("PostgreSQL keeps its own files")
    await database.write(add("one"), tenant="a")
    modes = {
        file.name: file.stat().st_mode & 0o777
        for file in database.path.parent.glob("shelf.db*")
        if file.is_file()
    }
    assert set(modes.values()) == {0o600}, modes
