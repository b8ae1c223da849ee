"""AuditService over SQLite and PostgreSQL: lists, proofs that hold offline, checkpoints, watching."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from interceptors.faults import Fault
from interceptors.ids import new_id
from polyphony.compliance.v1 import audit_service_pb2 as pb
from polyphony.compliance.v1.audit_record_pb2 import AuditRecord, LedgerLeaf
from polyphony.errors.v1 import reason_pb2
from services.compliance.audit_servicer import AuditService
from services.compliance.ledger import Ledger
from services.compliance.receipts import InclusionProof, verify_growth, verify_receipt
from services.compliance.signing import CheckpointSigning
from services.runtime.persistence import Database
from tests.integration.compliance.conftest import call_as, encoded, record
from tests.integration.compliance.test_tampering import tamper


@pytest.fixture
async def service(ledger: Ledger, signing: CheckpointSigning) -> AsyncIterator[AuditService]:
    """The servicer, with a signer that runs."""
    running = asyncio.create_task(signing.run())
    yield AuditService(ledger, signing)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def prove(service: AuditService, entry: AuditRecord, user: str = "alice") -> pb.GetProofResponse:
    call_as(user, "AuditService/GetProof")
    return await service.GetProof(pb.GetProofRequest(name=f"users/{user}/records/{entry.id}"), None)


async def test_a_receipt_holds_without_the_mesh(service: AuditService, ledger: Ledger) -> None:
    entries = [record() for _ in range(5)]
    await ledger.append(encoded(*entries))
    answer = await prove(service, entries[2])
    assert answer.record.record == entries[2]
    assert (answer.record.index, answer.proof.index) == (2, 2)
    assert answer.record.start_time.ToNanoseconds() == entries[2].start_unix_nanos
    proof = InclusionProof(answer.proof.index, answer.proof.hashes)
    checkpoint = verify_receipt(answer.leaf, proof, answer.checkpoint.note, answer.checkpoint.public_key)
    assert (checkpoint.origin, checkpoint.size) == ("polyphony/acme", answer.checkpoint.size)
    assert checkpoint.root == answer.checkpoint.root
    assert LedgerLeaf.FromString(answer.leaf).record.id == entries[2].id


async def test_a_proof_waits_for_its_record_and_its_checkpoint(service: AuditService, ledger: Ledger) -> None:
    late = record()
    proving = asyncio.create_task(prove(service, late))
    await asyncio.sleep(0.1)
    assert not proving.done()
    await ledger.append(encoded(late))
    assert (await asyncio.wait_for(proving, 5)).record.record.id == late.id


@pytest.mark.parametrize("identifier", ["0192f0a0-0000-7000-8000-000000000000", "no-such-record"])
async def test_an_unknown_record_is_refused_at_once(service: AuditService, identifier: str) -> None:
    began = time.monotonic()
    with pytest.raises(Fault) as refused:
        await prove(service, AuditRecord(id=identifier))
    assert refused.value.reason == reason_pb2.REASON_RESOURCE_NOT_FOUND
    assert time.monotonic() - began < 1


async def test_somebody_elses_record_is_not_found(
    service: AuditService, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.compliance.audit_servicer.RELAY_SECONDS", 0.0)
    hers = record("alice")
    await ledger.append(encoded(hers))
    with pytest.raises(Fault) as refused:
        await prove(service, hers, "mallory")
    assert refused.value.reason == reason_pb2.REASON_RESOURCE_NOT_FOUND


async def test_nothing_is_proven_by_a_log_that_was_tampered_with(
    service: AuditService, ledger: Ledger, database: Database
) -> None:
    first, second = record(), record()
    await ledger.append(encoded(first))
    await prove(service, first)
    await tamper(database, "DELETE FROM ledger_tiles")
    await tamper(database, "DELETE FROM ledger_records", "UPDATE ledger_logs SET size = 0")
    await ledger.append(encoded(record(), second))
    with pytest.raises(Fault) as refused:
        await asyncio.wait_for(prove(service, second), 5)
    assert refused.value.reason == reason_pb2.REASON_STATE_CONFLICT


async def test_records_are_listed_newest_first_over_pages(service: AuditService, ledger: Ledger) -> None:
    entries = [record() for _ in range(7)]
    await ledger.append(encoded(*entries))
    call_as("alice", "AuditService/ListRecords")
    seen, token = [], ""
    while True:
        request = pb.ListRecordsRequest(parent="users/alice", page_size=3, page_token=token)
        answer = await service.ListRecords(request, None)
        seen += [each.name for each in answer.records]
        token = answer.next_page_token
        if not token:
            break
    assert seen == [f"users/alice/records/{entry.id}" for entry in reversed(entries)]


async def test_checkpoints_continue_each_other(service: AuditService, ledger: Ledger) -> None:
    call_as("alice", "AuditService/GetCheckpoint")
    with pytest.raises(Fault) as refused:
        await service.GetCheckpoint(pb.GetCheckpointRequest(), None)
    assert refused.value.reason == reason_pb2.REASON_RESOURCE_NOT_FOUND
    first, second = record(), record()
    await ledger.append(encoded(first))
    older = (await prove(service, first)).checkpoint
    await ledger.append(encoded(second))
    await prove(service, second)
    answer = await service.GetCheckpoint(pb.GetCheckpointRequest(since_size=older.size), None)
    assert (older.size, answer.checkpoint.size) == (1, 2)
    verify_growth(older.note, answer.checkpoint.note, answer.consistency, older.public_key)
    with pytest.raises(Fault) as refused:
        await service.GetCheckpoint(pb.GetCheckpointRequest(since_size=3), None)
    assert refused.value.fields[0].path == "since_size"


async def test_watching_shows_what_comes_and_only_that(service: AuditService, ledger: Ledger) -> None:
    await ledger.append(encoded(record()))
    call_as("alice", "AuditService/WatchRecords")
    watch = service.WatchRecords(pb.WatchRecordsRequest(parent="users/alice"), None)
    coming = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0.2)
    assert not coming.done()
    entries = [record() for _ in range(3)]
    await ledger.append(encoded(record("bob"), *entries))
    seen = [(await asyncio.wait_for(coming, 5)).record.record.id]
    seen += [(await asyncio.wait_for(anext(watch), 5)).record.record.id for _ in range(2)]
    assert seen == [entry.id for entry in entries]
    assert new_id() > seen[-1]


async def test_another_workers_records_are_watched_too(service: AuditService, ledger: Ledger) -> None:
    call_as("alice", "AuditService/WatchRecords")
    watch = service.WatchRecords(pb.WatchRecordsRequest(parent="users/alice"), None)
    coming = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0.1)
    elsewhere = Ledger(ledger._database)
    entry = record()
    await elsewhere.append(encoded(entry))
    assert (await asyncio.wait_for(coming, 5)).record.record.id == entry.id
