"""Plays in the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from services.runtime.persistence import Transaction
from services.spotify.adapters.contents import MAX_KNOWN, SqlContents
from services.spotify.adapters.tables import PlayRow
from services.spotify.model import History, Period, Play
from services.spotify.ports import KnownContents

COLUMNS = ("history", "ended_at", "content", "ms_played", "end_reason", "flags", "platform")


class SqlPlays:
    """See `ports.Plays`."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def add(self, history: int, user: str, plays: Sequence[Play], known: KnownContents) -> int:
        """Store those that the history does not have yet, and say how many that were."""
        contents = SqlContents(self._tx, history, user)
        numbers = known.numbers
        fresh: dict[str, int] = {}
        new_contents: list[tuple[Any, ...]] = []
        rows = []
        for play in plays:
            content = play.content
            number = numbers.get(content.uri or content.key)
            if number is None:
                number = contents.number(content, known, fresh, new_contents)
            rows.append(
                (history, play.ended_at, number, play.ms_played, play.end_reason, play.flags, play.platform)
            )
        contents.store(new_contents)
        added = self._tx.bulk_insert(PlayRow, rows, columns=COLUMNS) if rows else 0

        def remember() -> None:
            # Only what is committed is known: a transaction that is rolled back takes its contents with it.
            if len(numbers) + len(fresh) > MAX_KNOWN:
                numbers.clear()
            numbers.update(fresh)

        self._tx.on_commit(remember)
        return added

    def page(self, history: History, period: Period, size: int, token: str) -> tuple[list[Play], str]:
        """One page of plays, oldest first, and the token of the next."""
        page = self._tx.page(
            select(PlayRow).where(*within(history, period)),
            by=[PlayRow.ended_at, PlayRow.content, PlayRow.ms_played],
            size=size,
            token=token,
            bound=(history.user, *period),
        )
        contents = SqlContents(self._tx, history.id, history.user).open(row.content for row in page.items)
        plays = [
            Play(contents[row.content], row.ended_at, row.ms_played, row.end_reason, row.flags, row.platform)
            for row in page.items
        ]
        return plays, page.next_page_token


def within(history: History, period: Period) -> list[Any]:
    """The conditions for the plays of a history in a period."""
    conditions = [PlayRow.history == history.id]
    if period.start is not None:
        conditions.append(PlayRow.ended_at >= period.start)
    if period.end is not None:
        conditions.append(PlayRow.ended_at < period.end)
    return conditions
