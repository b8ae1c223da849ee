"""What a person listens to, counted over a period."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_DAY = 86_400


class Period(NamedTuple):
    """Plays that ended at or after `start` and before `end`, in seconds since the epoch; None is open."""

    start: int | None = None
    end: int | None = None


class Offset(NamedTuple):
    """From `since` on (seconds since the epoch), local time is UTC plus `seconds`."""

    since: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Tally:
    """How many plays, and how long they took."""

    plays: int = 0
    ms_played: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.plays + other.plays, self.ms_played + other.ms_played)


@dataclass(frozen=True, slots=True)
class Favourite:
    """One row of a top list; `artist` is empty for an artist."""

    title: str
    artist: str
    tally: Tally


@dataclass(frozen=True, slots=True)
class Totals:
    """All plays of a period together; times are in seconds since the epoch, None where there is no play."""

    tally: Tally = Tally()
    distinct: int = 0
    skipped: int = 0
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """The profile of a period. `months` are `YYYY-MM`, oldest first, without gaps; `hours` are the 24 hours of the day.

    Both follow the clock of the time zone that was asked for.
    """

    totals: Totals
    artists: list[Favourite]
    tracks: list[Favourite]
    albums: list[Favourite]
    months: list[tuple[str, Tally]]
    hours: list[Tally]

    @property
    def skip_rate(self) -> float:
        """The share of plays that were skipped; 0 where there is none."""
        plays = self.totals.tally.plays
        return self.totals.skipped / plays if plays else 0.0


def zone(name: str) -> ZoneInfo | None:
    """The IANA time zone; empty means UTC. None where there is none of that name."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a name like a path, or of a folder
        return None


def offsets(of: ZoneInfo, first: int, last: int) -> list[Offset]:
    """The UTC offsets that hold between two instants, oldest first, exact to the second."""
    found = [Offset(first, _offset_at(of, first))]
    for day in range(first, last + _DAY, _DAY):
        following = min(day + _DAY, last + 1)
        if _offset_at(of, following) == found[-1].seconds:
            continue
        before, after = day, following
        while after - before > 1:
            middle = (before + after) // 2
            if _offset_at(of, middle) == found[-1].seconds:
                before = middle
            else:
                after = middle
        found.append(Offset(after, _offset_at(of, after)))
    return found


def _offset_at(of: ZoneInfo, instant: int) -> int:
    offset = datetime.fromtimestamp(instant, of).utcoffset() or timedelta()
    return int(offset.total_seconds())


def by_month_and_hour(local_hours: list[tuple[int, Tally]]) -> tuple[list[tuple[str, Tally]], list[Tally]]:
    """Tallies per hour of the local clock, counted since 1970, folded into months without gaps and hours of the day."""
    months: dict[tuple[int, int], Tally] = {}
    hours = [Tally()] * 24
    month_of_day: dict[int, tuple[int, int]] = {}
    for local_hour, tally in local_hours:
        day, hour = divmod(local_hour, 24)
        month = month_of_day.get(day)
        if month is None:
            date = datetime.fromtimestamp(day * _DAY, UTC)
            month = month_of_day[day] = (date.year, date.month)
        months[month] = months.get(month, Tally()) + tally
        hours[hour] += tally
    listed: list[tuple[str, Tally]] = []
    if months:
        (year, number), end = min(months), max(months)
        while (year, number) <= end:
            listed.append((f"{year:04d}-{number:02d}", months.get((year, number), Tally())))
            year, number = (year, number + 1) if number < 12 else (year + 1, 1)
    return listed, hours
