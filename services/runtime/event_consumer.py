"""Reads events of other domains as one member of a consumer group."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from services.runtime.events import STREAM_PREFIX, Event, stream_of

BLOCK_SECONDS = 1.0
"""How long one read waits for news; a stop is noticed within this time."""
STALE_SECONDS = 15.0
"""When an event that was delivered but not acknowledged goes to another member, or again to this one."""
MAX_DELIVERIES = 10
"""An event whose handler has failed this often is set aside on the group's dead-letter stream."""
BATCH_EVENTS = 64

_log = logging.getLogger(__name__)

Handler = Callable[[Event], Awaitable[None]]


class EventConsumer:
    """Calls ``handler`` for each event of ``types``, at least once, and acknowledges it when the handler returns.

    ``group`` is the consuming domain: each event goes to one of its members. ``member`` names this process. A handler
    that raises gets the event again after :data:`STALE_SECONDS`; after :data:`MAX_DELIVERIES` it goes to the stream
    ``polyphony:events:dead:<group>``, so that one bad event does not hold up the rest.
    """

    def __init__(
        self, redis: Redis, *, group: str, member: str, types: Sequence[str], handler: Handler
    ) -> None:
        self._redis = redis
        self._group = group
        self._member = member
        self._streams = [stream_of(kind) for kind in types]
        self._handler = handler
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def dead_letters(self) -> str:
        """The stream of events that were given up."""
        return f"{STREAM_PREFIX}dead:{self._group}"

    def start(self) -> None:
        """Start consuming on the running loop; Redis may still be away."""
        self._stopping = False
        self._task = asyncio.create_task(self._run(), name=f"events of {self._group}")

    async def stop(self) -> None:
        """Finish the batch at hand, then end."""
        self._stopping = True
        if self._task is not None:
            await self._task
            self._task = None

    async def _run(self) -> None:
        pause = 0.2
        ready = False
        reclaimed = -STALE_SECONDS
        clock = asyncio.get_running_loop().time
        while not self._stopping:
            try:
                if not ready:
                    await self._join()
                    ready = True
                if clock() - reclaimed >= STALE_SECONDS / 3:
                    reclaimed = clock()
                    await self._reclaim()
                await self._read()
                pause = 0.2
            except Exception as error:
                # Whatever it is: a consumer that ended would be missed by nobody.
                defect = None if isinstance(error, RedisError | OSError) else error
                _log.warning("events of %s pause: %s", self._group, error, exc_info=defect)
                ready = False
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads retries
                pause = min(pause * 2, 10.0)

    async def _join(self) -> None:
        for stream in self._streams:
            # From the beginning: a consumer that starts late misses nothing that the stream still holds.
            with contextlib.suppress(ResponseError):  # BUSYGROUP: exists
                await self._redis.xgroup_create(stream, self._group, id="0", mkstream=True)

    async def _read(self) -> None:
        answer: Any = await self._redis.xreadgroup(
            self._group,
            self._member,
            dict.fromkeys(self._streams, ">"),
            count=BATCH_EVENTS,
            block=int(BLOCK_SECONDS * 1000),
        )
        for stream, entries in _by_stream(answer):
            for identifier, fields in entries:
                await self._handle(stream, identifier, fields)

    async def _reclaim(self) -> None:
        """Take over what a member, this one included, was given and has not acknowledged for a while."""
        for stream in self._streams:
            waiting: Any = await self._redis.xpending_range(
                stream, self._group, "-", "+", BATCH_EVENTS, idle=int(STALE_SECONDS * 1000)
            )
            for entry in waiting:
                identifier = entry["message_id"]
                claimed: Any = await self._redis.xclaim(
                    stream, self._group, self._member, int(STALE_SECONDS * 1000), [identifier]
                )
                for claimed_id, fields in claimed:
                    if fields is None:  # trimmed from the stream before anybody handled it
                        _log.error("an event of %s was trimmed before %s handled it", stream, self._group)
                        await self._redis.xack(stream, self._group, identifier)
                    elif entry["times_delivered"] >= MAX_DELIVERIES:
                        await self._bury(stream, claimed_id, fields)
                    else:
                        await self._handle(stream, claimed_id, fields)

    async def _handle(self, stream: str, identifier: bytes, fields: Mapping[bytes, bytes]) -> None:
        try:
            event = Event.of_fields(fields)
        except ValueError:
            await self._bury(stream, identifier, fields)
            return
        try:
            await self._handler(event)
        except Exception:
            _log.exception("event %s (%s) was not handled by %s", event.id, event.type, self._group)
            return
        await self._redis.xack(stream, self._group, identifier)

    async def _bury(self, stream: str, identifier: bytes, fields: Mapping[bytes, bytes]) -> None:
        _log.error("event %s of %s is given up by %s", identifier.decode(), stream, self._group)
        letter: dict[Any, Any] = {**fields, b"stream": stream.encode()}
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.xadd(self.dead_letters, letter, maxlen=10_000, approximate=True)
            pipeline.xack(stream, self._group, identifier)
            await pipeline.execute()


def _by_stream(answer: Any) -> list[tuple[str, list[tuple[bytes, Mapping[bytes, bytes]]]]]:
    """The entries of an XREADGROUP answer: a list of pairs in RESP2, a mapping to lists of lists in RESP3."""
    if not answer:
        return []
    if isinstance(answer, Mapping):
        return [
            (stream.decode(), [entry for part in parts for entry in part]) for stream, parts in answer.items()
        ]
    return [(stream.decode(), entries) for stream, entries in answer]
