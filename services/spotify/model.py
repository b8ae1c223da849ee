"""What a listening history is: plays, what was played, and the import that brought them.

A play's instant is the end of listening, in whole seconds since the epoch, UTC. Nothing here knows the listener's IP
address, user agent, country or Spotify user name: the export holds them, and the reader never makes them into objects.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum, IntFlag
from typing import NamedTuple

import msgspec

MAX_REPORTED = 1_000
"""How many rejections, and how many ignored entries, an import lists. All of them are counted."""

STALLED_AFTER = timedelta(seconds=60)
"""An import that has not committed for this long has lost its stream: a killed process cannot say so itself."""


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


class RejectionReason(IntEnum):
    """Why an element of an export is not a play. The numbers are stored and those of the contract."""

    NOT_JSON = 1
    TIME_INVALID = 2
    LENGTH_INVALID = 3
    CONTENT_MISSING = 4
    TYPE_INVALID = 5
    ENCODING_INVALID = 6
    TRUNCATED = 7


class Rejection(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One element of an export that is no play. It never quotes a value, because an export holds IP addresses.

    `entry` is the file inside the archive (empty for a plain JSON file), `line` counts from 1 (0: the archive itself is
    cut off), `field` is the one to blame, as the export calls it (empty: the whole element).
    """

    entry: str
    line: int
    reason: RejectionReason
    field: str = ""


class Position(NamedTuple):
    """How far an import is committed: everything before element `element` (from 0) of the archive's entry `entry`
    (from 0; a plain JSON file is entry 0)."""

    entry: int = 0
    element: int = 0


BEGINNING = Position()


class Portion(msgspec.Struct, gc=False):
    """What the reader made of one stretch of an export: every element is a play or a rejection.

    `position` is where the next portion begins; `ignored` names archive entries that were left unread.
    """

    position: Position
    plays: list[Play]
    rejections: list[Rejection]
    ignored: list[str]


class Refusal(IntEnum):
    """Why the rest of an export is refused."""

    FORMAT_UNKNOWN = 1
    ARCHIVE_REFUSED = 2


class ExportRefused(Exception):
    """The rest of an export cannot be read. What was yielded before is good and stays.

    `entry` names the file inside the archive, if one is to blame; `limit` is the limit that was crossed, if any.
    """

    def __init__(self, refusal: Refusal, message: str, *, entry: str = "", limit: int = 0) -> None:
        self.refusal = refusal
        self.message = message
        self.entry = entry
        self.limit = limit
        super().__init__(message)


class ImportState(IntEnum):
    """What state an import is in. The numbers are stored and those of the contract."""

    RUNNING = 1
    SUCCEEDED = 2
    FAILED = 3
    INTERRUPTED = 4


@dataclass(slots=True)
class Counts:
    """Elements read = plays imported + duplicates + rejected elements."""

    read: int = 0
    imported: int = 0
    duplicate: int = 0
    rejected: int = 0


class Prefix(NamedTuple):
    """The first `size` bytes of a file and their SHA-256: proves that a file sent again is the same one so far."""

    size: int = 0
    sha256: bytes = b""


NO_PREFIX = Prefix()


@dataclass(slots=True)
class Import:
    """The reading-in of one file, identified by its content: the same file again is the same import.

    `attempt` counts the streams that carried it; only the newest may commit. `position` and `prefix` are its
    checkpoint, which moves in the transaction that stores the plays before it.
    """

    id: str
    user: str
    history: int
    file_name: str
    sha256: bytes
    size_bytes: int
    create_time: datetime
    update_time: datetime
    state: ImportState = ImportState.RUNNING
    attempt: int = 1
    position: Position = BEGINNING
    prefix: Prefix = NO_PREFIX
    counts: Counts = field(default_factory=Counts)
    rejections: list[Rejection] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    truncated: bool = False
    failure: str = ""

    def state_at(self, now: datetime) -> ImportState:
        """The state as it is at `now`: a running import whose stream is long gone is interrupted."""
        if self.state is ImportState.RUNNING and now - self.update_time > STALLED_AFTER:
            return ImportState.INTERRUPTED
        return self.state

    def take_up(self, now: datetime) -> None:
        """Go on with a new stream. After a failure it begins again, because what failed may not have been the file."""
        if self.state is ImportState.FAILED:
            self.position, self.prefix, self.counts = BEGINNING, NO_PREFIX, Counts()
            self.rejections, self.ignored, self.truncated, self.failure = [], [], False, ""
        self.state = ImportState.RUNNING
        self.attempt += 1
        self.update_time = now

    def advance(self, portion: Portion, imported: int, prefix: Prefix, now: datetime) -> None:
        """Account for a portion of which `imported` plays were new."""
        plays, rejected = len(portion.plays), len(portion.rejections)
        self.counts.read += plays + rejected
        self.counts.imported += imported
        self.counts.duplicate += plays - imported
        self.counts.rejected += rejected
        self.rejections += portion.rejections[: MAX_REPORTED - len(self.rejections)]
        self.ignored += portion.ignored[: MAX_REPORTED - len(self.ignored)]
        self.truncated = self.truncated or any(
            r.reason is RejectionReason.TRUNCATED for r in portion.rejections
        )
        self.position, self.prefix, self.update_time = portion.position, prefix, now

    def end(self, state: ImportState, now: datetime, failure: str = "") -> None:
        """Close this attempt. `failure` is the ErrorInfo reason of a failed one."""
        self.state, self.failure, self.update_time = state, failure, now


@dataclass(frozen=True, slots=True)
class History:
    """All that a person imported."""

    user: str
    play_count: int
    update_time: datetime
    delete_time: datetime | None
    purge_time: datetime | None
    etag: str
