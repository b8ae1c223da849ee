"""What reading an export gives: portions of plays and rejections, or a refusal of the rest."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import msgspec

from services.spotify.model.play import Play


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
