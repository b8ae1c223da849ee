"""Deleting a history, bringing it back, purging it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text, update

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from polyphony.spotify.v1 import user_data_service_pb2 as pb
from services.runtime.persistence import SYSTEM, Database
from services.spotify import wiring
from services.spotify.adapters.tables import ContentRow, HistoryRow, ImportRow, PlayRow
from services.spotify.wiring import purge_histories
from tests.integration.spotify.conftest import KEEP, Door, document, exported

NAME = "users/alice/history"


async def delete(door: Door, etag: str = "", name: str = NAME) -> Any:
    return (await door.service.DeleteHistory(pb.DeleteHistoryRequest(name=name, etag=etag), None)).history


async def undelete(door: Door, etag: str = "", name: str = NAME) -> Any:
    return (await door.service.UndeleteHistory(pb.UndeleteHistoryRequest(name=name, etag=etag), None)).history


async def rows(database: Database) -> list[int]:
    def count(tx: Any) -> list[int]:
        tables = (HistoryRow, ImportRow, ContentRow, PlayRow)
        counted = [
            select(func.count()).select_from(table).execution_options(include_deleted=True)
            for table in tables
        ]
        return [tx.session.scalar(statement) for statement in counted]

    return await database.read(count, tenant=SYSTEM)


async def test_deleting_hides_everything_and_undeleting_brings_it_back(
    door: Door, database: Database
) -> None:
    done = await door.bring(document(exported(0), exported(1)))
    deleted = await delete(door)
    assert (deleted.name, deleted.play_count) == (NAME, 2)
    assert deleted.purge_time.ToDatetime(UTC) - deleted.delete_time.ToDatetime(UTC) == KEEP
    assert await door.plays() == []
    assert (await door.profile()).plays == 0
    assert not (await door.service.ListImports(pb.ListImportsRequest(parent="users/alice"), None)).imports
    for hidden in (door.service.GetImport(pb.GetImportRequest(name=done.name), None), delete(door)):
        with pytest.raises(Fault, match="RESOURCE_NOT_FOUND"):
            await hidden
    with pytest.raises(Fault, match="ETAG_MISMATCH"):
        await undelete(door, "stale")
    back = await undelete(door, deleted.etag)
    assert not back.HasField("delete_time")
    assert back.etag != deleted.etag
    assert len(await door.plays()) == 2
    assert (
        len((await door.service.ListImports(pb.ListImportsRequest(parent="users/alice"), None)).imports) == 1
    )
    with pytest.raises(Fault, match="RESOURCE_NOT_FOUND"):
        await undelete(door)
    told = await database.read(
        lambda tx: tx.connection.execute(text("SELECT type FROM event_outbox ORDER BY id")).scalars().all(),
        tenant=SYSTEM,
    )
    assert [kind.rpartition(".")[2] for kind in told] == [
        "ImportCompleted",
        "HistoryDeleted",
        "HistoryUndeleted",
    ]


async def test_etags_guard_a_deletion(door: Door) -> None:
    await door.bring(document(exported(0)))
    with pytest.raises(Fault, match="ETAG_MISMATCH"):
        await delete(door, "stale")
    deleted = await delete(door)
    back = await undelete(door)
    await door.bring(document(exported(1)))
    with pytest.raises(Fault, match="ETAG_MISMATCH"):
        await delete(door, back.etag)
    assert deleted.etag


async def test_importing_after_a_deletion_begins_a_new_history(door: Door) -> None:
    data = document(exported(0), exported(1))
    first = await door.bring(data)
    await delete(door)
    second = await door.bring(data)
    assert second.name != first.name
    assert second.plays_imported == 2
    with pytest.raises(Fault, match="RESOURCE_EXISTS"):
        await undelete(door)
    await delete(door)
    assert (await undelete(door)).play_count == 2
    assert [
        one.name
        for one in (await door.service.ListImports(pb.ListImportsRequest(parent="users/alice"), None)).imports
    ] == [second.name]


async def test_nothing_to_delete(door: Door) -> None:
    for attempt in (delete, undelete):
        with pytest.raises(Fault, match="RESOURCE_NOT_FOUND"):
            await attempt(door)


async def test_purging_removes_what_is_due_and_nothing_else(
    door: Door, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.spotify.wiring.PURGE_ROWS", 7)
    other = Door(database, "other")
    await door.bring(document(*(exported(number) for number in range(100))))
    await delete(door)
    await door.bring(document(exported(0)))
    await door.bring(document(exported(0), exported(1)), user="bob")
    await delete(door, name="users/bob/history")
    await other.bring(document(exported(0)))
    before = await rows(database)
    await purge_histories(database)
    assert await rows(database) == before

    def age(tx: Any) -> None:
        due = update(HistoryRow).where(HistoryRow.user == "alice", HistoryRow.delete_time.is_not(None))
        tx.session.execute(
            due.values(purge_time=datetime.now(UTC) - timedelta(seconds=1)).execution_options(
                include_deleted=True
            )
        )

    await database.write(age, tenant="acme")
    with pytest.raises(Fault, match="RESOURCE_NOT_FOUND"):
        await undelete(door)
    await purge_histories(database)
    assert [now - then for now, then in zip(await rows(database), before, strict=True)] == [
        -1,
        -1,
        -100,
        -100,
    ]
    assert len(await door.plays()) == 1
    assert (await undelete(door, name="users/bob/history")).play_count == 2
    assert len(await other.plays()) == 1
    await other.importing.close()


async def test_a_purge_that_fails_is_put_off(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A background task that raises would end the process, and with it every call and import."""
    asked: list[Database] = []

    async def away(database: Database) -> None:
        asked.append(database)
        if len(asked) < 3:
            raise Fault(reason_pb2.REASON_STORAGE_UNAVAILABLE)

    monkeypatch.setattr(wiring, "purge_histories", away)
    purging = asyncio.create_task(wiring.keep_purged(database, 0.01))
    while len(asked) < 4:
        assert not purging.done()
        await asyncio.sleep(0.01)
    purging.cancel()
