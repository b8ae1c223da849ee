"""Read a streamed file into a history: batch by batch, each with its checkpoint, resumable at any moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from interceptors.faults import Fault, reason_name
from polyphony.errors.v1 import reason_pb2
from services.spotify.model import ExportRefused, Import, ImportState, Portion, Prefix, Refusal
from services.spotify.ports import HistoryReader, KnownContents, Storage
from services.spotify.usecases.chunk_pipe import ChunkPipe, ContentChanged, StreamEnded
from services.spotify.usecases.imports import advance_import, begin_import, end_import

BATCH_ELEMENTS = 10_000
"""Elements per transaction: few enough to show progress and to let other writers in, enough to make commits cheap."""

BATCH_SECONDS = 5.0
"""A smaller batch is stored when this much time has passed, so that a slow upload shows progress, too."""

CHUNK_SECONDS = 60.0
"""How long the next chunk may take to arrive. Places among the readers are few, so a silent stream loses its own."""


class FileHeader(NamedTuple):
    """What the sender says of a file."""

    user: str
    file_name: str
    size_bytes: int
    sha256: bytes


class _Batch(NamedTuple):
    """A stretch of the file for one transaction, and the prefix of the file that it was read from."""

    portion: Portion
    prefix: Prefix


class ImportHistory:
    """Carries a stream of chunks into the storage.

    `readers` bounds how many files are read at once; `max_bytes` is the largest file accepted.
    """

    def __init__(self, storage: Storage, reader: HistoryReader, *, max_bytes: int, readers: int) -> None:
        self._storage = storage
        self._reader = reader
        self._max_bytes = max_bytes
        self._threads = ThreadPoolExecutor(readers, thread_name_prefix="export-reader")
        self._places = asyncio.Semaphore(readers)

    async def __call__(
        self, header: FileHeader, identifier: str, chunks: AsyncIterator[bytes], now: float
    ) -> Import:
        """The import as it stands when the stream has ended: SUCCEEDED, or INTERRUPTED where the file had not.

        `identifier` names the import if it is a new one; `now` is in seconds since the epoch. `chunks` must follow each
        other without gaps. Raises Fault ARCHIVE_REFUSED, HISTORY_FORMAT_UNKNOWN, CONTENT_MISMATCH (the import is then
        FAILED, and what was committed before stays), STATE_CONFLICT, and whatever `chunks` raises.
        """
        if header.size_bytes > self._max_bytes:
            raise Fault(
                reason_pb2.REASON_ARCHIVE_REFUSED,
                f"The file is larger than {self._max_bytes} bytes.",
                field="header.size_bytes",
                metadata={"limit": str(self._max_bytes)},
            )
        if self._places.locked():
            raise Fault(
                reason_pb2.REASON_OVERLOADED, "As many files are being read as may be.", retry_after=5.0
            )
        async with self._places:
            begun = await self._storage.write(
                lambda stores: begin_import(
                    stores,
                    user=header.user,
                    identifier=identifier,
                    file_name=header.file_name,
                    sha256=header.sha256,
                    size_bytes=header.size_bytes,
                )
            )
            if begun.state is ImportState.SUCCEEDED:
                return begun
            return await self._carry(begun, chunks, now)

    async def close(self) -> None:
        """Let the threads end."""
        await asyncio.to_thread(self._threads.shutdown)

    async def _carry(self, begun: Import, chunks: AsyncIterator[bytes], now: float) -> Import:
        pipe = ChunkPipe(begun.prefix)
        feeding = asyncio.create_task(_feed(chunks, pipe, begun.size_bytes))
        try:
            return await self._store(begun, pipe, now)
        except (ContentChanged, ExportRefused) as error:
            fault = _fault(error)
            await self._end(begun, ImportState.FAILED, reason_name(fault.reason))
            raise fault from error
        except StreamEnded:
            return await self._end(begun, ImportState.INTERRUPTED)
        except BaseException:
            # A broken stream, a withdrawn consent, a stop. Where even this cannot be stored, the import is seen to have
            # stalled; the first error is the one to tell.
            with suppress(Fault):
                await self._end(begun, ImportState.INTERRUPTED)
            raise
        finally:
            feeding.cancel()
            pipe.end(StreamEnded())  # frees the reader's thread, whatever it waits for

    async def _store(self, begun: Import, pipe: ChunkPipe, now: float) -> Import:
        loop = asyncio.get_running_loop()
        batches = _batches(self._reader, pipe, begun, now)
        known = KnownContents()
        following = loop.run_in_executor(self._threads, next, batches, None)
        while (batch := await following) is not None:
            # The next batch is read while this one is written.
            following = loop.run_in_executor(self._threads, next, batches, None)
            try:
                await self._storage.write(
                    partial(
                        advance_import, begun=begun, portion=batch.portion, prefix=batch.prefix, known=known
                    )
                )
            except BaseException:
                pipe.end(StreamEnded())
                with suppress(Exception):
                    await following
                raise
        return await self._end(begun, ImportState.SUCCEEDED)

    async def _end(self, begun: Import, state: ImportState, failure: str = "") -> Import:
        return await self._storage.write(lambda stores: end_import(stores, begun, state, failure))


async def _feed(chunks: AsyncIterator[bytes], pipe: ChunkPipe, size: int) -> None:
    """Move the stream into the pipe and say how it ended. Bytes beyond the announced size are another file."""
    received = 0
    try:
        while (chunk := await _next(chunks)) is not None:
            received += len(chunk)
            if received > size:
                pipe.end(ContentChanged())
                return
            await pipe.put(chunk)
    except Exception as error:
        pipe.end(error)
        return
    pipe.end(StreamEnded() if received < size else None)


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    try:
        async with asyncio.timeout(CHUNK_SECONDS):
            return await anext(chunks, None)
    except TimeoutError:
        raise Fault(
            reason_pb2.REASON_DEADLINE_EXCEEDED,
            f"No chunk arrived for {CHUNK_SECONDS:.0f} seconds; send the file again and it goes on from there.",
        ) from None


def _batches(reader: HistoryReader, pipe: ChunkPipe, begun: Import, now: float) -> Iterator[_Batch]:
    """What the reader gives, in batches, on the reader's thread. What was read before an error is a batch, too."""
    chunks = iter(pipe)
    gathered: Portion | None = None
    ended: Exception | None = None
    stored = time.monotonic()
    try:
        for portion in reader.read(chunks, now=now, start=begun.position):
            if gathered is None:
                gathered = portion
            else:
                gathered.position = portion.position
                gathered.plays += portion.plays
                gathered.rejections += portion.rejections
                gathered.ignored += portion.ignored
            full = len(gathered.plays) + len(gathered.rejections) >= BATCH_ELEMENTS
            if full or time.monotonic() - stored > BATCH_SECONDS:
                yield _Batch(gathered, pipe.prefix())
                gathered, stored = None, time.monotonic()
        for _ in chunks:  # what follows an archive's last entry belongs to the digest, too
            pass
        if pipe.prefix() != (begun.size_bytes, begun.sha256):
            raise ContentChanged
    except Exception as error:
        ended = error
    if gathered is not None and not isinstance(ended, ContentChanged):
        yield _Batch(gathered, pipe.prefix())
    if ended is not None:
        raise ended


def _fault(error: ContentChanged | ExportRefused) -> Fault:
    if isinstance(error, ContentChanged):
        return Fault(reason_pb2.REASON_CONTENT_MISMATCH, "The bytes are not those that the header describes.")
    metadata = {"entry": error.entry, "limit": str(error.limit) if error.limit else ""}
    return Fault(
        reason_pb2.REASON_HISTORY_FORMAT_UNKNOWN
        if error.refusal is Refusal.FORMAT_UNKNOWN
        else reason_pb2.REASON_ARCHIVE_REFUSED,
        error.message,
        metadata={name: value for name, value in metadata.items() if value},
    )
