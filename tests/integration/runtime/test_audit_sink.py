"""What the audit sink has accepted is in the outbox, once, whatever dies."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from interceptors.faults import Fault
from interceptors.ids import new_id
from interceptors.ports import AuditEntry
from polyphony.compliance.v1 import audit_record_pb2
from polyphony.errors.v1 import reason_pb2
from services.runtime import audit_writer
from services.runtime.audit_sink import DatabaseAuditSink
from services.runtime.persistence import SYSTEM, Database
from services.runtime.persistence.tables import PENDING, READY, audit_outbox
from tests.fixtures.shelf import Disc


def entry(identifier: str = "", *, method: str = "m", tenant: str = "a") -> AuditEntry:
    identifier = identifier or new_id()
    record = audit_record_pb2.AuditRecord(id=identifier, method=method, tenant=tenant)
    return AuditEntry(identifier, tenant, record.SerializeToString())


async def outbox(database: Database) -> dict[str, tuple[int, audit_record_pb2.AuditRecord]]:
    rows = await database.read(lambda tx: tx.connection.execute(select(audit_outbox)).all(), tenant=SYSTEM)
    return {row.id: (row.state, audit_record_pb2.AuditRecord.FromString(row.record)) for row in rows}


@pytest.fixture
async def sink(database: Database) -> Any:
    made = DatabaseAuditSink(database)
    await made.start()
    yield made
    await made.stop()


async def test_a_record_is_there_when_append_returns(database: Database, sink: DatabaseAuditSink) -> None:
    one = entry()
    await sink.append(one)
    found = await outbox(database)
    assert found[one.id] == (READY, audit_record_pb2.AuditRecord.FromString(one.payload))


async def test_many_callers_share_commits(
    database: Database, sink: DatabaseAuditSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    store = audit_writer._Connection.store

    def counted(self: Any, rows: Any) -> None:
        batches.append(len(rows))
        store(self, rows)

    monkeypatch.setattr(audit_writer._Connection, "store", counted)
    entries = [entry() for _ in range(640)]
    waiting = iter(entries)

    async def caller() -> None:
        for each in waiting:
            await sink.append(each)

    await asyncio.gather(*(caller() for _ in range(64)))
    assert sum(batches) == 640
    assert len(batches) <= 40, "the window does not gather"
    assert set(await outbox(database)) == {each.id for each in entries}


async def test_a_connection_that_fails_even_to_close_stops_nobody(
    database: Database, sink: DatabaseAuditSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead writer would leave every later call waiting for its record."""
    await sink.append(entry())
    with monkeypatch.context() as broken:

        def fail(connection: Any, *_: Any) -> None:
            def fail_again() -> None:
                raise OSError("gone, too")

            connection.close = fail_again
            raise OSError("gone")

        broken.setattr(audit_writer._Connection, "store", fail)
        with pytest.raises(Fault):
            await asyncio.wait_for(sink.append(entry()), 5)
    last = entry()
    await asyncio.wait_for(sink.append(last), 5)
    assert last.id in await outbox(database)


async def test_a_stream_is_pending_until_it_is_closed(database: Database, sink: DatabaseAuditSink) -> None:
    identifier = new_id()
    await sink.open(entry(identifier, method="opened"))
    assert (await outbox(database))[identifier][0] == PENDING
    await sink.close(entry(identifier, method="closed"))
    state, record = (await outbox(database))[identifier]
    assert (state, record.method) == (READY, "closed")
    await sink.close(entry(identifier, method="again"))
    assert (await outbox(database))[identifier][1].method == "closed", "a final record was overwritten"


async def test_open_and_close_in_one_batch_leave_the_closed_record(
    database: Database, sink: DatabaseAuditSink
) -> None:
    identifier = new_id()
    await asyncio.gather(
        sink.append(entry()),
        sink.open(entry(identifier, method="opened")),
        sink.close(entry(identifier, method="closed")),
    )
    state, record = (await outbox(database))[identifier]
    assert (state, record.method) == (READY, "closed")


async def test_closing_what_was_never_opened_inserts_it(database: Database, sink: DatabaseAuditSink) -> None:
    one = entry()
    await sink.close(one)
    assert (await outbox(database))[one.id][0] == READY


async def test_a_record_commits_or_vanishes_with_its_change(
    database: Database, sink: DatabaseAuditSink
) -> None:
    kept, lost = entry(), entry(tenant="another, as for a sign-up")

    def change(one: AuditEntry, fail: bool) -> Any:
        def work(tx: Any) -> None:
            tx.session.add(Disc(id=one.id))
            sink.insert(tx, one, pending=False)
            if fail:
                raise LookupError("no")

        return work

    await database.write(change(kept, fail=False), tenant="a")
    with pytest.raises(LookupError):
        await database.write(change(lost, fail=True), tenant="a")
    assert set(await outbox(database)) == {kept.id}
    assert await database.write(lambda tx: sink.insert(tx, lost, pending=True), tenant="a") is None
    assert (await outbox(database))[lost.id][0] == PENDING


async def test_a_cancelled_caller_does_not_take_its_record_back(
    database: Database, sink: DatabaseAuditSink
) -> None:
    entries = [entry() for _ in range(20)]
    tasks = [asyncio.create_task(sink.append(each)) for each in entries]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await sink.append(entry())
    assert {each.id for each in entries} <= set(await outbox(database))


async def test_a_stopped_sink_refuses_and_has_kept_everything(database: Database) -> None:
    sink = DatabaseAuditSink(database)
    await sink.start()
    entries = [entry() for _ in range(50)]
    waiting = [asyncio.create_task(sink.append(each)) for each in entries]
    await asyncio.sleep(0)
    await sink.stop()
    await asyncio.gather(*waiting)
    assert set(await outbox(database)) == {each.id for each in entries}
    with pytest.raises(Fault) as caught:
        await sink.append(entry())
    assert caught.value.reason == reason_pb2.REASON_AUDIT_UNAVAILABLE


async def test_a_storage_that_fails_refuses_and_recovers(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = DatabaseAuditSink(database)
    broken = True
    really_open = audit_writer._open

    def flaky(of: Database) -> Any:
        connection = really_open(of)
        if broken and of.path is not None:
            pages = connection._execute("PRAGMA page_count", ()).fetchone()[0]
            connection._execute(f"PRAGMA max_page_count = {pages}", ())
        elif broken:
            connection.close()
        return connection

    monkeypatch.setattr(audit_writer, "_open", flaky)
    await sink.start()
    big = entry()
    with pytest.raises(Fault) as caught:
        await sink.append(AuditEntry(big.id, big.tenant, os.urandom(100_000)))
    assert caught.value.reason == reason_pb2.REASON_AUDIT_UNAVAILABLE
    broken = False
    await sink.append(entry())
    assert len(await outbox(database)) == 1
    await sink.stop()


async def test_a_database_locked_for_good_refuses(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    if database.path is None:
        pytest.skip("PostgreSQL has no file lock")
    monkeypatch.setattr("services.runtime.persistence.engines.BUSY_TIMEOUT_SECONDS", 0.05)
    sink = DatabaseAuditSink(database)
    await sink.start()
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Fault) as caught:
        await sink.append(entry())
    assert caught.value.reason == reason_pb2.REASON_AUDIT_UNAVAILABLE
    other.execute("ROLLBACK")
    other.close()
    await sink.append(entry())
    await sink.stop()


WORKER = """
import asyncio, itertools, os, sys
from interceptors.ports import AuditEntry
from polyphony.compliance.v1 import audit_record_pb2
from services.runtime import audit_writer
from services.runtime.audit_sink import DatabaseAuditSink
from interceptors.ids import new_id
from services.runtime.persistence import Database

def entry(identifier):
    return AuditEntry(identifier, "a", audit_record_pb2.AuditRecord(id=identifier).SerializeToString())

async def main(url):
    database = Database(url, domain="shelf")
    sink = DatabaseAuditSink(database)
    await sink.start()
    stream = new_id()
    await sink.open(entry(stream))
    os.write(1, f"open {stream}\\n".encode())
    async def caller():
        while True:
            identifier = new_id()
            await sink.append(entry(identifier))
            os.write(1, f"done {identifier}\\n".encode())  # acknowledged: from here on it must never be lost
    await asyncio.gather(*(caller() for _ in range(32)))

asyncio.run(main(sys.argv[1]))
"""


async def test_nothing_acknowledged_is_lost_when_the_process_is_killed(
    database: Database, url: str, tmp_path: Path
) -> None:
    acknowledged: set[str] = set()
    opened: set[str] = set()
    for round_ in range(3):
        with (tmp_path / f"out{round_}").open("wb") as out:
            worker = subprocess.Popen([sys.executable, "-c", WORKER, url], stdout=out)  # noqa: ASYNC220
            try:
                for _ in range(600):
                    await asyncio.sleep(0.02)
                    if (tmp_path / f"out{round_}").stat().st_size > 20_000:
                        break
            finally:
                worker.send_signal(signal.SIGKILL)
                worker.wait()
        lines = (tmp_path / f"out{round_}").read_text().splitlines()
        acknowledged |= {line[5:] for line in lines if line.startswith("done ")}
        opened |= {line[5:] for line in lines if line.startswith("open ")}
    assert len(acknowledged) > 500
    found = await outbox(database)
    assert acknowledged <= found.keys()

    sink = DatabaseAuditSink(database)
    await sink.start()  # the next start finishes what the killed processes left open
    found = await outbox(database)
    assert {i for i, (_, record) in found.items() if record.interrupted} == opened
    assert {state for state, _ in found.values()} == {READY}
    await sink.stop()


async def test_a_living_siblings_pending_record_is_left_alone(database: Database, make: Any) -> None:
    sibling_database = make()
    sibling = DatabaseAuditSink(sibling_database)
    await sibling.start()
    one = entry()
    await sibling.open(one)
    late = DatabaseAuditSink(database)
    await late.start()
    assert await late.recover() == 0
    assert (await outbox(database))[one.id][0] == PENDING
    await sibling.stop()  # stopped without closing the record: whose call it was is gone
    assert await late.recover() == 1
    state, record = (await outbox(database))[one.id]
    assert (state, record.interrupted) == (READY, True)
    await late.stop()


async def test_a_window_follows_a_shared_commit_and_no_lone_record(
    sink: DatabaseAuditSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_writer, "WINDOW_SECONDS", 0.5)
    batches: list[int] = []
    store = audit_writer._Connection.store

    def counted(self: Any, rows: Any) -> None:
        batches.append(len(rows))
        store(self, rows)

    monkeypatch.setattr(audit_writer._Connection, "store", counted)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await sink.append(entry())
    await sink.append(entry())
    assert loop.time() - begun < 0.5, "a lone record was kept waiting"
    await asyncio.gather(*(sink.append(entry()) for _ in range(4)))
    batches.clear()

    async def late(number: int) -> None:
        await asyncio.sleep(0.03 * number)
        await sink.append(entry())

    await asyncio.gather(*(late(number) for number in range(1, 4)))
    assert batches == [3], "records that came within the window were committed one by one"
