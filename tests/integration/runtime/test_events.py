"""Events travel from a commit to another domain's handler through a real Redis, at least once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from redis.asyncio import Redis
from sqlalchemy import func, select

from services.runtime import event_consumer, relay
from services.runtime.event_consumer import EventConsumer
from services.runtime.events import Event, EventRelay, first_time, forget_processed, stream_of
from services.runtime.persistence import SYSTEM, Database, Transaction
from services.runtime.persistence.tables import event_outbox
from tests.fixtures.redis_server import redis_url
from tests.fixtures.shelf import Disc

__all__ = ["redis_url"]

TYPE = "google.protobuf.StringValue"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses, so that failures and takeovers fit into a test."""
    monkeypatch.setattr(relay, "IDLE_SECONDS", 0.01)
    monkeypatch.setattr(relay, "BACKOFF_SECONDS", (0.01, 0.02))
    monkeypatch.setattr(event_consumer, "BLOCK_SECONDS", 0.05)
    monkeypatch.setattr(event_consumer, "STALE_SECONDS", 0.2)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Any]:
    client = Redis.from_url(redis_url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
async def relaying(database: Database, redis: Any) -> AsyncIterator[EventRelay]:
    running = EventRelay(database, redis)
    running.start()
    yield running
    await running.stop()


class Handler:
    """Remembers what it handled; can fail."""

    def __init__(self) -> None:
        self.seen: list[Event] = []
        self.fails: set[str] = set()
        self.attempts = 0

    async def __call__(self, event: Event) -> None:
        self.attempts += 1
        if event.message(StringValue).value in self.fails:
            raise LookupError("no")
        self.seen.append(event)

    @property
    def values(self) -> list[str]:
        return [event.message(StringValue).value for event in self.seen]


def consumer(redis: Any, handler: Handler, member: str = "one", group: str = "ai") -> EventConsumer:
    return EventConsumer(redis, group=group, member=member, types=[TYPE], handler=handler)


async def emit(database: Database, *values: str, tenant: str = "a") -> None:
    def work(tx: Transaction) -> None:
        for value in values:
            tx.emit(StringValue(value=value), subject="users/u")

    await database.write(work, tenant=tenant)


async def until(condition: Callable[[], bool | Awaitable[int]], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while True:
            outcome = condition()
            if outcome if isinstance(outcome, bool) else await outcome:
                return
            await asyncio.sleep(0.01)


async def test_an_event_arrives_as_it_was_emitted(
    database: Database, redis: Any, relaying: EventRelay
) -> None:
    handler = Handler()
    consuming = consumer(redis, handler)
    consuming.start()
    await emit(database, "x")
    await until(lambda: bool(handler.seen))
    event = handler.seen[0]
    assert (event.type, event.tenant, event.subject, event.source) == (
        TYPE,
        "a",
        "users/u",
        "/polyphony/shelf",
    )
    assert event.time.utcoffset() == timedelta(0)
    [(_, fields)] = await redis.xrange(stream_of(TYPE))
    assert fields[b"specversion"] == b"1.0"
    assert fields[b"datacontenttype"] == b"application/json"
    assert json.loads(fields[b"data"]) == "x"
    await consuming.stop()
    await relaying.stop()
    count = select(func.count()).select_from(event_outbox)
    assert await database.read(lambda tx: tx.connection.scalar(count), tenant=SYSTEM) == 0


async def test_events_of_a_change_arrive_in_order(
    database: Database, redis: Any, relaying: EventRelay
) -> None:
    handler = Handler()
    consuming = consumer(redis, handler)
    await emit(database, *map(str, range(300)))
    consuming.start()  # a consumer that starts late misses nothing
    await until(lambda: len(handler.seen) == 300)
    assert handler.values == [str(number) for number in range(300)]
    await consuming.stop()


async def test_members_share_and_groups_each_get_all(
    database: Database, redis: Any, relaying: EventRelay
) -> None:
    one, two, other = Handler(), Handler(), Handler()
    running = [
        consumer(redis, one, "one"),
        consumer(redis, two, "two"),
        consumer(redis, other, "x", "analytics"),
    ]
    for each in running:
        each.start()
    for number in range(40):
        await emit(database, str(number))
    await until(lambda: len(one.seen) + len(two.seen) >= 40 and len(other.seen) >= 40)
    assert sorted(one.values + two.values, key=int) == [str(number) for number in range(40)]
    assert other.values == [str(number) for number in range(40)]
    for each in running:
        await each.stop()


async def test_a_failing_handler_gets_the_event_again(
    database: Database, redis: Any, relaying: EventRelay
) -> None:
    handler = Handler()
    handler.fails = {"bad"}
    consuming = consumer(redis, handler)
    consuming.start()
    await emit(database, "bad", "good")
    await until(lambda: handler.attempts >= 3)
    assert handler.values == ["good"], "one bad event held up the others"
    handler.fails = set()
    await until(lambda: "bad" in handler.values)
    await consuming.stop()
    assert (await redis.xpending(stream_of(TYPE), "ai"))["pending"] == 0


async def test_an_event_that_always_fails_is_set_aside(
    database: Database, redis: Any, relaying: EventRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_consumer, "MAX_DELIVERIES", 2)
    handler = Handler()
    handler.fails = {"bad"}
    consuming = consumer(redis, handler)
    consuming.start()
    await emit(database, "bad")
    await until(lambda: redis.exists(consuming.dead_letters))
    [(_, letter)] = await redis.xrange(consuming.dead_letters)
    assert json.loads(letter[b"data"]) == "bad"
    assert letter[b"stream"].decode() == stream_of(TYPE)
    await consuming.stop()
    assert (await redis.xpending(stream_of(TYPE), "ai"))["pending"] == 0


async def test_what_a_dead_member_left_is_taken_over(
    database: Database, redis: Any, relaying: EventRelay
) -> None:
    await emit(database, "x")
    await until(lambda: redis.xlen(stream_of(TYPE)))
    await redis.xgroup_create(stream_of(TYPE), "ai", id="0")
    assert await redis.xreadgroup("ai", "dead", {stream_of(TYPE): ">"})  # delivered, never acknowledged
    handler = Handler()
    consuming = consumer(redis, handler)
    consuming.start()
    await until(lambda: handler.values == ["x"])
    await consuming.stop()


async def test_an_entry_that_is_no_event_is_set_aside(redis: Any) -> None:
    handler = Handler()
    await redis.xadd(stream_of(TYPE), {"specversion": "0.3", "data": "{}"})
    consuming = consumer(redis, handler)
    consuming.start()
    await until(lambda: redis.exists(consuming.dead_letters))
    await consuming.stop()
    assert not handler.attempts


async def test_an_event_that_was_trimmed_before_it_was_handled_stops_nobody(
    database: Database, redis: Any, relaying: EventRelay
) -> None:
    handler = Handler()
    handler.fails = {"lost"}
    consuming = consumer(redis, handler)
    consuming.start()
    await emit(database, "lost")
    await until(lambda: handler.attempts > 0)
    await redis.xtrim(stream_of(TYPE), maxlen=0)
    await asyncio.sleep(0.5)  # longer than STALE_SECONDS: it is claimed, and there is nothing to hand over
    await emit(database, "next")
    await until(lambda: handler.values == ["next"], 3)
    await until(lambda: pending(redis), 3)
    await consuming.stop()


async def pending(redis: Any) -> bool:
    """Whether nothing waits to be acknowledged."""
    return (await redis.xpending(stream_of(TYPE), "ai"))["pending"] == 0


async def test_a_mistake_while_consuming_is_only_a_pause(
    database: Database, redis: Any, relaying: EventRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A consumer that ended would be missed by nobody: withdrawals would just take no model away any more."""
    handler = Handler()
    consuming = consumer(redis, handler)
    reclaim, failures = consuming._reclaim, iter([True])

    async def mistaken() -> None:
        if next(failures, False):
            raise AttributeError("a defect")
        await reclaim()

    monkeypatch.setattr(consuming, "_reclaim", mistaken)
    consuming.start()
    await emit(database, "x")
    await until(lambda: handler.values == ["x"], 3)
    await consuming.stop()


async def test_redelivery_can_be_handled_once(database: Database) -> None:
    event = Event("e", "/polyphony/shelf", TYPE, "a", "", datetime.now(UTC), "", b'"x"')

    def handle(tx: Transaction) -> bool:
        first = first_time(tx, "ai", event)
        if first:
            tx.session.add(Disc(id="made by the event"))
        return first

    assert await database.write(handle, tenant="a")
    assert not await database.write(handle, tenant="a")
    assert await database.write(lambda tx: first_time(tx, "another", event), tenant="a")
    assert (
        await database.write(lambda tx: forget_processed(tx, older_than=timedelta(days=7)), tenant=SYSTEM)
        == 0
    )
    assert await database.write(lambda tx: forget_processed(tx, older_than=timedelta(0)), tenant=SYSTEM) == 2


async def test_an_outbox_waits_for_a_redis_that_is_away(database: Database) -> None:
    away = Redis.from_url("redis://127.0.0.1:1/0", retry=None)
    running = EventRelay(database, away)
    await emit(database, "x")
    running.start()
    await asyncio.sleep(0.1)
    async with asyncio.timeout(5):
        await running.stop()
    count = select(func.count()).select_from(event_outbox)
    assert await database.read(lambda tx: tx.connection.scalar(count), tenant=SYSTEM) == 1
    await away.aclose()
