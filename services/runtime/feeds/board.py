"""The board of a feed in the database that its workers share."""

from __future__ import annotations

from sqlalchemy import delete, insert, select, update

from interceptors.ids import new_id
from services.runtime.persistence import SYSTEM, Database, Transaction
from services.runtime.persistence.tables import feed_workers as table


class SqlFeedBoard:
    """Fills the FeedBoard port. Each process run is another worker, so that one that was restarted waits for the leases
    which its predecessor granted."""

    def __init__(self, database: Database, feed: str) -> None:
        self._database = database
        self._feed = feed
        self._worker = new_id()
        self._counter = 0

    async def report(self, acknowledged: int) -> None:
        """Replace this worker's line."""
        self._counter += 1
        line = {"counter": self._counter, "acknowledged": acknowledged}

        def write(tx: Transaction) -> None:
            own = (table.c.feed == self._feed) & (table.c.worker == self._worker)
            if tx.connection.execute(update(table).where(own).values(line)).rowcount == 0:
                tx.connection.execute(insert(table).values(feed=self._feed, worker=self._worker, **line))

        await self._database.write(write, tenant=SYSTEM, aside=True)

    async def others(self) -> dict[str, tuple[int, int]]:
        """The lines of the other workers."""
        query = select(table.c.worker, table.c.counter, table.c.acknowledged).where(
            table.c.feed == self._feed, table.c.worker != self._worker
        )
        rows = await self._database.read(lambda tx: tx.connection.execute(query).all(), tenant=SYSTEM)
        return {worker: (counter, acknowledged) for worker, counter, acknowledged in rows}

    async def forget(self, worker: str) -> None:
        """Remove the line of a worker that was found dead."""
        dead = delete(table).where(table.c.feed == self._feed, table.c.worker == worker)
        await self._database.write(lambda tx: tx.connection.execute(dead).rowcount, tenant=SYSTEM, aside=True)
