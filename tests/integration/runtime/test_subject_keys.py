"""Sealed columns open where they were sealed, for as long as their person's key exists."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from services.runtime.keyring import KeyFileError, Keyring, SealBrokenError
from services.runtime.persistence import SYSTEM, Database, Transaction, protected_fields
from services.runtime.persistence.subject_keys import rewrap
from services.runtime.persistence.tables import subject_keys
from tests.fixtures.shelf import Disc, Entity

CANARY = "the note that nobody may read"


def note(tx: Transaction, person: str = "u", row: str = "d") -> bytes:
    sealed = tx.keys.of(person).seal(Disc.note, row, CANARY)
    tx.session.add(Disc(id=row, note=sealed))
    return sealed


def reading(person: str = "u", row: str = "d") -> Callable[[Transaction], str]:
    def read(tx: Transaction) -> str:
        sealed = tx.require(Disc, row).note
        assert sealed is not None
        return tx.keys.of(person).open_text(Disc.note, row, sealed)

    return read


async def destroyed(database: Database, work: Callable[[Transaction], Any], *, tenant: str = "a") -> None:
    for run in (database.read, database.write):
        with pytest.raises(Fault) as caught:
            await run(work, tenant=tenant)
        assert caught.value.reason == reason_pb2.REASON_SUBJECT_KEY_DESTROYED


async def test_a_note_comes_back_in_another_transaction_and_process(database: Database, make: Any) -> None:
    await database.write(note, tenant="a")
    assert await database.read(reading(), tenant="a") == CANARY
    other = make()
    await other.start()
    assert await other.read(reading(), tenant="a") == CANARY


# PostgreSQL's text holds no NUL; no identifier of the mesh does either.
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=3)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.binary(max_size=200), other=st.tuples(*[WORDS] * 4))
async def test_a_value_opens_in_its_own_place_only(database: Database, value: bytes, other: Any) -> None:
    place = ("u", "discs", "note", "d")

    def work(tx: Transaction) -> None:
        sealed = tx.keys.of("u").seal_at("discs", "note", "d", value)
        assert tx.keys.of("u").open_at("discs", "note", "d", sealed) == value
        assert len(value) < 8 or value not in sealed
        assert tx.keys.of("u").seal_at("discs", "note", "d", value) != sealed
        tx.keys.of(other[0]).seal_at("discs", "note", "d", b"")  # so that this person has a key, too
        for index in range(4):
            moved = (*place[:index], other[index], *place[index + 1 :])
            if moved != place:
                with pytest.raises(SealBrokenError):
                    tx.keys.of(moved[0]).open_at(*moved[1:], sealed)
        for changed in (sealed[:-1], sealed[1:], b"", bytes([sealed[0] ^ 1]) + sealed[1:]):
            with pytest.raises(SealBrokenError):
                tx.keys.of("u").open_at("discs", "note", "d", changed)

    await database.write(work, tenant="a")


async def test_tenants_have_different_keys_for_the_same_person(database: Database) -> None:
    sealed = await database.write(note, tenant="a")
    await database.write(lambda tx: tx.keys.of("u").seal_at("discs", "note", "x", b""), tenant="b")
    with pytest.raises(SealBrokenError):
        await database.read(lambda tx: tx.keys.of("u").open_at("discs", "note", "d", sealed), tenant="b")


async def test_a_sealed_column_takes_nothing_else(database: Database) -> None:
    for value in (b"plain", b"", CANARY.encode() * 3):
        with pytest.raises(Exception, match="takes sealed bytes only"):
            await database.write(lambda tx, v=value: tx.session.add(Disc(id="x", note=v)), tenant="a")
        rows = [{"id": "x", "plays": 0, "note": value}]
        with pytest.raises(ValueError, match="takes sealed bytes only"):
            await database.write(lambda tx, r=rows: tx.bulk_insert(Disc, r), tenant="a")


async def test_shredding_ends_every_reading_in_every_process(database: Database, make: Any) -> None:
    other = make(keyring=Keyring([database.keyring._root]))  # type: ignore[union-attr]
    await other.start()
    await database.write(note, tenant="a")
    await database.write(lambda tx: note(tx, "v", "e"), tenant="a")
    assert await other.read(reading(), tenant="a") == CANARY  # so the other process holds the key in memory
    assert await database.write(lambda tx: tx.keys.shred("u"), tenant="a")
    for each in (database, other):
        await destroyed(each, reading())
        assert await each.read(reading("v", "e"), tenant="a") == CANARY
    assert not await database.write(lambda tx: tx.keys.shred("u"), tenant="a")


async def test_nothing_new_is_sealed_for_an_erased_person(database: Database) -> None:
    await database.write(lambda tx: tx.keys.shred("never seen"), tenant="a")
    with pytest.raises(Fault) as caught:
        await database.write(lambda tx: note(tx, "never seen"), tenant="a")
    assert caught.value.reason == reason_pb2.REASON_SUBJECT_KEY_DESTROYED


async def test_shredding_that_is_rolled_back_destroys_nothing(database: Database) -> None:
    await database.write(note, tenant="a")

    def change_of_mind(tx: Transaction) -> None:
        tx.keys.shred("u")
        raise LookupError("no")

    with pytest.raises(LookupError):
        await database.write(change_of_mind, tenant="a")
    assert await database.read(reading(), tenant="a") == CANARY


async def test_no_byte_of_a_destroyed_key_is_left_in_the_files(database: Database) -> None:
    if database.path is None:
        pytest.skip("PostgreSQL overwrites in its own time (VACUUM)")
    await database.write(note, tenant="a")
    row = await database.read(lambda tx: tx.connection.execute(select(subject_keys)).one(), tenant=SYSTEM)

    def anywhere() -> bool:
        assert database.path is not None
        files = [file for file in database.path.parent.glob("shelf.db*") if file.is_file()]
        return any(row.wrapped in file.read_bytes() for file in files)

    assert anywhere()
    await database.write(lambda tx: tx.keys.shred("u"), tenant="a")
    assert not anywhere()


async def test_the_plain_text_never_reaches_the_files(database: Database) -> None:
    await database.write(note, tenant="a")
    if database.path is None:
        dump = await database.read(
            lambda tx: tx.connection.execute(text("SELECT discs::text FROM discs")).all(), tenant="a"
        )
        assert CANARY.encode().hex() not in str(dump)
        return
    for file in database.path.parent.glob("shelf.db*"):
        assert file.is_dir() or CANARY.encode() not in file.read_bytes()


async def test_rotation_rewraps_keys_and_touches_no_data(database: Database, make: Any) -> None:
    sealed = await database.write(note, tenant="a")
    assert database.keyring is not None
    old, new = database.keyring._root, os.urandom(32)
    rotated = make(keyring=Keyring([new, old]))
    await rotated.start()
    assert await rotated.read(reading(), tenant="a") == CANARY
    assert await rotated.write(lambda tx: rewrap(tx.connection, rotated.keyring), tenant=SYSTEM) == 1
    assert await rotated.write(lambda tx: rewrap(tx.connection, rotated.keyring), tenant=SYSTEM) == 0
    only_new = make(keyring=Keyring([new]))
    await only_new.start()
    assert await only_new.read(reading(), tenant="a") == CANARY
    assert (await only_new.read(lambda tx: tx.require(Disc, "d"), tenant="a")).note == sealed
    with pytest.raises(KeyFileError):
        await make(keyring=Keyring([old])).read(reading(), tenant="a")


async def test_a_blind_index_finds_equal_values_of_one_person_or_tenant(database: Database) -> None:
    def work(tx: Transaction) -> None:
        mine, theirs = tx.keys.of("u"), tx.keys.of("v")
        one = mine.blind_index(Disc.owner, "Ann@Example.org ")
        assert one == mine.blind_index(Disc.owner, "ann@example.org")
        assert one != mine.blind_index(Disc.owner, "ann@example.com")
        assert one != theirs.blind_index(Disc.owner, "ann@example.org")
        assert one != tx.keys.of_tenant().blind_index(Disc.owner, "ann@example.org")
        tx.session.add(Disc(id="d", owner=one))

    await database.write(work, tenant="a")

    def search(tx: Transaction) -> list[str]:
        wanted = tx.keys.of("u").blind_index(Disc.owner, "ANN@EXAMPLE.ORG")
        return list(tx.session.scalars(select(Disc.id).where(Disc.owner == wanted)))

    assert await database.read(search, tenant="a") == ["d"]


def test_protected_columns_are_listed_by_the_field_they_protect() -> None:
    assert protected_fields(Entity.metadata) == {
        "shelf.v1.Disc.note": ["discs.note"],
        "shelf.v1.Disc.owner": ["discs.owner"],
    }
