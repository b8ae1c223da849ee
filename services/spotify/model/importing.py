"""The reading-in of one file: its states, its counts and its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from typing import NamedTuple

from services.spotify.model.export import BEGINNING, Portion, Position, Rejection, RejectionReason

MAX_REPORTED = 1_000
"""How many rejections, and how many ignored entries, an import lists. All of them are counted."""

STALLED_AFTER = timedelta(seconds=60)
"""An import that has not committed for this long has lost its stream: a killed process cannot say so itself."""


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
