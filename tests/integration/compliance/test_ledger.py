"""The ledger over SQLite and PostgreSQL: order, idempotence, proofs, sealing, erasure."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import select

from interceptors.faults import Fault
from polyphony.compliance.v1 import audit_ledger_service_pb2 as pb
from polyphony.compliance.v1.audit_record_pb2 import LedgerLeaf
from services.compliance.adapters.leaves import RecordMalformed
from services.compliance.adapters.tables import LedgerRecord
from services.compliance.audit_ledger_servicer import AuditLedgerService
from services.compliance.ledger import Ledger
from services.compliance.receipts import verify_growth, verify_log
from services.compliance.signing import CheckpointSigning
from services.runtime.persistence import SYSTEM, Database
from tests.integration.compliance.conftest import TENANT, VERIFIER, OpenDatabase, call_as, encoded, record


async def leaves(database: Database, tenant: str = TENANT) -> list[bytes]:
    """The stored leaves of a log, in its order."""
    return await database.read(
        lambda tx: list(tx.session.scalars(select(LedgerRecord.leaf).order_by(LedgerRecord.sequence))),
        tenant=tenant,
    )


async def ids(database: Database, tenant: str = TENANT) -> list[str]:
    return [LedgerLeaf.FromString(leaf).record.id for leaf in await leaves(database, tenant)]


async def test_records_keep_their_order_within_their_tenant(ledger: Ledger, database: Database) -> None:
    mine = [record() for _ in range(300)]
    others = [record(tenant="other") for _ in range(20)]
    mixed = [entry for pair in zip(mine, others + mine[20:0:-1] * 20, strict=False) for entry in pair][:600]
    assert await ledger.append(encoded(*mixed)) == 320
    assert sorted(await ids(database)) == sorted(entry.id for entry in mine)
    assert await ids(database, "other") == [entry.id for entry in others]


async def test_a_relay_may_send_a_batch_as_often_as_it_likes(ledger: Ledger, database: Database) -> None:
    batch = [record() for _ in range(10)]
    assert await ledger.append(encoded(*batch)) == 10
    before = await leaves(database)
    assert await ledger.append(encoded(*batch)) == 0
    changed = record(id=batch[3].id, code=7)
    assert await ledger.append(encoded(changed, batch[4])) == 0
    assert await leaves(database) == before
    fresh = record()
    assert await ledger.append(encoded(batch[9], fresh, fresh)) == 1
    assert await ids(database) == [entry.id for entry in [*batch, fresh]]


async def test_two_workers_make_one_log(
    open_database: OpenDatabase, database: Database, signing: CheckpointSigning
) -> None:
    second = open_database()
    await second.start()
    workers = Ledger(database), Ledger(second)
    batches = [[record() for _ in range(7)] for _ in range(40)]
    try:
        added = await asyncio.gather(
            *(workers[number % 2].append(encoded(*batch)) for number, batch in enumerate(batches)),
            *(workers[(number + 1) % 2].append(encoded(*batch)) for number, batch in enumerate(batches[:10])),
        )
    finally:
        await second.close()
    assert sum(added) == 280
    assert sorted(await ids(database)) == sorted(entry.id for batch in batches for entry in batch)
    await signing.sign_grown()
    signed = await signing.newest(TENANT)
    assert signed is not None
    assert verify_log(await leaves(database), signed.note, VERIFIER).size == 280


async def test_a_malformed_record_takes_nothing_in(ledger: Ledger, database: Database) -> None:
    for bad in (
        b"\xff",
        b"",
        record(tenant="").SerializeToString(),
        record(tenant=SYSTEM).SerializeToString(),
    ):
        with pytest.raises(RecordMalformed, match=r"records\[1\]"):
            await ledger.append([*encoded(record()), bad])
    assert await leaves(database) == []


async def test_growth_is_provable_from_every_size(ledger: Ledger, signing: CheckpointSigning) -> None:
    call_as("alice", "AuditService/GetCheckpoint")
    older = []
    for count in (1, 254, 1, 2, 300):
        await ledger.append(encoded(*[record() for _ in range(count)]))
        await signing.sign_grown()
        signed = await signing.newest(TENANT)
        assert signed is not None
        older.append(signed)
    newest = older[-1]
    assert newest.checkpoint.size == 558
    for each in older:
        hashes = await ledger.prove_growth(each.checkpoint.size, newest.checkpoint.size)
        verify_growth(each.note, newest.note, hashes, VERIFIER)


async def test_a_leaf_says_nothing_about_the_person(ledger: Ledger, database: Database) -> None:
    await ledger.append(
        encoded(record("alice"), record("alice", actor="bob"), record("", resource="users/eve/x"))
    )
    for leaf in await leaves(database):
        for secret in (b"alice", b"bob", b"eve"):
            assert secret not in leaf
        assert b"ListPlays" in leaf
    if database.path is not None:
        stored = (
            database.path.read_bytes() + database.path.with_name(database.path.name + "-wal").read_bytes()
        )
        for secret in (b"session-of-alice", b"secret-of-alice", b"users/alice"):
            assert secret not in stored


async def test_the_person_reads_what_was_recorded(ledger: Ledger) -> None:
    first, second = record("alice"), record("alice", actor="bob")
    await ledger.append(encoded(first, record("carol"), second))
    call_as("alice", "AuditService/ListRecords")
    page = await ledger.page("alice", size=10, token="", parent="users/alice")
    assert [found.record for found in page.items] == [second, first]
    assert [found.index for found in page.items] == [2, 0]
    assert not any(found.erased for found in page.items)


async def test_a_call_that_touches_nobody_is_its_callers(ledger: Ledger) -> None:
    await ledger.append(encoded(record("alice", subject="")))
    call_as("alice", "AuditService/ListRecords")
    found = (await ledger.page("alice", size=10, token="", parent="users/alice")).items
    assert [entry.record.actor for entry in found] == ["alice"]


async def test_nobody_reads_about_others_or_other_tenants(ledger: Ledger) -> None:
    hers, elsewhere = record("alice"), record("alice", tenant="other")
    await ledger.append(encoded(hers, elsewhere))
    call_as("mallory", "AuditService/ListRecords")
    assert (await ledger.page("mallory", size=10, token="", parent="users/mallory")).items == []
    assert await ledger.find("mallory", hers.id) is None
    call_as("alice", "AuditService/ListRecords")
    assert await ledger.find("alice", hers.id) is not None
    assert await ledger.find("alice", elsewhere.id) is None


async def test_an_empty_tenant_has_no_records(ledger: Ledger) -> None:
    call_as("alice", "AuditService/ListRecords", tenant="empty")
    assert (await ledger.page("alice", size=10, token="", parent="users/alice")).items == []
    assert await ledger.since("alice", 0) == []
    assert await ledger.find("alice", "x") is None


async def test_pages_cover_everything_once_while_the_log_grows(ledger: Ledger) -> None:
    await ledger.append(encoded(*[record() for _ in range(25)]))
    call_as("alice", "AuditService/ListRecords")
    seen, token = [], ""
    while True:
        page = await ledger.page("alice", size=10, token=token, parent="users/alice")
        seen += [found.index for found in page.items]
        await ledger.append(encoded(record()))
        token = page.next_page_token
        if not token:
            break
    assert seen == list(range(24, -1, -1))


async def test_erasing_a_person_leaves_every_root_valid(
    ledger: Ledger, database: Database, signing: CheckpointSigning
) -> None:
    await ledger.append(encoded(*[record("alice") for _ in range(3)], record("bob")))
    await signing.sign_grown()
    signed = await signing.newest(TENANT)
    assert signed is not None
    assert await database.write(lambda tx: tx.keys.shred("alice"), tenant=TENANT)
    assert verify_log(await leaves(database), signed.note, VERIFIER).size == 4
    late = record("alice")
    assert await ledger.append(encoded(late)) == 1
    call_as("alice", "AuditService/ListRecords")
    found = (await ledger.page("alice", size=10, token="", parent="users/alice")).items
    assert [entry.erased for entry in found] == [True] * 4
    assert {entry.record.subject for entry in found} == {""}
    assert found[0].record.id == late.id
    call_as("bob", "AuditService/ListRecords")
    assert not (await ledger.page("bob", size=10, token="", parent="users/bob")).items[0].erased


async def test_no_service_says_what_another_one_did(ledger: Ledger, database: Database) -> None:
    service = AuditLedgerService(ledger)
    own, foreign = record(service="spotify-1"), record(service="spotifying-0")
    call_as("service:spotify", "ConsentService/ListConsents", tenant="-")
    with pytest.raises(Fault, match=r"REQUEST_INVALID: records\[1\]: not a record of spotify"):
        await service.AppendRecords(pb.AppendRecordsRequest(records=encoded(own, foreign)), None)
    assert await ids(database) == []
    await service.AppendRecords(pb.AppendRecordsRequest(records=encoded(own)), None)
    assert await ids(database) == [own.id]
