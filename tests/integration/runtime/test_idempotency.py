"""A request id is one change and one answer, under races, over both databases."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select, text

from interceptors.faults import Fault
from interceptors.ports import Replayed, ReplayKey
from polyphony.errors.v1 import reason_pb2
from services.runtime.idempotency import DatabaseIdempotencyStore
from services.runtime.persistence import SYSTEM, Database, Transaction
from services.runtime.persistence.tables import idempotency_keys
from tests.fixtures.shelf import Disc

KEY = ReplayKey("a", "u", "shelf.v1.Shelves/Create", "r-1", b"\1" * 32, 60.0)


def creating(store: DatabaseIdempotencyStore, key: ReplayKey, answer: bytes = b"answer") -> Any:
    """The change of a call, as its participants and its use case make it together."""

    def work(tx: Transaction) -> bytes:
        store.reserve(tx, key)
        number = tx.session.scalar(select(func.count(Disc.id))) or 0
        tx.session.add(Disc(id=f"d{number}"))
        store.complete(tx, key, answer)
        return answer

    return work


async def discs(database: Database) -> int:
    return await database.read(lambda tx: tx.session.scalar(select(func.count(Disc.id))) or 0, tenant=SYSTEM)


@pytest.fixture
def store(database: Database) -> DatabaseIdempotencyStore:
    return DatabaseIdempotencyStore(database)


async def test_a_repeated_call_gets_the_first_answer(
    database: Database, store: DatabaseIdempotencyStore
) -> None:
    assert await store.find(KEY) is None
    await database.write(creating(store, KEY), tenant="a")
    assert await store.find(KEY) == b"answer"
    with pytest.raises(Replayed) as replayed:
        await database.write(creating(store, KEY, b"other"), tenant="a")
    assert replayed.value.response == b"answer"
    assert await discs(database) == 1


async def test_an_empty_answer_is_an_answer(database: Database, store: DatabaseIdempotencyStore) -> None:
    await database.write(creating(store, KEY, b""), tenant="a")
    assert await store.find(KEY) == b""


@pytest.mark.parametrize(
    "change",
    [{"tenant": "b"}, {"actor": "v"}, {"method": "shelf.v1.Shelves/Delete"}, {"request_id": "r-2"}],
    ids=str,
)
async def test_another_caller_or_method_is_another_call(
    database: Database, store: DatabaseIdempotencyStore, change: dict[str, str]
) -> None:
    await database.write(creating(store, KEY), tenant="a")
    await database.write(creating(store, replace(KEY, **change)), tenant="a")
    assert await discs(database) == 2


async def test_another_request_under_the_same_id_is_refused(
    database: Database, store: DatabaseIdempotencyStore
) -> None:
    await database.write(creating(store, KEY), tenant="a")
    other = replace(KEY, digest=b"\2" * 32)
    for attempt in (store.find(other), database.write(creating(store, other), tenant="a")):
        with pytest.raises(Fault) as caught:
            await attempt
        assert caught.value.reason == reason_pb2.REASON_REQUEST_ID_REUSED
    assert await discs(database) == 1


async def test_a_failed_change_leaves_the_id_free(
    database: Database, store: DatabaseIdempotencyStore
) -> None:
    def fail(tx: Transaction) -> None:
        store.reserve(tx, KEY)
        raise LookupError("no")

    with pytest.raises(LookupError):
        await database.write(fail, tenant="a")
    assert await database.write(creating(store, KEY), tenant="a") == b"answer"


async def test_of_many_at_once_one_changes_and_all_get_its_answer(
    database: Database, make: Any, store: DatabaseIdempotencyStore
) -> None:
    other = make()
    await other.start()
    sides = [(database, store), (other, DatabaseIdempotencyStore(other))]
    attempts = [
        each.write(creating(its, KEY, f"answer {number}".encode()), tenant="a")
        for number, (each, its) in enumerate(sides * 8)
    ]
    done = await asyncio.gather(*attempts, return_exceptions=True)
    answers = [outcome.response if isinstance(outcome, Replayed) else outcome for outcome in done]
    busy = [a for a in answers if isinstance(a, Fault) and a.reason == reason_pb2.REASON_STORAGE_UNAVAILABLE]
    given = [a for a in answers if a not in busy]
    assert len(set(given)) == 1, given
    assert len(given) > 8
    assert await discs(database) == 1


async def test_after_its_retention_an_id_is_free_and_purged(
    database: Database, store: DatabaseIdempotencyStore
) -> None:
    brief = replace(KEY, retention=0.05)
    await database.write(creating(store, brief), tenant="a")
    assert await store.purge() == 0
    await asyncio.sleep(0.06)
    assert await store.find(brief) is None
    assert (
        await database.write(creating(store, replace(KEY, digest=b"\3" * 32), b"new"), tenant="a") == b"new"
    )
    assert await store.purge() == 0
    await database.write(
        lambda tx: tx.connection.execute(text("UPDATE idempotency_keys SET expire_time = 1")), tenant=SYSTEM
    )
    assert await store.purge() == 1


async def test_an_answer_is_not_readable_in_the_database(
    database: Database, store: DatabaseIdempotencyStore
) -> None:
    await database.write(creating(store, KEY, b"personal"), tenant="a")
    row = await database.read(lambda tx: tx.connection.execute(select(idempotency_keys)).one(), tenant=SYSTEM)
    assert b"personal" not in row.response


async def test_erasing_a_person_erases_the_answers_to_them(
    database: Database, store: DatabaseIdempotencyStore
) -> None:
    await database.write(creating(store, KEY), tenant="a")
    await database.write(creating(store, replace(KEY, actor="v")), tenant="a")
    await database.write(lambda tx: tx.keys.shred("u"), tenant="a")
    assert await store.find(KEY) is None
    assert await store.find(replace(KEY, actor="v")) == b"answer"
