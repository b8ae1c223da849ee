"""Durable audit records from 64 concurrent callers against a raw SQLite group commit of the same records.

The sink is the one on the road: a caller goes on when its own record is durable. The raw baseline knows all records
beforehand, has no callers to wake, and commits 64 at a time; both write the same table with WAL and synchronous=FULL.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from bench.report import Report, median, percentile
from bench.rounds import rounds
from interceptors.ids import new_id
from interceptors.ports import AuditEntry
from polyphony.compliance.v1.audit_record_pb2 import AuditRecord
from polyphony.policy.v1 import policy_pb2
from services.runtime.audit_sink import DatabaseAuditSink
from services.runtime.persistence import Database
from services.runtime.persistence.tables import READY

CALLERS = 64
ROUNDS = 7
RECORDS = 32_000
LONE_RECORDS = 2_000
GOAL = 0.7

_INSERT = "INSERT INTO audit_outbox (id, tenant, state, owner, record) VALUES (?, ?, ?, ?, ?)"


def run() -> None:
    """Measure and publish."""
    sink, group, lone = [], [], []
    for _ in rounds(ROUNDS):
        entries = [entry() for _ in range(RECORDS)]
        sink.append(through_sink(entries))
        group.append(raw(entries, CALLERS))
        lone.append(raw(entries[:LONE_RECORDS], 1))
    report(sink, group, lone, len(entries[0].payload)).publish()


Measured = tuple[float, Sequence[float]]
"""Records per second, and how many seconds each wait for durability took."""


def report(sink: list[Measured], group: list[Measured], lone: list[Measured], size: int) -> Report:
    """The report of the rounds; `size` is that of one record in bytes."""
    table = Report(
        "audit",
        "Durable audit records against a raw SQLite group commit",
        f"Records of {size} bytes, WAL, synchronous=FULL; medians of {len(sink)} interleaved rounds of {RECORDS:,}"
        f" ({LONE_RECORDS:,} with one commit each). p50 and p99 are of the wait until a record is durable.",
        ["writer", "records/s", "of raw group", "p50 ms", "p99 ms"],
    )
    base = median([rate for rate, _ in group])
    for name, measured in (
        (f"DatabaseAuditSink, {CALLERS} callers", sink),
        (f"raw sqlite3, groups of {CALLERS}", group),
        ("raw sqlite3, one commit per record", lone),
    ):
        rate = median([each for each, _ in measured])
        waits = [median([percentile(found, share) for _, found in measured]) * 1_000 for share in (0.5, 0.99)]
        table.add(name, f"{rate:,.0f}", f"{rate / base:.2f}", *(f"{wait:.2f}" for wait in waits))
    reached = median([rate for rate, _ in sink]) / base
    table.notes.append(f"Goal: {GOAL} of raw group commit; {'met' if reached >= GOAL else 'missed'}.")
    return table


def entry() -> AuditEntry:
    """A record as an ordinary allowed call of a listener leaves it."""
    identifier, user = new_id(), "01a2076a-9f81-750a-b4aa-8a56d2ca644d"
    record = AuditRecord(
        id=identifier,
        start_unix_nanos=time.time_ns(),
        duration_nanos=1_300_000,
        method="polyphony.spotify.v1.UserDataService/ListPlays",
        service="spotify-0",
        contract_digest=bytes(range(32)),
        tenant="01a2076a-9f81-750a-b4aa-000000000000",
        actor=user,
        session="01a2076a-9f81-750a-b4aa-111111111111",
        subject=user,
        resource=f"users/{user}/history",
        purpose=policy_pb2.PURPOSE_LISTENING_PROFILE,
        rule="listener * spotify.play.* own allow",
        policy_snapshot="0" * 64,
        consent_record="01a2076a-9f81-750a-b4aa-222222222222",
        requests=1,
        responses=1,
    )
    return AuditEntry(identifier, record.tenant, record.SerializeToString())


def through_sink(entries: Sequence[AuditEntry]) -> Measured:
    """Append through the sink from `CALLERS` tasks, each with one record at a time, as calls do."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_through_sink(Path(folder), entries))


async def _through_sink(folder: Path, entries: Sequence[AuditEntry]) -> Measured:
    database = _database(folder)
    await database.start()
    sink = DatabaseAuditSink(database)
    await sink.start()
    waits: list[float] = []
    waiting = iter(entries)

    async def caller() -> None:
        for each in waiting:
            began = time.perf_counter()
            await sink.append(each)
            waits.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    seconds = time.perf_counter() - began
    await sink.stop()
    await database.close()
    _check(folder, len(entries))
    return len(entries) / seconds, waits


def raw(entries: Sequence[AuditEntry], group: int) -> Measured:
    """Insert with the bare driver, `group` records per commit."""
    rows = [(each.id, each.tenant, READY, "", each.payload) for each in entries]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asyncio.run(_migrate(folder))
        waits: list[float] = []
        with _connection(folder) as connection:
            began = time.perf_counter()
            for start in range(0, len(rows), group):
                begun = time.perf_counter()
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(_INSERT, rows[start : start + group])
                connection.execute("COMMIT")
                waits.append(time.perf_counter() - begun)
            seconds = time.perf_counter() - began
        _check(folder, len(rows))
        return len(rows) / seconds, waits


def _database(folder: Path) -> Database:
    return Database(f"sqlite:///{folder}/audit.db", domain="bench")


async def _migrate(folder: Path) -> None:
    database = _database(folder)
    await database.start()
    await database.close()


@contextmanager
def _connection(folder: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(folder / "audit.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        yield connection


def _check(folder: Path, records: int) -> None:
    """A figure counts only when every record is there."""
    with _connection(folder) as connection:
        [(found,)] = connection.execute("SELECT count(*) FROM audit_outbox").fetchall()
    if found != records:
        raise RuntimeError(f"{found} of {records} records were stored")
