"""The authority's half of a feed."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from services.runtime.feeds.messages import Ack, Beat, Change, Delta, Snapshot, State, Update

_LOG = logging.getLogger(__name__)
_REMEMBERED_CHANGES = 4096


class NotAcknowledged(TimeoutError):
    """The time given to `wait_acknowledged` ended before every follower had acknowledged or lost its lease."""


State_co = TypeVar("State_co", covariant=True)
Change_co = TypeVar("Change_co", covariant=True)


class FeedSource(Protocol[State_co, Change_co]):
    """Where the versioned state lives. Versions grow by commit order: whoever changes the state takes the next version
    inside the change's transaction, under a row that stays locked until the commit, so that none appears late."""

    async def version(self) -> int:
        """The newest committed version; cheap, asked five times a second."""

    async def snapshot(self) -> tuple[int, State_co]:
        """The whole state and its version, from one consistent read."""

    async def changes_after(self, version: int) -> Sequence[tuple[int, Change_co]]:
        """Every change after `version`, oldest first; may be empty where they are no longer known, in which case
        followers get a snapshot."""


class FeedBoard(Protocol):
    """Where the workers of one authority tell each other how far their followers are; in their common database."""

    async def report(self, acknowledged: int) -> None:
        """Replace this worker's line: a growing counter, and the version that all its live leases have reached."""

    async def others(self) -> dict[str, tuple[int, int]]:
        """The lines of the other workers: worker -> (counter, acknowledged). An earlier run of this
        one is another."""

    async def forget(self, worker: str) -> None:
        """Remove the line of a worker that was found dead."""


@dataclass(slots=True)
class _Lease:
    """What the authority believes of one follower. `until` bounds from above when the follower stops answering."""

    until: float = float("-inf")
    acknowledged: int = 0
    stream: int = 0


@dataclass(slots=True, eq=False)
class _Stream:
    follower: str = ""
    number: int = 0
    sequence: int = 0
    received: float = 0.0
    echoed: int = 0
    ended: bool = False
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class Feed(Generic[State, Change]):
    """Pushes the state of `source` to followers and knows when all of them have it. All times in seconds."""

    def __init__(
        self,
        source: FeedSource[State, Change],
        *,
        lease: float = 3.0,
        heartbeat: float = 0.5,
        poll: float = 0.2,
        board: FeedBoard | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._source = source
        self._promise = lease
        self._lease = (
            lease * 1.01 + 0.01
        )  # what is booked: longer than what is promised, for two clocks may drift
        self._heartbeat = heartbeat
        self._poll = poll
        self._board = board
        self._clock = clock or (lambda: asyncio.get_running_loop().time())
        self._head = 0
        self._loaded = False
        self._changes: deque[Delta[Change]] = deque(maxlen=_REMEMBERED_CHANGES)
        self._leases: dict[str, _Lease] = {}
        self._streams: set[_Stream] = set()
        self._numbers = 0
        self._moved = asyncio.Condition()
        self._refreshing = asyncio.Lock()
        self._predecessor_until = float("inf")
        self._grants_until = float("-inf")
        self._reported = (-1, float("-inf"))
        self._peers: dict[str, tuple[int, float]] = {}

    @property
    def head(self) -> int:
        """The newest version known here."""
        return self._head

    @property
    def followers(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    async def run(self) -> None:
        """Keep up with the database until cancelled; nothing is granted while this does not run."""
        if self._predecessor_until == float("inf"):
            self._predecessor_until = self._clock() + self._lease
        while True:
            try:
                began = self._clock()
                await self.refresh()
                if self._board is None or await self._report(self._board, began):
                    self._grants_until = began + self._lease
            except Exception:
                _LOG.exception("a feed cannot read its state; followers go stale until it can")
            self._prune()
            await asyncio.sleep(self._poll)

    async def refresh(self) -> int:
        """Read what was committed since the last time and send it. Returns the newest version."""
        async with self._refreshing:
            newest = await self._source.version()
            if newest != self._head or not self._loaded:
                changes = (
                    await self._source.changes_after(self._head)
                    if self._loaded and newest > self._head
                    else ()
                )
                if not changes:
                    self._changes.clear()  # cannot be told as changes: every stream gets a snapshot
                    self._head = newest
                for version, change in changes:
                    self._changes.append(Delta(self._head, version, change))
                    self._head = version
                self._loaded = True
                for stream in self._streams:
                    stream.wake.set()
            return self._head

    async def publish(self, version: int, within: float | None = None) -> None:
        """Send the change committed as `version` and return when no follower answers from before it.

        `within` bounds the wait; by default it is as long as the leases need. Raises `NotAcknowledged`: the change
        is committed then, and followers will have it, but some may still answer from the old state."""
        await self.refresh()
        await self.wait_acknowledged(version, within)

    async def wait_acknowledged(self, version: int, within: float | None = None) -> None:
        """Return when every follower has reached `version` or can no longer answer. Raises `NotAcknowledged`."""
        limit = 4 * self._lease + 4 * self._heartbeat if within is None else within
        try:
            async with asyncio.timeout(limit):
                await self._wait_for_own(version)
                if self._board is not None:
                    await self._wait_for_others(self._board, version)
        except TimeoutError:
            raise NotAcknowledged(f"version {version} was not acknowledged within {limit:.1f} s") from None

    async def serve(self, acks: AsyncIterator[Ack]) -> AsyncGenerator[Update[State, Change], None]:
        """Serve one follower: yields what it must apply, in order, until its stream ends."""
        self._numbers += 1
        stream = _Stream(number=self._numbers)
        reader = asyncio.create_task(self._read(stream, acks))
        self._streams.add(stream)
        version: int | None = None
        next_beat = self._clock()
        try:
            while not stream.ended:
                stream.wake.clear()
                if version != self._head:
                    for update in await self._missing(version):
                        yield update
                        version = update.version
                if self._clock() >= next_beat and version == self._head and self._may_grant(stream):
                    # The echo is booked before it is sent: never later than the follower can count on it.
                    self._grant(stream)
                    yield Beat(version, stream.echoed, self._promise)
                    next_beat = self._clock() + self._heartbeat
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, next_beat - self._clock()) or self._poll):
                        await stream.wake.wait()
                if stream.echoed == 0 and stream.sequence > 1:
                    next_beat = self._clock()  # the first grant is not worth waiting for
            await reader
        finally:
            self._streams.discard(stream)
            reader.cancel()

    async def _missing(self, version: int | None) -> Sequence[Snapshot[State] | Delta[Change]]:
        if version is not None:
            known = [delta for delta in self._changes if delta.version > version]
            if known and known[0].previous == version:
                return known
        at, state = await self._source.snapshot()
        return [Snapshot(at, state)]

    async def _read(self, stream: _Stream, acks: AsyncIterator[Ack]) -> None:
        try:
            async for ack in acks:
                async with self._moved:
                    lease = self._leases.setdefault(ack.follower, _Lease())
                    stream.follower = ack.follower
                    if ack.leaving:
                        lease.until, stream.ended = float("-inf"), True
                    if lease.stream <= stream.number:
                        # Only the newest stream of a follower says what it has: an older one may arrive late.
                        lease.stream, lease.acknowledged = stream.number, ack.version
                    stream.sequence, stream.received = ack.sequence, self._clock()
                    self._moved.notify_all()
                stream.wake.set()
        finally:
            stream.ended = True
            stream.wake.set()

    async def _report(self, board: FeedBoard, now: float) -> bool:
        """Write this worker's line when it changed or is growing old. True where it was written."""
        reached = self._reached()
        if reached == self._reported[0] and now - self._reported[1] < self._heartbeat:
            return False
        await board.report(reached)
        self._reported = (reached, now)
        await self._living(board)  # begins to count the silence of dead ones before anybody waits for it
        return True

    def _may_grant(self, stream: _Stream) -> bool:
        """Only to a follower that has applied what it was sent: its second message answers the snapshot."""
        return stream.sequence > 1 and self._clock() <= self._grants_until

    def _grant(self, stream: _Stream) -> None:
        stream.echoed = stream.sequence
        if stream.follower:
            lease = self._leases.setdefault(stream.follower, _Lease())
            lease.until = max(lease.until, stream.received + self._lease)

    def _reached(self) -> int:
        """The version that every live lease of this worker has reached."""
        now = self._clock()
        return min(
            (lease.acknowledged for lease in self._leases.values() if lease.until > now), default=self._head
        )

    def _prune(self) -> None:
        open_followers = {stream.follower for stream in self._streams}
        now = self._clock()
        for name in [
            n for n, lease in self._leases.items() if lease.until <= now and n not in open_followers
        ]:
            del self._leases[name]

    async def _wait_for_own(self, version: int) -> None:
        while True:
            async with self._moved:
                now = self._clock()
                waiting = [
                    x.until for x in self._leases.values() if x.until > now and x.acknowledged < version
                ]
                if self._predecessor_until > now and self._board is None:
                    waiting.append(self._predecessor_until)
                if not waiting:
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(min(waiting) - now, self._heartbeat) + 0.001):
                        await self._moved.wait()

    async def _wait_for_others(self, board: FeedBoard, version: int) -> None:
        # What is waited for is another process's.
        while any(reached < version for reached in await self._living(board)):  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    async def _living(self, board: FeedBoard) -> list[int]:
        """What the other workers have reached; without those that have been silent for so long that no lease which they
        may have granted still lasts. Such a worker grants again only after it has written a new line."""
        silence = 2 * self._lease + self._poll
        now = self._clock()
        reached = []
        for worker, (counter, acknowledged) in (await board.others()).items():
            known = self._peers.get(worker)
            if known is None or known[0] != counter:
                known = self._peers[worker] = (counter, now)
            if now - known[1] > silence:
                await board.forget(worker)
                self._peers.pop(worker, None)
            else:
                reached.append(acknowledged)
        return reached
