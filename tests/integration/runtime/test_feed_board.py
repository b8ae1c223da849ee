"""The board of a feed, over both databases, as several workers use it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from services.runtime.feeds import SqlFeedBoard
from services.runtime.persistence import Database

MakeDatabase = Callable[..., Database]


async def test_workers_see_each_others_newest_line(make: MakeDatabase) -> None:
    one, two = make(), make()
    await one.start()
    await two.start()
    first, second, other_feed = (
        SqlFeedBoard(one, "consents"),
        SqlFeedBoard(two, "consents"),
        SqlFeedBoard(one, "authorization"),
    )
    await first.report(3)
    await first.report(5)
    await other_feed.report(9)
    assert await first.others() == {}
    (worker,) = await second.others()
    assert await second.others() == {worker: (2, 5)}

    async def report_often(board: SqlFeedBoard) -> None:
        for _ in range(5):
            await board.report(7)

    await asyncio.gather(report_often(first), report_often(second))
    assert list((await second.others()).values()) == [(7, 7)]
    assert list((await first.others()).values()) == [(5, 7)]

    await second.forget(worker)
    assert await second.others() == {}
    await first.report(8)
    assert await second.others() == {worker: (8, 8)}


async def test_another_run_is_another_worker(make: MakeDatabase) -> None:
    database = make()
    await database.start()
    await SqlFeedBoard(database, "consents").report(3)
    assert list((await SqlFeedBoard(database, "consents").others()).values()) == [(1, 3)]
