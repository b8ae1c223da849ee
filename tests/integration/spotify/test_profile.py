"""The listening profile, against a count by hand."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from interceptors.faults import Fault
from tests.integration.spotify.conftest import Door, document, exported

NOBODY = dict.fromkeys(
    ("master_metadata_track_name", "master_metadata_album_artist_name", "master_metadata_album_album_name")
)


def elements() -> list[dict[str, Any]]:
    """Four months of plays in uneven steps, with podcasts, unknown tracks and a silent month."""
    found = [exported(number * number // 3) for number in range(1, 231)]
    found += [
        exported(40_000 + n, **NOBODY, spotify_track_uri=None, episode_name="One", episode_show_name="Show")
        for n in range(3)
    ]
    found.append(exported(40_010, **NOBODY, spotify_track_uri="spotify:track:unknown", ms_played=99_000_000))
    return found


def instant(element: dict[str, Any]) -> datetime:
    return datetime.strptime(element["ts"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


@pytest.mark.parametrize("zone", ["", "Europe/Paris", "Asia/Kathmandu", "America/New_York", "Pacific/Apia"])
async def test_months_and_hours_follow_the_clock_of_the_zone(door: Door, zone: str) -> None:
    played = elements()
    await door.bring(document(*played))
    profile = await door.profile(time_zone=zone)
    months: Counter[str] = Counter()
    hours: defaultdict[int, int] = defaultdict(int)
    for element in played:
        local = instant(element).astimezone(ZoneInfo(zone or "UTC"))
        months[f"{local:%Y-%m}"] += 1
        hours[local.hour] += element["ms_played"]
    assert {month.month: month.plays for month in profile.months if month.plays} == dict(months)
    listed = [month.month for month in profile.months]
    assert listed == sorted(listed)
    assert (listed[0], listed[-1]) == (min(months), max(months))
    assert len(listed) > len(months)  # the silent month is there, too
    assert [hour.ToMilliseconds() for hour in profile.hours_of_day] == [hours[hour] for hour in range(24)]


async def test_totals_and_favourites(door: Door) -> None:
    played = elements()
    await door.bring(document(*played))
    profile = await door.profile(top_size=5)
    assert profile.plays == len(played)
    assert profile.listened.ToMilliseconds() == sum(element["ms_played"] for element in played)
    assert profile.skip_rate == pytest.approx(sum(element["skipped"] for element in played) / len(played))
    assert profile.first_play_time.ToDatetime(UTC) == min(map(instant, played))
    assert profile.last_play_time.ToDatetime(UTC) == max(map(instant, played))
    artists: Counter[str] = Counter()
    albums: Counter[tuple[str, str]] = Counter()
    tracks: Counter[str] = Counter()
    for element in played:
        if element["spotify_track_uri"]:
            title, artist, album = (element[field] for field in NOBODY)
            tracks[title or element["spotify_track_uri"]] += element["ms_played"]
            if artist:
                artists[artist] += element["ms_played"]
                albums[album, artist] += element["ms_played"]

    def told(items: Any) -> list[int]:
        return [item.listened.ToMilliseconds() for item in items]

    assert told(profile.top_artists) == [length for _, length in artists.most_common(5)]
    assert {
        item.title: item.listened.ToMilliseconds() for item in profile.top_artists
    }.items() <= artists.items()
    assert told(profile.top_tracks) == [length for _, length in tracks.most_common(5)]
    assert profile.top_tracks[0].title == "spotify:track:unknown"
    assert told(profile.top_albums) == [length for _, length in albums.most_common(5)]
    assert all(
        albums[item.title, item.artist] == item.listened.ToMilliseconds() for item in profile.top_albums
    )
    assert profile.distinct_items == len({element["spotify_track_uri"] for element in played})


async def test_a_period(door: Door) -> None:
    played = elements()
    await door.bring(document(*played))
    start, end = Timestamp(seconds=1_578_000_000), Timestamp(seconds=1_579_000_000)
    profile = await door.profile(start_time=start, end_time=end)
    expected = [element for element in played if start.seconds <= instant(element).timestamp() < end.seconds]
    assert 0 < len(expected) < len(played)
    assert profile.plays == len(expected) == sum(month.plays for month in profile.months)
    nothing = await door.profile(end_time=Timestamp(seconds=1_200_000_000))
    assert (nothing.plays, nothing.skip_rate, len(nothing.hours_of_day), len(nothing.months)) == (0, 0, 24, 0)
    assert not nothing.HasField("first_play_time")


async def test_an_unknown_time_zone(door: Door) -> None:
    for zone in ("Mars/Olympus", "../etc/passwd", "/etc/passwd", "Europe"):
        with pytest.raises(Fault, match="REQUEST_INVALID") as raised:
            await door.profile(time_zone=zone)
        assert raised.value.fields[0].path == "time_zone"


@pytest.mark.parametrize("seconds", [2**63 - 1, -(2**63)])
async def test_a_period_beyond_all_time_is_a_period(door: Door, seconds: int) -> None:
    await door.bring(document(exported(1)))
    edge = Timestamp(seconds=seconds, nanos=1)
    for request, kept in (({"start_time": edge}, seconds < 0), ({"end_time": edge}, seconds > 0)):
        assert len(await door.plays(**request)) == kept
        assert (await door.profile(**request)).plays == kept
