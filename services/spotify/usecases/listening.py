"""List plays, and count them into a profile."""

from __future__ import annotations

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from services.spotify.model import Period, Play, Profile, Tally, Totals, by_month_and_hour, offsets, zone
from services.spotify.ports import Stores


def list_plays(stores: Stores, *, user: str, period: Period, size: int, token: str) -> tuple[list[Play], str]:
    """One page of plays, oldest first; none for a person without a history. Raises Fault PAGE_TOKEN_INVALID."""
    history = stores.histories.current(user)
    if history is not None:
        return stores.plays.page(history, period, size, token)
    if token:
        raise Fault(reason_pb2.REASON_PAGE_TOKEN_INVALID, field="page_token")
    return [], ""


def listening_profile(stores: Stores, *, user: str, period: Period, time_zone: str, top: int) -> Profile:
    """The profile of a period; zeros where nothing was played. Raises Fault REQUEST_INVALID for an unknown zone."""
    local = zone(time_zone)
    if local is None:
        raise Fault(
            reason_pb2.REASON_REQUEST_INVALID,
            "The time zone is not in the IANA database; it is written like `Europe/Paris`.",
            field="time_zone",
        )
    history = stores.histories.current(user)
    if history is None:
        return Profile(Totals(), [], [], [], [], [Tally()] * 24)
    totals, artists, tracks, albums = stores.profiles.favourites(history, period, top)
    if totals.first is None or totals.last is None:
        return Profile(totals, [], [], [], [], [Tally()] * 24)
    local_hours = stores.profiles.local_hours(history, period, offsets(local, totals.first, totals.last))
    months, hours = by_month_and_hour(local_hours)
    return Profile(totals, artists, tracks, albums, months, hours)
