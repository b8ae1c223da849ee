"""An import by the code of the spotify domain, in a process of its own: `python -m bench.history_process FILE FOLDER`.

What the service would do, without the road and the network: chunks in, plays in a database in FOLDER. Done twice: a new
process shows what memory an import takes, a warm one, as services are, what time. Then the file is only read, to tell
what of that is reading. Prints JSON.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec

from bench.processes import PeakMemory
from cli.demo.upload import CHUNK_BYTES
from interceptors.ids import new_id
from services.runtime.keyring import Keyring
from services.runtime.persistence import Database
from services.spotify.adapters.export.reader import ExportReader
from services.spotify.adapters.storage import SqlStorage
from services.spotify.model import ImportState
from services.spotify.usecases.import_history import FileHeader, ImportHistory
from services.spotify.wiring import MIGRATIONS

TENANT, USER = "01a2076a-9f81-750a-b4aa-000000000000", "01a2076a-9f81-750a-b4aa-8a56d2ca644d"


class Imported(msgspec.Struct):
    """What an import took: plays that were new, seconds by the clock and of a core, bytes of memory at the peak."""

    plays: int
    seconds: float
    core_seconds: float
    peak_growth: int


class Found(msgspec.Struct):
    """A whole import, and its reading alone."""

    importing: Imported
    reading: Imported


def open_database(folder: Path) -> Database:
    """The domain's database, not started."""
    return Database(
        f"sqlite:///{folder}/spotify.db",
        domain="spotify",
        keyring=Keyring([bytes(32)]),
        migrations=MIGRATIONS,
    )


async def import_file(file: Path, folder: Path) -> Imported:
    """Import `file` into a new database in `folder`."""
    database = open_database(folder)
    await database.start()
    importing = ImportHistory(SqlStorage(database, TENANT), ExportReader(), max_bytes=1 << 30, readers=2)
    header = _header(file)
    gc.collect()
    gc.freeze()
    memory, began, spent = PeakMemory(), time.perf_counter(), time.process_time()
    done = await importing(header, new_id(), _chunks(file), time.time())
    seconds, spent, growth = time.perf_counter() - began, time.process_time() - spent, memory.growth
    await importing.close()
    await database.close()
    if done.state is not ImportState.SUCCEEDED or done.counts.rejected:
        raise RuntimeError(f"the import ended as {done.state.name}, {done.counts}")
    return Imported(done.counts.imported, seconds, spent, growth)


def _header(file: Path) -> FileHeader:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").digest()
    return FileHeader(USER, file.name, file.stat().st_size, digest)


def read_file(file: Path) -> Imported:
    """Read `file` and store nothing."""
    began, spent, plays = time.perf_counter(), time.process_time(), 0
    for portion in ExportReader().read(_pieces(file), now=time.time()):
        plays += len(portion.plays)
    return Imported(plays, time.perf_counter() - began, time.process_time() - spent, 0)


async def _chunks(file: Path) -> AsyncIterator[bytes]:
    for piece in _pieces(file):
        yield piece


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while piece := stream.read(CHUNK_BYTES):
            yield piece


def main() -> None:
    """Import twice, read once, and print what it took: the memory of the first import, the time of the second."""
    file, folder = Path(sys.argv[1]), Path(sys.argv[2])
    for name in ("first", "second"):
        (folder / name).mkdir()
    first = asyncio.run(import_file(file, folder / "first"))
    second = asyncio.run(import_file(file, folder / "second"))
    second.peak_growth = first.peak_growth
    print(msgspec.json.encode(Found(second, read_file(file))).decode())


if __name__ == "__main__":
    main()
