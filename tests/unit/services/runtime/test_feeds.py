"""Feeds under virtual time: delays, lost connections, stalled links, drifting clocks, several workers."""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.runtime.feeds import Ack, Feed, FeedFollower, NotAcknowledged, Update


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of sleeping, moves the clock to when the next timer is due."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "deadlock: nothing is due and nothing can happen"
            self.now += max(timeout, 0.0)
        return ready


def simulate(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end in virtual time."""
    selector = _JumpingSelector()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now  # type: ignore[method-assign]
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main)


class Database:
    """The committed state that the workers share: its value is its version."""

    def __init__(self) -> None:
        self.head = 0
        self.board: dict[str, tuple[int, int]] = {}

    def commit(self) -> int:
        self.head += 1
        return self.head


class Reader:
    """One worker's connection to the database: slow, and cut off at times. It forgets old changes."""

    def __init__(self, database: Database, dice: random.Random, worker: str = "0") -> None:
        self.database, self.dice, self.worker = database, dice, worker
        self.cut = False
        self._count = 0

    async def _travel(self) -> None:
        await asyncio.sleep(self.dice.uniform(0, 0.05))
        if self.cut:
            raise ConnectionError("no route to the database")

    async def version(self) -> int:
        await self._travel()
        head = self.database.head
        await self._travel()
        return head

    async def snapshot(self) -> tuple[int, int]:
        await self._travel()
        head = self.database.head
        await self._travel()
        return head, head

    async def changes_after(self, version: int) -> list[tuple[int, int]]:
        await self._travel()
        head = self.database.head
        await self._travel()
        if head - version > 3:
            return []
        return [(v, v) for v in range(version + 1, head + 1)]

    async def report(self, acknowledged: int) -> None:
        await self._travel()
        self._count += 1
        self.database.board[self.worker] = (self._count, acknowledged)

    async def others(self) -> dict[str, tuple[int, int]]:
        await self._travel()
        return {w: line for w, line in self.database.board.items() if w != self.worker}

    async def forget(self, worker: str) -> None:
        await self._travel()
        self.database.board.pop(worker, None)


class Link:
    """A follower's way to an authority: ordered, delayed, and sometimes a black hole that neither end can see."""

    def __init__(self, dice: random.Random, authorities: Callable[[], Feed[int, int]]) -> None:
        self.dice, self.authorities = dice, authorities
        self.lost = 0.0

    def connect(self, acks: AsyncIterator[Ack]) -> AsyncGenerator[Update[int, int], None]:
        return self._connect(acks)

    async def _connect(self, acks: AsyncIterator[Ack]) -> AsyncGenerator[Update[int, int], None]:
        hole = self.dice.random() < self.lost
        lifetime = asyncio.get_running_loop().time() + self.dice.uniform(0.1, 20.0) if hole else float("inf")
        down: asyncio.Queue[Update[int, int] | None] = asyncio.Queue()

        async def lossy(source: AsyncIterator[Any]) -> AsyncIterator[Any]:
            async for item in source:
                await asyncio.sleep(self.dice.choice([0, 0.001, 0.05, 0.4]))
                if asyncio.get_running_loop().time() < lifetime:
                    yield item

        async def serve() -> None:
            with suppress(Exception):
                async for update in self.authorities().serve(lossy(acks)):
                    await down.put(update)
            await down.put(None)

        async def received() -> AsyncIterator[Update[int, int]]:
            while (update := await down.get()) is not None:
                yield update

        task = asyncio.create_task(serve())
        try:
            async for update in lossy(received()):
                yield update
        finally:
            # What a follower gives up is noticed by the authority at once, late, or never.
            asyncio.get_running_loop().call_later(self.dice.choice([0.0, 1.0, 30.0]), task.cancel)


def follower(link: Link, name: str, clock: Callable[[], float]) -> FeedFollower[int, int]:
    """A follower whose state is a number that must equal its version."""
    made: FeedFollower[int, int] = FeedFollower(
        link.connect, name=name, replace=lambda _: None, apply=lambda _: None, clock=clock
    )
    return made


async def _watch(followers: list[FeedFollower[int, int]], confirmed: list[int], answers: list[int]) -> None:
    """Let every follower answer a hundred times a second; none may answer from before what was confirmed."""
    while True:
        for each in followers:
            if each.fresh:
                answers[0] += 1
                assert each.version >= confirmed[0], (
                    f"{each.name} answered {each.version} after {confirmed[0]} was confirmed"
                )
        await asyncio.sleep(0.01)


async def _scenario(seed: int, workers: int, lost: float) -> None:
    dice = random.Random(seed)
    loop = asyncio.get_running_loop()
    database = Database()
    readers = [Reader(database, dice, str(n)) for n in range(workers)]
    feeds: list[Feed[int, int]] = [Feed(r, board=r if workers > 1 else None) for r in readers]
    tasks = [asyncio.create_task(feed.run()) for feed in feeds]
    link = Link(dice, lambda: dice.choice(feeds))
    link.lost = lost
    followers = []
    for number in range(4):
        rate = dice.uniform(0.996, 1.004)
        followers.append(follower(link, f"f{number}", lambda rate=rate: loop.time() * rate))  # type: ignore[misc]
    tasks += [asyncio.create_task(f.run()) for f in followers]
    confirmed, answers = [0], [0]
    watch = asyncio.create_task(_watch(followers, confirmed, answers))
    try:
        for _ in range(25):
            await asyncio.sleep(dice.choice([0.0, 0.1, 2.0, 5.0]))
            for reader in readers:
                reader.cut = workers > 1 and dice.random() < 0.15
            version = database.commit()
            with suppress(NotAcknowledged, ConnectionError):
                await dice.choice(feeds).publish(version)
                confirmed[0] = max(confirmed[0], version)
            if watch.done():
                break
        assert not watch.done() or watch.exception() is None, str(watch.exception())
        assert answers[0] > 100, "the followers were hardly ever fresh, so nothing was tested"
        assert confirmed[0] > 5, "hardly any change was confirmed, so nothing was tested"
    finally:
        for task in [*tasks, watch]:
            task.cancel()
        await asyncio.gather(*tasks, watch, return_exceptions=True)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), lost=st.sampled_from([0.0, 0.4, 0.9]))
def test_nobody_answers_from_before_a_confirmed_change(seed: int, lost: float) -> None:
    simulate(_scenario(seed, 1, lost))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), lost=st.sampled_from([0.0, 0.4]))
def test_nobody_answers_from_before_a_change_confirmed_by_another_worker(seed: int, lost: float) -> None:
    simulate(_scenario(seed, 3, lost))


async def _one(
    lost: float = 0.0,
) -> tuple[Database, Feed[int, int], FeedFollower[int, int], Link, list[asyncio.Task[None]]]:
    database, dice = Database(), random.Random(1)
    feed: Feed[int, int] = Feed(Reader(database, dice))
    link = Link(dice, lambda: feed)
    link.lost = lost
    one = follower(link, "one", asyncio.get_running_loop().time)
    tasks = [asyncio.create_task(feed.run()), asyncio.create_task(one.run())]
    await one.ready(10)
    return database, feed, one, link, tasks


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_a_change_is_confirmed_as_soon_as_the_follower_has_it() -> None:
    async def main() -> None:
        database, feed, one, _, tasks = await _one()
        await asyncio.sleep(5)
        began = asyncio.get_running_loop().time()
        await feed.publish(database.commit())
        assert one.version == 1
        assert one.fresh
        assert asyncio.get_running_loop().time() - began < 1.5
        await _end(tasks)

    simulate(main())


def test_a_follower_that_leaves_is_not_waited_for() -> None:
    async def main() -> None:
        database, feed, one, link, tasks = await _one()
        await asyncio.sleep(5)
        link.dice = random.Random(4)
        tasks[1].cancel()
        await asyncio.wait({tasks[1]})
        assert not one.fresh
        await asyncio.sleep(0.5)
        began = asyncio.get_running_loop().time()
        await feed.publish(database.commit())
        assert asyncio.get_running_loop().time() - began < 0.3
        await _end(tasks)

    simulate(main())


def test_a_follower_goes_stale_when_the_authority_stops() -> None:
    async def main() -> None:
        _, _, one, _, tasks = await _one()
        tasks[0].cancel()
        await asyncio.sleep(1.0)
        assert one.fresh
        await asyncio.sleep(6.0)
        assert not one.fresh
        await _end(tasks)

    simulate(main())


def test_a_restarted_authority_waits_for_those_who_followed_its_predecessor() -> None:
    async def main() -> None:
        database, feed, _, link, tasks = await _one()
        await asyncio.sleep(5)
        link.lost = 1.0
        successor: Feed[int, int] = Feed(Reader(database, random.Random(2)))
        tasks.append(asyncio.create_task(successor.run()))
        began = asyncio.get_running_loop().time()
        await successor.publish(database.commit())
        assert asyncio.get_running_loop().time() - began >= 3.0
        assert feed.head <= 1
        await _end(tasks)

    simulate(main())


def test_a_change_that_cannot_be_applied_is_never_acknowledged() -> None:
    async def main() -> None:
        database, feed, one, _, tasks = await _one()

        def refuse(_: int) -> None:
            raise ValueError("cannot")

        one._apply = refuse  # what a defect in a domain would do
        one._replace = refuse
        await asyncio.sleep(4)
        await feed.publish(database.commit())
        assert not one.fresh
        await _end(tasks)

    simulate(main())


def test_waiting_is_bounded() -> None:
    async def main() -> None:
        database, feed, _, link, tasks = await _one()
        link.lost = 1.0
        with pytest.raises(NotAcknowledged):
            await feed.publish(database.commit() + 1, within=0.05)
        await _end(tasks)

    simulate(main())
