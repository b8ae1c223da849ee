"""Outboxes reach the other side at least once, in order, from one process at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from sqlalchemy import func, select

from interceptors.faults import Fault
from interceptors.ids import new_id
from interceptors.ports import AuditEntry
from polyphony.compliance.v1 import audit_record_pb2
from polyphony.errors.v1 import reason_pb2
from services.runtime import relay as relay_module
from services.runtime.audit_relay import BATCH_BYTES, AuditRelay
from services.runtime.audit_sink import DatabaseAuditSink
from services.runtime.persistence import SYSTEM, Database
from services.runtime.persistence.tables import audit_outbox, event_outbox


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses, so that failures and takeovers fit into a test."""
    monkeypatch.setattr(relay_module, "IDLE_SECONDS", 0.01)
    monkeypatch.setattr(relay_module, "LEADER_SECONDS", 0.02)
    monkeypatch.setattr(relay_module, "BACKOFF_SECONDS", (0.01, 0.02))


class Ledger:
    """The other side: remembers what it got, and can be away or lose its answers."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.away = False
        self.loses_answers = 0

    async def append(self, records: Sequence[bytes]) -> None:
        if self.away:
            raise ConnectionError("away")
        assert sum(map(len, records)) <= BATCH_BYTES or len(records) == 1
        self.batches.append([audit_record_pb2.AuditRecord.FromString(record).id for record in records])
        if self.loses_answers:
            self.loses_answers -= 1
            raise ConnectionError("the answer was lost")

    @property
    def ids(self) -> list[str]:
        return [identifier for batch in self.batches for identifier in batch]


async def until(condition: Any, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while True:
            outcome = condition()
            if (await outcome) if asyncio.iscoroutine(outcome) else outcome:
                return
            await asyncio.sleep(0.01)


async def left(database: Database, table: Any = audit_outbox) -> int:
    count = select(func.count()).select_from(table)
    return await database.read(lambda tx: tx.connection.scalar(count) or 0, tenant=SYSTEM)


@pytest.fixture
async def sink(database: Database) -> Any:
    made = DatabaseAuditSink(database)
    await made.start()
    yield made
    await made.stop()


def entry(method: str = "m") -> AuditEntry:
    identifier = new_id()
    record = audit_record_pb2.AuditRecord(id=identifier, method=method)
    return AuditEntry(identifier, "a", record.SerializeToString())


async def append(sink: DatabaseAuditSink, number: int) -> list[str]:
    entries = [entry() for _ in range(number)]
    await asyncio.gather(*(sink.append(each) for each in entries))
    return [each.id for each in entries]


async def test_records_arrive_once_in_order_and_leave_the_outbox(
    database: Database, sink: DatabaseAuditSink
) -> None:
    ledger = Ledger()
    relay = AuditRelay(database, sink, ledger.append)
    sent = await append(sink, 2500)
    relay.start()
    await until(lambda: len(ledger.ids) >= 2500)
    sent += await append(sink, 10)
    await until(lambda: len(ledger.ids) >= 2510)
    assert ledger.ids == sent
    await relay.stop()
    assert await left(database) == 0


async def test_records_that_keep_coming_are_relayed_together(
    database: Database, sink: DatabaseAuditSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "GATHER_SECONDS", 0.3)
    ledger = Ledger()
    relay = AuditRelay(database, sink, ledger.append)
    relay.start()
    sent = await append(sink, 1)
    await until(lambda: bool(ledger.ids))
    for _ in range(30):
        await asyncio.sleep(0.02)
        sent += await append(sink, 1)
    await until(lambda: len(ledger.ids) == 31)
    assert ledger.ids == sent
    assert len(ledger.batches) <= 12, "not one by one"
    await relay.stop()


async def test_a_record_that_the_ledger_refuses_for_good_holds_up_no_other(
    database: Database, sink: DatabaseAuditSink
) -> None:
    sent = await append(sink, 9)
    poison = sent[4]
    taken: list[str] = []

    async def picky(records: Any) -> None:
        ids = [audit_record_pb2.AuditRecord.FromString(record).id for record in records]
        if poison in ids:
            raise Fault(reason_pb2.REASON_REQUEST_INVALID, field="records")
        taken.extend(ids)

    relay = AuditRelay(database, sink, picky)
    relay.start()
    await until(lambda: len(taken) == 8)
    later = await append(sink, 1)
    await until(lambda: len(taken) == 9)
    await relay.stop()
    assert taken == [each for each in sent + later if each != poison]
    assert await left(database) == 1, "it stays for somebody to look into"


async def test_a_pending_record_is_not_sent(database: Database, sink: DatabaseAuditSink) -> None:
    ledger = Ledger()
    pending, final = entry(), entry()
    await sink.open(pending)
    await sink.append(final)
    relay = AuditRelay(database, sink, ledger.append)
    relay.start()
    await until(lambda: bool(ledger.ids))
    await sink.close(pending)  # an older id than what was sent already
    await until(lambda: len(ledger.ids) == 2)
    assert ledger.ids == [final.id, pending.id]
    await relay.stop()
    assert await left(database) == 0


async def test_nothing_is_lost_while_the_ledger_is_away(database: Database, sink: DatabaseAuditSink) -> None:
    ledger = Ledger()
    ledger.away = True
    relay = AuditRelay(database, sink, ledger.append)
    relay.start()
    sent = await append(sink, 20)
    await asyncio.sleep(0.1)
    assert await left(database) == 20
    ledger.away = False
    await until(lambda: len(ledger.ids) >= 20)
    assert ledger.ids == sent
    await relay.stop()


async def test_a_batch_whose_answer_was_lost_is_sent_again(
    database: Database, sink: DatabaseAuditSink
) -> None:
    ledger = Ledger()
    ledger.loses_answers = 1
    relay = AuditRelay(database, sink, ledger.append)
    sent = await append(sink, 5)
    relay.start()
    await until(lambda: len(ledger.batches) == 2)
    await relay.stop()
    assert ledger.batches == [sent, sent]
    assert await left(database) == 0


async def test_large_records_travel_in_small_batches(database: Database, sink: DatabaseAuditSink) -> None:
    ledger = Ledger()
    entries = [entry("x" * 60_000) for _ in range(80)]
    await asyncio.gather(*(sink.append(each) for each in entries))
    relay = AuditRelay(database, sink, ledger.append)
    relay.start()
    await until(lambda: len(ledger.ids) == 80)
    await relay.stop()
    assert len(ledger.batches) >= 3


async def test_stopping_drains_what_is_left(database: Database, sink: DatabaseAuditSink) -> None:
    ledger = Ledger()
    relay = AuditRelay(database, sink, ledger.append)
    sent = await append(sink, 1500)
    relay.start()
    await relay.stop()
    assert ledger.ids == sent
    assert await left(database) == 0


async def test_stopping_does_not_wait_for_a_ledger_that_is_away(
    database: Database, sink: DatabaseAuditSink
) -> None:
    ledger = Ledger()
    ledger.away = True
    relay = AuditRelay(database, sink, ledger.append)
    await append(sink, 3)
    relay.start()
    async with asyncio.timeout(2):
        await relay.stop()
    assert await left(database) == 3


async def test_one_process_relays_and_another_takes_over(
    database: Database, sink: DatabaseAuditSink, make: Any
) -> None:
    sibling = make()
    await sibling.start()
    sibling_sink = DatabaseAuditSink(sibling)
    await sibling_sink.start()
    first, second = Ledger(), Ledger()
    leading, waiting = (
        AuditRelay(database, sink, first.append),
        AuditRelay(sibling, sibling_sink, second.append),
    )
    leading.start()
    sent = await append(sink, 3)
    await until(lambda: len(first.ids) == 3)
    waiting.start()
    sent += await append(sibling_sink, 3)
    await until(lambda: len(first.ids) == 6)
    await asyncio.sleep(0.1)
    assert (first.ids, second.ids) == (sent, [])
    await leading.stop()
    later = await append(sink, 3)
    await until(lambda: len(second.ids) == 3)
    assert second.ids == later
    await waiting.stop()
    await sibling_sink.stop()


async def test_an_event_waits_in_the_outbox_with_its_change(database: Database) -> None:
    await database.write(lambda tx: tx.emit(StringValue(value="x"), subject="users/u"), tenant="a")
    assert await left(database, event_outbox) == 1
