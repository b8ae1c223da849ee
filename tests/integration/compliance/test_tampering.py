"""Whoever can write the database cannot rewrite history unseen: not the auditor, not the signer is fooled."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from sqlalchemy import text

from services.compliance.ledger import Ledger
from services.compliance.receipts import InclusionProof, ReceiptError, verify_log, verify_receipt
from services.compliance.signing import CheckpointSigning
from services.runtime.persistence import SYSTEM, Database
from tests.integration.compliance.conftest import TENANT, VERIFIER, call_as, encoded, record
from tests.integration.compliance.test_ledger import leaves

SIZE = 300


@pytest.fixture
async def note(ledger: Ledger, signing: CheckpointSigning) -> str:
    """The signed checkpoint of a log of 300 records."""
    await ledger.append(encoded(*[record() for _ in range(SIZE)]))
    await signing.sign_grown()
    signed = await signing.newest(TENANT)
    assert signed is not None
    return signed.note


async def tamper(database: Database, *statements: str) -> None:
    """What somebody with the database's password can do."""

    def work(tx: object) -> None:
        for statement in statements:
            tx.connection.execute(text(statement))  # type: ignore[attr-defined]

    await database.write(work, tenant=SYSTEM)


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        (["UPDATE ledger_records SET leaf = (SELECT leaf FROM ledger_records WHERE sequence = 9) WHERE sequence = 7"],
         "changed"),
        (["DELETE FROM ledger_records WHERE sequence = 299", "UPDATE ledger_logs SET size = 299"], "cut"),
        (["DELETE FROM ledger_records WHERE sequence >= 150", "UPDATE ledger_logs SET size = 150"], "cut"),
        (["DELETE FROM ledger_records WHERE sequence = 7"], "cut"),
        (["UPDATE ledger_records SET sequence = -1 WHERE sequence = 7",
          "UPDATE ledger_records SET sequence = 7 WHERE sequence = 8",
          "UPDATE ledger_records SET sequence = 8 WHERE sequence = -1"], "moved"),
        (["UPDATE ledger_records SET sequence = 400 WHERE sequence = 0"], "moved"),
    ],
    ids=["edit", "remove the last", "truncate", "remove one", "swap", "move to the end"],
)  # fmt: skip
async def test_the_auditor_sees_it(
    database: Database, note: str, statements: list[str], message: str
) -> None:
    assert verify_log(await leaves(database), note, VERIFIER).size == SIZE
    await tamper(database, *statements)
    with pytest.raises(ReceiptError, match=message):
        verify_log(await leaves(database), note, VERIFIER)


async def test_the_receipt_of_an_edited_record_does_not_hold(
    ledger: Ledger, database: Database, signing: CheckpointSigning, note: str
) -> None:
    call_as("alice", "AuditService/GetProof")
    victim = (await leaves(database))[7]
    proof = InclusionProof(7, await ledger.prove(7, SIZE))
    assert verify_receipt(victim, proof, note, VERIFIER).size == SIZE
    with pytest.raises(ReceiptError, match="not what the log signed for"):
        verify_receipt((await leaves(database))[8], proof, note, VERIFIER)


async def forge_everything(ledger: Ledger, database: Database) -> None:
    """The thorough forger: drops the log, and writes another one with a tree that fits it."""
    await tamper(
        database, "DELETE FROM ledger_records", "DELETE FROM ledger_tiles", "UPDATE ledger_logs SET size = 0"
    )
    await ledger.append(encoded(*[record() for _ in range(SIZE + 10)]))


async def cut(ledger: Ledger, database: Database) -> None:
    await tamper(
        database, "DELETE FROM ledger_records WHERE sequence >= 150", "UPDATE ledger_logs SET size = 150"
    )


async def damage_tile(ledger: Ledger, database: Database) -> None:
    await tamper(database, "DELETE FROM ledger_tiles WHERE level = 0 AND position = 0")
    await tamper(database, "UPDATE ledger_logs SET size = size + 1")


@pytest.mark.parametrize("attack", [forge_everything, cut, damage_tile])
async def test_the_signer_signs_it_never_again(
    ledger: Ledger,
    database: Database,
    signing: CheckpointSigning,
    note: str,
    caplog: pytest.LogCaptureFixture,
    attack: Callable[..., object],
) -> None:
    await attack(ledger, database)  # type: ignore[misc]
    with caplog.at_level(logging.CRITICAL):
        await signing.sign_grown()
        await signing.sign_grown()
    assert [entry.levelname for entry in caplog.records] == ["CRITICAL"]
    assert "contradicts its checkpoint of 300 records" in caplog.text
    assert signing.broken == {TENANT}
    signed = await signing.newest(TENANT)
    assert signed is not None
    assert signed.note == note


async def test_other_tenants_are_signed_all_the_same(
    ledger: Ledger, database: Database, signing: CheckpointSigning, note: str
) -> None:
    await cut(ledger, database)
    await ledger.append(encoded(record(tenant="other")))
    await signing.sign_grown()
    assert (await signing.newest("other")) is not None
