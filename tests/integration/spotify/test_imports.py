"""Importing a file: what is kept, what is counted, what happens when it goes wrong half-way."""

from __future__ import annotations

import asyncio
import hashlib
import io
import zipfile
from collections.abc import AsyncIterator, Awaitable
from itertools import islice
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import text

from interceptors.faults import Fault
from polyphony.spotify.v1 import import_pb2
from polyphony.spotify.v1 import user_data_service_pb2 as pb
from services.runtime.persistence import SYSTEM, Database
from services.spotify.usecases import import_history
from tests.integration.spotify.conftest import Door, document, exported, requests

COUNT = 25_000
"""More than two batches of the importer."""


async def fault_of(awaitable: Awaitable[Any]) -> Fault:
    with pytest.raises(Fault) as raised:
        await awaitable
    return raised.value


def counts(done: import_pb2.Import) -> tuple[int, int, int, int]:
    return done.plays_read, done.plays_imported, done.plays_duplicate, done.plays_rejected


def big() -> bytes:
    return document(*(exported(number) for number in range(COUNT)))


async def events(database: Database) -> list[tuple[str, str]]:
    rows = await database.read(
        lambda tx: tx.connection.execute(text("SELECT type, subject FROM event_outbox ORDER BY id")).all(),
        tenant=SYSTEM,
    )
    return [(row.type.rpartition(".")[2], row.subject) for row in rows]


async def test_a_file_is_read_counted_and_listed(door: Door, database: Database) -> None:
    data = document(exported(0), exported(1), exported(1), exported(2, ms_played=-1), exported(3, ts="?"))
    done = await door.bring(data, name="endsong_0.json")
    assert done.state == import_pb2.IMPORT_STATE_SUCCEEDED
    assert counts(done) == (5, 2, 1, 2)
    assert (done.file_name, done.sha256, done.size_bytes) == (
        "endsong_0.json",
        hashlib.sha256(data).digest(),
        len(data),
    )
    assert done.processed_bytes == len(data)
    assert [(r.line, r.reason, r.field) for r in done.rejections] == [
        (1, import_pb2.REJECTION_REASON_LENGTH_INVALID, "ms_played"),
        (1, import_pb2.REJECTION_REASON_TIME_INVALID, "ts"),
    ]
    found = await door.service.GetImport(pb.GetImportRequest(name=done.name), None)
    assert getattr(found, "import") == done
    first, second = await door.plays()
    assert (first.title, first.artist, first.album) == ("Track 0", "Artist 0", "Album 0")
    assert (first.uri, first.skipped, first.reason_end) == ("spotify:track:" + "0" * 22, True, "fwdbtn")
    assert first.played.ToMilliseconds() == 1_000
    assert second.end_time.seconds - first.end_time.seconds == 600
    assert await events(database) == [("ImportCompleted", done.name)]


async def test_the_same_file_twice_adds_nothing(door: Door) -> None:
    data = document(*(exported(number) for number in range(50)))
    first = await door.bring(data)
    again = await door.bring(data)
    assert again == first
    assert len(await door.plays()) == 50
    # The same plays in another file, as Spotify's yearly exports overlap, are known, too.
    other = await door.bring(document(*(exported(number) for number in range(40, 60))))
    assert counts(other) == (20, 10, 10, 0)
    assert len(await door.plays()) == 60
    names = [
        one.name
        for one in (await door.service.ListImports(pb.ListImportsRequest(parent="users/alice"), None)).imports
    ]
    assert names == [other.name, first.name]


async def test_a_stream_that_ends_early_goes_on_where_it_stopped(door: Door) -> None:
    data = big()
    whole = await Door.bring(door, data, user="bob")
    part = await door.stream(islice(requests(data), 2 * len(data) // 3 // 65_536))
    assert part.state == import_pb2.IMPORT_STATE_INTERRUPTED
    assert 0 < part.plays_imported < COUNT
    assert 0 < part.processed_bytes < len(data)
    done = await door.bring(data)
    assert done.name == part.name
    assert done.state == import_pb2.IMPORT_STATE_SUCCEEDED
    assert counts(done) == counts(whole) == (COUNT, COUNT, 0, 0)
    assert [play.uri for play in await door.plays(page_size=1000)] == [
        play.uri for play in await door.plays("bob", page_size=1000)
    ]


async def test_a_cancelled_call_leaves_an_interrupted_import(door: Door) -> None:
    data = big()
    arrived = asyncio.Event()

    async def stalling() -> AsyncIterator[pb.ImportHistoryRequest]:
        for message in islice(requests(data), 2 * len(data) // 3 // 65_536):
            yield message
        arrived.set()
        await asyncio.Event().wait()

    call = asyncio.create_task(door.stream(stalling()))
    await arrived.wait()
    (running,) = (await door.service.ListImports(pb.ListImportsRequest(parent="users/alice"), None)).imports
    assert running.state == import_pb2.IMPORT_STATE_RUNNING
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    (left,) = (await door.service.ListImports(pb.ListImportsRequest(parent="users/alice"), None)).imports
    assert left.state == import_pb2.IMPORT_STATE_INTERRUPTED
    assert counts(await door.bring(data)) == (COUNT, COUNT, 0, 0)


async def test_another_stream_of_the_same_file_takes_over(door: Door) -> None:
    data = document(*(exported(number) for number in range(100)))
    begun, proceed = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[pb.ImportHistoryRequest]:
        messages = iter(requests(data))
        yield next(messages)
        begun.set()
        await proceed.wait()
        for message in messages:
            yield message

    first = asyncio.create_task(door.stream(slow()))
    await begun.wait()
    await asyncio.sleep(0.2)  # the first stream has begun its import
    assert counts(await door.bring(data)) == (100, 100, 0, 0)
    proceed.set()
    assert (await fault_of(first)).name == "STATE_CONFLICT"
    assert len(await door.plays()) == 100


async def test_a_deletion_ends_a_running_import(door: Door) -> None:
    data = big()
    arrived, proceed = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[pb.ImportHistoryRequest]:
        messages = iter(requests(data))
        for message in islice(messages, 2 * len(data) // 3 // 65_536):
            yield message
        arrived.set()
        await proceed.wait()
        for message in messages:
            yield message

    call = asyncio.create_task(door.stream(slow()))
    await arrived.wait()
    await door.service.DeleteHistory(pb.DeleteHistoryRequest(name="users/alice/history"), None)
    proceed.set()
    assert (await fault_of(call)).name == "STATE_CONFLICT"
    assert await door.plays() == []


async def test_bytes_that_are_not_those_announced(door: Door) -> None:
    data = document(exported(0))
    wrong = await fault_of(door.bring(data, sha256=b"\1" * 32))
    assert wrong.name == "CONTENT_MISMATCH"
    (failed,) = (await door.service.ListImports(pb.ListImportsRequest(parent="users/alice"), None)).imports
    assert (failed.state, failed.failure_reason) == (import_pb2.IMPORT_STATE_FAILED, "CONTENT_MISMATCH")
    longer = await fault_of(door.bring(data, size=len(data) - 1, sha256=hashlib.sha256(data).digest()))
    assert longer.name == "CONTENT_MISMATCH"
    shorter = await door.bring(data, size=len(data) + 1, sha256=b"\2" * 32)
    assert shorter.state == import_pb2.IMPORT_STATE_INTERRUPTED


async def test_another_file_under_the_name_of_an_interrupted_one_loses_nothing(door: Door) -> None:
    data = big()
    digest = hashlib.sha256(data).digest()
    other = document(*(exported(number, ms_played=7) for number in range(COUNT)))
    part = await door.stream(
        islice(requests(other, sha256=digest, size=len(data)), 2 * len(other) // 3 // 65_536)
    )
    assert part.state == import_pb2.IMPORT_STATE_INTERRUPTED
    assert (await fault_of(door.bring(data))).name == "CONTENT_MISMATCH"
    done = await door.bring(data)
    assert done.state == import_pb2.IMPORT_STATE_SUCCEEDED
    assert counts(done) == (COUNT, COUNT, 0, 0)


async def test_gaps_and_wrong_checksums(door: Door) -> None:
    data = big()
    messages = list(requests(data))
    for broken in (messages[:1] + messages[2:], [messages[0], *_with_wrong_checksum(messages[1:])]):
        fault = await fault_of(door.stream(broken))
        assert fault.name == "CHUNK_INVALID"
    assert (await fault_of(door.stream(messages[1:]))).name == "REQUEST_INVALID"
    assert (await fault_of(door.stream([]))).name == "REQUEST_INVALID"
    assert (await fault_of(door.stream([messages[0], messages[0]]))).name == "REQUEST_INVALID"
    assert counts(await door.bring(data)) == (COUNT, COUNT, 0, 0)


def _with_wrong_checksum(messages: list[pb.ImportHistoryRequest]) -> list[pb.ImportHistoryRequest]:
    changed = pb.ImportHistoryRequest()
    changed.CopyFrom(messages[-1])
    changed.chunk.crc32c ^= 1
    return [*messages[:-1], changed]


async def test_archives(door: Door) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("MyData/ReadMeFirst.pdf", b"%PDF")
        archive.writestr("MyData/endsong_0.json", document(exported(0), exported(1)))
        archive.writestr(
            "MyData/Streaming_History_Audio_2021.json", document(exported(1), exported(2)) + b"x"
        )
        archive.writestr("../endsong_1.json", document(exported(5)))
    done = await door.bring(target.getvalue(), name="my_spotify_data.zip")
    assert counts(done) == (5, 3, 1, 1)
    assert list(done.ignored_entries) == ["MyData/ReadMeFirst.pdf", "../endsong_1.json"]
    assert [(r.entry, r.reason) for r in done.rejections] == [
        ("MyData/Streaming_History_Audio_2021.json", import_pb2.REJECTION_REASON_NOT_JSON)
    ]
    cut = await door.bring(target.getvalue()[:-500])
    assert cut.state == import_pb2.IMPORT_STATE_SUCCEEDED
    assert cut.truncated

    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("endsong_0.json", document(exported(9)))
        archive.writestr("endsong_1.json", b"[" + b" " * 30_000_000)
    fault = await fault_of(door.bring(bomb.getvalue()))
    assert (fault.name, fault.metadata) == ("ARCHIVE_REFUSED", {"entry": "endsong_1.json", "limit": "200"})
    (failed, *_) = (await door.service.ListImports(pb.ListImportsRequest(parent="users/alice"), None)).imports
    assert (failed.state, failed.failure_reason) == (import_pb2.IMPORT_STATE_FAILED, "ARCHIVE_REFUSED")
    assert failed.plays_imported == 1
    assert (await fault_of(door.bring(b"hello"))).name == "HISTORY_FORMAT_UNKNOWN"


async def test_a_file_that_is_too_large_or_one_too_many(door: Door, database: Database) -> None:
    small = Door(database, max_bytes=1_000, readers=1)
    refused = await fault_of(small.bring(b"[]", size=2 * 1024**3))
    assert (refused.name, refused.metadata["limit"]) == ("ARCHIVE_REFUSED", "1000")

    async def stalling() -> AsyncIterator[pb.ImportHistoryRequest]:
        yield next(iter(requests(b"[]")))
        await asyncio.Event().wait()

    call = asyncio.create_task(small.stream(stalling()))
    await asyncio.sleep(0.2)
    overloaded = await fault_of(small.bring(b"[ ]"))
    assert overloaded.name == "OVERLOADED"
    assert overloaded.retry_after
    call.cancel()
    await asyncio.wait([call])
    assert (await small.bring(b"[]")).state == import_pb2.IMPORT_STATE_SUCCEEDED
    await small.importing.close()


async def test_rejections_are_bounded_and_all_counted(door: Door) -> None:
    done = await door.bring(document(*(exported(number, ms_played=-1) for number in range(1_500))))
    assert done.plays_rejected == 1_500
    assert len(done.rejections) == 1_000
    (listed,) = (await door.service.ListImports(pb.ListImportsRequest(parent="users/alice"), None)).imports
    assert listed.plays_rejected == 1_500
    assert not listed.rejections


async def test_people_and_tenants_are_strangers(door: Door, database: Database) -> None:
    done = await door.bring(document(exported(0)))
    stranger = Door(database, "other")
    for request in (done.name, done.name.replace("alice", "bob"), "users/alice/imports/none"):
        asked = door if request != done.name else stranger
        assert (
            await fault_of(asked.service.GetImport(pb.GetImportRequest(name=request), None))
        ).name == "RESOURCE_NOT_FOUND"
    assert await stranger.plays() == []
    assert await door.plays("bob") == []
    assert (await stranger.profile()).plays == 0
    await stranger.bring(document(exported(0)))
    assert len(await door.plays()) == 1
    await stranger.importing.close()


async def test_pages_of_plays(door: Door) -> None:
    await door.bring(document(*(exported(number) for number in range(100))))
    whole = await door.plays(page_size=1000)
    assert await door.plays(page_size=7) == whole
    start, end = whole[10].end_time, whole[20].end_time
    assert await door.plays(page_size=3, start_time=start, end_time=end) == whole[10:20]
    half = Timestamp(seconds=start.seconds, nanos=1)
    assert (await door.plays(start_time=half))[0] == whole[11]
    page = await door.service.ListPlays(pb.ListPlaysRequest(parent="users/alice", page_size=5), None)
    again = pb.ListPlaysRequest(parent="users/bob", page_size=5, page_token=page.next_page_token)
    await door.bring(document(exported(0)), user="bob")
    assert (await fault_of(door.service.ListPlays(again, None))).name == "PAGE_TOKEN_INVALID"


async def test_a_silent_stream_gives_its_place_back(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Places are few: streams that never send what they announced must not hold them until their deadline."""
    monkeypatch.setattr(import_history, "CHUNK_SECONDS", 0.2)
    data = document(exported(1), exported(2))

    async def silent() -> AsyncIterator[pb.ImportHistoryRequest]:
        yield next(iter(requests(data)))
        await asyncio.sleep(30)

    with pytest.raises(Fault) as ended:
        await asyncio.wait_for(door.stream(silent()), 5)
    assert ended.value.name == "DEADLINE_EXCEEDED"
    assert (await door.bring(data)).plays_imported == 2
