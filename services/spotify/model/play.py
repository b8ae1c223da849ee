"""Plays and what was played.

A play's instant is the end of listening, in whole seconds since the epoch, UTC. Nothing here knows the listener's IP
address, user agent, country or Spotify user name: the export holds them, and the reader never makes them into objects.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

import msgspec


class ContentKind(IntEnum):
    """What kind of thing was played. The numbers are stored and those of the contract."""

    TRACK = 1
    EPISODE = 2
    AUDIOBOOK = 3


class Platform(IntEnum):
    """The class of device. The export's device strings name models and system versions; only the class is kept."""

    UNKNOWN = 0
    MOBILE = 1
    DESKTOP = 2
    WEB = 3
    SPEAKER = 4
    TV = 5
    CAR = 6
    CONSOLE = 7
    WEARABLE = 8


class PlayFlag(IntFlag):
    """How it was played. The bits are stored."""

    SKIPPED = 1
    SHUFFLE = 2
    OFFLINE = 4
    INCOGNITO = 8


END_REASONS = (
    "",
    "trackdone",
    "fwdbtn",
    "backbtn",
    "endplay",
    "logout",
    "remote",
    "clickrow",
    "clickside",
    "playbtn",
    "appload",
    "popup",
    "uriopen",
    "unexpected-exit",
    "unexpected-exit-while-paused",
    "trackerror",
    "unknown",
)
"""Why a play ended, in the export's words. The positions are stored: append only. Any other word is kept as ""."""


class Content(msgspec.Struct, frozen=True, gc=False):
    """One thing that can be played.

    `artist` is a track's album artist or an episode's show, and empty for an audiobook, whose export has no author;
    `album` is a track's album or the audiobook that a chapter is of. `uri` is Spotify's, or empty where the export has
    none (local files). A name is empty where the export has null: Spotify forgot it, and only the URI remains.
    """

    kind: ContentKind
    uri: str
    title: str
    artist: str
    album: str

    @property
    def key(self) -> str:
        """What makes two contents the same: the URI, or all names where there is none."""
        return self.uri or "\x1f".join((str(int(self.kind)), self.artist, self.album, self.title))


class Play(msgspec.Struct, gc=False):
    """One play. Two plays of one listener are the same when content, end and length are the same.

    `end_reason` is a position in `END_REASONS`, `flags` are `PlayFlag` bits, `platform` is a `Platform`.
    """

    content: Content
    ended_at: int
    ms_played: int
    end_reason: int
    flags: int
    platform: int
