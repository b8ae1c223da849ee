"""One element of Spotify's Extended Streaming History, old (`endsong_*`) and new (`Streaming_History_Audio_*`) form.

Only the fields named here become Python objects. `ip_addr`, `ip_addr_decrypted`, `user_agent_decrypted`, `username` and
`conn_country` are in the export too; the decoder skips over them, so that nothing behind it can store or log them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import msgspec

from services.spotify.model import (
    END_REASONS,
    Content,
    ContentKind,
    Platform,
    Play,
    PlayFlag,
    RejectionReason,
)

Text = Annotated[str, msgspec.Meta(max_length=1_024)]
"""A name, bounded as the contract bounds it. The longest podcast titles stay below 500."""

Uri = Annotated[str, msgspec.Meta(max_length=256)]

EARLIEST = int(datetime(2006, 4, 1, tzinfo=UTC).timestamp())
"""Spotify was founded in April 2006; exports contain 1970 where a device had lost its clock."""

CLOCK_SKEW = 86_400
"""How far a play may lie in the future of this machine's clock, in seconds."""

LONGEST_PLAY_MS = 7 * 86_400_000
"""Nothing that can be played lasts longer; a greater number is damage."""

UPLOADED_LATER = 120
"""An offline play whose end by the device's clock is longer ago than this, in seconds, was reported afterwards."""

MILLISECONDS_FROM = 100_000_000_000
"""`offline_timestamp` is in seconds in newer exports and in milliseconds in older ones. This number of seconds is the
year 5138, and of milliseconds March 1973: no real value of one kind can be taken for the other."""

MAX_REMEMBERED_CONTENTS = 50_000
"""How many contents are kept to be shared between plays. Enough for almost every listener, bounded for all."""


class ExportedPlay(msgspec.Struct, gc=False):
    """An element as Spotify writes it. Types are as strict as all known exports permit."""

    ts: Annotated[datetime, msgspec.Meta(tz=True)]
    ms_played: int
    platform: Text | None = None
    master_metadata_track_name: Text | None = None
    master_metadata_album_artist_name: Text | None = None
    master_metadata_album_album_name: Text | None = None
    spotify_track_uri: Uri | None = None
    episode_name: Text | None = None
    episode_show_name: Text | None = None
    spotify_episode_uri: Uri | None = None
    audiobook_title: Text | None = None
    audiobook_uri: Uri | None = None
    audiobook_chapter_uri: Uri | None = None
    audiobook_chapter_title: Text | None = None
    reason_end: Text | None = None
    shuffle: bool | None = None
    skipped: bool | None = None
    offline: bool | None = None
    offline_timestamp: int | float | None = None
    incognito_mode: bool | None = None


# Plain numbers: an enum's own operators would cost as much as the rest of the loop.
_SKIPPED, _SHUFFLE, _OFFLINE, _INCOGNITO = (
    int(flag) for flag in (PlayFlag.SKIPPED, PlayFlag.SHUFFLE, PlayFlag.OFFLINE, PlayFlag.INCOGNITO)
)
_FORWARD = END_REASONS.index("fwdbtn")
_END_REASONS = {word: code for code, word in enumerate(END_REASONS)}

# The first class whose word occurs in the lower-case device string; the order matters ("android_tv" is a TV).
_PLATFORM_WORDS: Sequence[tuple[str, Platform]] = (
    ("carplay", Platform.CAR),
    ("car_thing", Platform.CAR),
    ("android auto", Platform.CAR),
    ("automotive", Platform.CAR),
    ("tv", Platform.TV),
    ("chromecast", Platform.TV),
    ("roku", Platform.TV),
    ("playstation", Platform.CONSOLE),
    ("ps4", Platform.CONSOLE),
    ("ps5", Platform.CONSOLE),
    ("xbox", Platform.CONSOLE),
    ("watch", Platform.WEARABLE),
    ("wear os", Platform.WEARABLE),
    ("wearos", Platform.WEARABLE),
    ("garmin", Platform.WEARABLE),
    ("web_player", Platform.WEB),
    ("web player", Platform.WEB),
    ("sonos", Platform.SPEAKER),
    ("echo", Platform.SPEAKER),
    ("alexa", Platform.SPEAKER),
    ("speaker", Platform.SPEAKER),
    ("cast", Platform.SPEAKER),
    ("partner", Platform.SPEAKER),
    ("android", Platform.MOBILE),
    ("ios", Platform.MOBILE),
    ("iphone", Platform.MOBILE),
    ("ipad", Platform.MOBILE),
    ("windows", Platform.DESKTOP),
    ("os x", Platform.DESKTOP),
    ("osx", Platform.DESKTOP),
    ("macos", Platform.DESKTOP),
    ("linux", Platform.DESKTOP),
)


def platform_of(device: str) -> Platform:
    """The class of a device string such as `Android OS 4.4.2 API 19 (LGE, LG-D802)` or `web_player windows 10`."""
    lowered = device.lower()
    return next((kind for word, kind in _PLATFORM_WORDS if word in lowered), Platform.UNKNOWN)


def offline_start(value: float | None) -> int:
    """`offline_timestamp` in whole seconds since the epoch; 0 where it is null, zero or nonsense.

    Whole seconds, rounded down, so that an old export (milliseconds) and a new one (seconds) give the same play.
    """
    if not value or value < 0:
        return 0
    return int(value) // 1000 if value >= MILLISECONDS_FROM else int(value)


class PlayMaker:
    """Turns decoded elements into plays. One per import: it shares equal contents between plays.

    `now` is in seconds since the epoch.
    """

    def __init__(self, now: float) -> None:
        self._latest = int(now) + CLOCK_SKEW
        self._contents: dict[str, Content] = {}
        self._platforms: dict[str | None, int] = {None: 0}

    def make(self, exported: ExportedPlay) -> Play | RejectionReason:
        """The play, or why the element is none."""
        ms_played = exported.ms_played
        if not 0 <= ms_played <= LONGEST_PLAY_MS:
            return RejectionReason.LENGTH_INVALID
        ended_at = int(exported.ts.timestamp())
        flags = 0
        if exported.offline:
            flags = _OFFLINE
            ended_at = self._end_by_device_clock(exported.offline_timestamp, ms_played, ended_at)
        if not EARLIEST <= ended_at <= self._latest:
            return RejectionReason.TIME_INVALID
        content = self._contents.get(exported.spotify_track_uri or "") or self._content(exported)
        if content is None:
            return RejectionReason.CONTENT_MISSING
        platform = self._platforms.get(exported.platform)
        if platform is None:
            platform = self._platform(exported.platform)
        end_reason = _END_REASONS.get(exported.reason_end or "", 0)
        # Before 2022 the flag is mostly null; pressing "next" is what it meant.
        if exported.skipped or (exported.skipped is None and end_reason == _FORWARD):
            flags |= _SKIPPED
        if exported.shuffle:
            flags |= _SHUFFLE
        if exported.incognito_mode:
            flags |= _INCOGNITO
        return Play(content, ended_at, ms_played, end_reason, flags, platform)

    def _end_by_device_clock(self, offline_timestamp: float | None, ms_played: int, reported: int) -> int:
        """When an offline play ended. `ts` is when the server heard of it, `offline_timestamp` when it began on the
        device. Where the two agree, `ts` stands; a device clock that runs ahead of the server's, or from before Spotify
        existed, is not believed."""
        start = offline_start(offline_timestamp)
        ended_at = start + ms_played // 1000
        return ended_at if start >= EARLIEST and ended_at < reported - UPLOADED_LATER else reported

    def _content(self, exported: ExportedPlay) -> Content | None:
        content = content_of(exported)
        # Episodes and chapters carry no track URI; they are rare enough to be made anew each time.
        if content is not None and exported.spotify_track_uri:
            if len(self._contents) >= MAX_REMEMBERED_CONTENTS:
                self._contents.clear()
            self._contents[exported.spotify_track_uri] = content
        return content

    def _platform(self, device: str | None) -> int:
        kind = int(platform_of(device or ""))
        if len(self._platforms) < 1_000:
            self._platforms[device] = kind
        return kind


def content_of(exported: ExportedPlay) -> Content | None:
    """What was played; None where Spotify recorded neither a name nor a URI."""
    if exported.spotify_track_uri or exported.master_metadata_track_name:
        return Content(
            ContentKind.TRACK,
            exported.spotify_track_uri or "",
            exported.master_metadata_track_name or "",
            exported.master_metadata_album_artist_name or "",
            exported.master_metadata_album_album_name or "",
        )
    if exported.spotify_episode_uri or exported.episode_name:
        return Content(
            ContentKind.EPISODE,
            exported.spotify_episode_uri or "",
            exported.episode_name or "",
            exported.episode_show_name or "",
            "",
        )
    uri = exported.audiobook_chapter_uri or exported.audiobook_uri or ""
    chapter = exported.audiobook_chapter_title or ""
    book = exported.audiobook_title or ""
    if uri or chapter or book:
        return Content(ContentKind.AUDIOBOOK, uri, chapter, "", book)
    return None


FIELD_TO_BLAME = {
    RejectionReason.TIME_INVALID: "ts",
    RejectionReason.LENGTH_INVALID: "ms_played",
    RejectionReason.CONTENT_MISSING: "",
}
"""The field behind each reason that `PlayMaker.make` gives."""
