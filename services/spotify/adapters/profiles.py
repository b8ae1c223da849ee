"""The counts behind a profile, made by the database over numbers; only the names of the winners are opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import nlargest
from typing import Any

from sqlalchemy import and_, case, func, literal, select

from services.runtime.persistence import Transaction
from services.spotify.adapters.contents import SqlContents
from services.spotify.adapters.plays import within
from services.spotify.adapters.tables import ContentRow, PlayRow
from services.spotify.model import (
    Content,
    ContentKind,
    Favourite,
    History,
    Offset,
    Period,
    PlayFlag,
    Tally,
    Totals,
)


class SqlProfiles:
    """See `ports.Profiles`."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def favourites(
        self, history: History, period: Period, top: int
    ) -> tuple[Totals, list[Favourite], list[Favourite], list[Favourite]]:
        """The totals; and the artists, tracks and albums listened to longest, `top` of each."""
        rows = self._by_content(history, period)
        totals = Totals(
            tally=Tally(sum(row.plays for row in rows), sum(row.played for row in rows)),
            distinct=len(rows),
            skipped=sum(row.skipped for row in rows),
            first=min((row.first for row in rows), default=None),
            last=max((row.last for row in rows), default=None),
        )
        tracks = [row for row in rows if row.kind == ContentKind.TRACK]
        best = {
            "artist": _longest(tracks, "artist", top),
            "content": _longest(tracks, "content", top),
            "album": _longest(tracks, "album", top),
        }
        winners = {number for ranking in best.values() for number, _ in ranking}
        contents = SqlContents(self._tx, history.id, history.user).open(winners)

        def named(ranking: str, name: Callable[[Content], tuple[str, str]]) -> list[Favourite]:
            return [Favourite(*name(contents[number]), tally) for number, tally in best[ranking]]

        return (
            totals,
            named("artist", lambda content: (content.artist, "")),
            named("content", lambda content: (content.title or content.uri, content.artist)),
            named("album", lambda content: (content.album, content.artist)),
        )

    def local_hours(
        self, history: History, period: Period, offsets: Sequence[Offset]
    ) -> list[tuple[int, Tally]]:
        """The tally of each hour of the local clock, counted since 1970, that has plays."""
        shift: Any = literal(offsets[0].seconds)
        if len(offsets) > 1:
            # The newest first: most listening is recent, and the first branch that holds ends the search.
            shift = case(
                *((PlayRow.ended_at >= offset.since, offset.seconds) for offset in reversed(offsets[1:])),
                else_=offsets[0].seconds,
            )
        local_hour = ((PlayRow.ended_at + shift) // 3600).label("local_hour")
        statement = (
            select(local_hour, func.count(), func.sum(PlayRow.ms_played))
            .where(*within(history, period))
            .group_by(local_hour)
        )
        return [
            (hour, Tally(plays, int(played))) for hour, plays, played in self._tx.session.execute(statement)
        ]

    def _by_content(self, history: History, period: Period) -> Sequence[Any]:
        counted = (
            select(
                PlayRow.content,
                func.count().label("plays"),
                func.sum(PlayRow.ms_played).label("played"),
                func.sum(PlayRow.flags.bitwise_and(int(PlayFlag.SKIPPED))).label("skipped"),
                func.min(PlayRow.ended_at).label("first"),
                func.max(PlayRow.ended_at).label("last"),
            )
            .where(*within(history, period))
            .group_by(PlayRow.content)
            .subquery()
        )
        joined = and_(ContentRow.history == history.id, ContentRow.number == counted.c.content)
        # The mapped class stands first: it makes this an ORM statement, which the tenant criterion needs.
        statement = select(ContentRow.kind, ContentRow.artist, ContentRow.album, counted).join(
            counted, joined
        )
        return self._tx.session.execute(statement).all()


def _longest(rows: Sequence[Any], group: str, top: int) -> list[tuple[int, Tally]]:
    """The groups listened to longest, each as the number of one content of it and its tally; ties by that number."""
    tallies: dict[int, Tally] = {}
    examples: dict[int, int] = {}
    for row in rows:
        key = getattr(row, group)
        if key is not None:
            tallies[key] = tallies.get(key, Tally()) + Tally(row.plays, int(row.played))
            examples.setdefault(key, row.content)
    best = nlargest(top, tallies.items(), key=lambda item: (item[1].ms_played, item[1].plays, item[0]))
    return [(examples[key], tally) for key, tally in best]
