"""A pipe from a stream of chunks, on the event loop, to a reader that blocks, on a thread."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from queue import SimpleQueue

from services.spotify.model import NO_PREFIX, Prefix

CHUNKS_IN_FLIGHT = 8
"""How many chunks may wait: enough to keep the reader busy, and a bound on memory (8 x 256 KiB)."""


class StreamEnded(Exception):
    """The stream ended before the file did."""


class ContentChanged(Exception):
    """The bytes are not those of the attempt that is continued, or not those that the header announced."""


class ChunkPipe:
    """Put chunks on one side, iterate over them on the other; `prefix()` is what was taken out so far.

    A file that is sent again is compared with `expected`, the prefix that earlier attempts committed, on the way; where
    it differs, the reader's side raises ContentChanged.
    """

    def __init__(self, expected: Prefix = NO_PREFIX) -> None:
        self._loop = asyncio.get_running_loop()
        self._space = asyncio.Semaphore(CHUNKS_IN_FLIGHT)
        self._queue: SimpleQueue[bytes | Exception | None] = SimpleQueue()
        self._expected = expected
        self._digest = hashlib.sha256()
        self._size = 0

    async def put(self, chunk: bytes) -> None:
        """Hand over a chunk; waits while the reader is behind."""
        await self._space.acquire()
        self._queue.put(chunk)

    def end(self, error: Exception | None = None) -> None:
        """No chunk follows. With `error`, the reader's iteration raises it where its next chunk would be."""
        self._queue.put(error)

    def prefix(self) -> Prefix:
        """How much was taken out so far, and its digest. For the reader's thread."""
        return Prefix(self._size, self._digest.copy().digest())

    def __iter__(self) -> Iterator[bytes]:
        """The chunks, once, on the reader's thread."""
        while True:
            chunk = self._queue.get()
            if chunk is None:
                return
            if isinstance(chunk, Exception):
                # Whoever asks after the end is told the same.
                self._queue.put(chunk)
                raise chunk
            self._loop.call_soon_threadsafe(self._space.release)
            self._take(chunk)
            yield chunk

    def _take(self, chunk: bytes) -> None:
        compared = self._expected.size - self._size
        if 0 < compared <= len(chunk):
            self._digest.update(memoryview(chunk)[:compared])
            if self._digest.digest() != self._expected.sha256:
                raise ContentChanged
            self._digest.update(memoryview(chunk)[compared:])
        else:
            self._digest.update(chunk)
        self._size += len(chunk)
