"""What the spotify domain needs from outside, as Protocols that the adapters fill."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from services.spotify.model import (
    BEGINNING,
    Favourite,
    History,
    Import,
    Offset,
    Period,
    Play,
    Portion,
    Position,
    Tally,
    Totals,
)

R = TypeVar("R")


class HistoryReader(Protocol):
    """Reads the file of an export as it arrives."""

    def read(self, chunks: Iterable[bytes], *, now: float, start: Position = BEGINNING) -> Iterator[Portion]:
        """The portions of a file from `start` on. Raises ExportRefused. `now` is in seconds since the epoch."""


@dataclass(slots=True)
class KnownContents:
    """The numbers of contents that one import has stored already, so that each is sealed and written once. Bounded."""

    numbers: dict[str, int] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)


class Histories(Protocol):
    """The histories of the transaction's tenant."""

    def current(self, user: str) -> History | None:
        """The person's history, unless it is deleted or was never begun."""

    def last_deleted(self, user: str) -> History | None:
        """The history that the person deleted last and that is not purged."""

    def begin(self, user: str) -> History:
        """A new, empty history; the person must have none that is not deleted."""

    def grow(self, history: int, plays: int) -> bool:
        """Count `plays` more; False where the history was deleted."""

    def delete(self, history: int, etag: str, keep: timedelta) -> History:
        """Hide it until `keep` has passed. Raises Fault ETAG_MISMATCH."""

    def undelete(self, history: int, etag: str) -> History:
        """Show it again. Raises Fault ETAG_MISMATCH."""

    def purge(self, rows: int) -> int:
        """Remove up to `rows` rows of histories whose purge time has come, in every tenant; 0 when nothing is left."""


class Imports(Protocol):
    """The imports of the transaction's tenant; those of a deleted history are hidden."""

    def get(self, user: str, identifier: str) -> Import | None:
        """One import of a person."""

    def find(self, history: int, sha256: bytes) -> Import | None:
        """The import of a file into a history."""

    def add(self, new: Import) -> None:
        """Store a new import."""

    def save(self, changed: Import) -> None:
        """Store what has changed."""

    def page(self, user: str, size: int, token: str) -> tuple[list[Import], str]:
        """One page of a person's imports, newest first and without their reports, and the token of the next.

        Raises Fault PAGE_TOKEN_INVALID.
        """


class Plays(Protocol):
    """The plays of the transaction's tenant."""

    def add(self, history: int, user: str, plays: Sequence[Play], known: KnownContents) -> int:
        """Store those that the history does not have yet, and say how many that were."""

    def page(self, history: History, period: Period, size: int, token: str) -> tuple[list[Play], str]:
        """One page of plays, oldest first, and the token of the next. Raises Fault PAGE_TOKEN_INVALID."""


class Profiles(Protocol):
    """Counts over the plays of a history, made by the database."""

    def favourites(
        self, history: History, period: Period, top: int
    ) -> tuple[Totals, list[Favourite], list[Favourite], list[Favourite]]:
        """The totals; and the artists, tracks and albums listened to longest, `top` of each."""

    def local_hours(
        self, history: History, period: Period, offsets: Sequence[Offset]
    ) -> list[tuple[int, Tally]]:
        """The tally of each hour of the local clock, counted since 1970, that has plays. `offsets` begins no later than
        the first play."""


class Events(Protocol):
    """Tells other domains what happened, when the transaction commits."""

    def import_completed(self, done: Import) -> None:
        """A file was read to its end."""

    def history_deleted(self, user: str) -> None:
        """A person deleted their history."""

    def history_undeleted(self, user: str) -> None:
        """A person brought their history back."""


@dataclass(frozen=True, slots=True)
class Stores:
    """Everything a use case works with, within one transaction that began at `now` (UTC)."""

    now: datetime
    histories: Histories
    imports: Imports
    plays: Plays
    profiles: Profiles
    events: Events


class Storage(Protocol):
    """Runs use cases in transactions of the caller's tenant."""

    async def read(self, work: Callable[[Stores], R]) -> R:
        """Run `work` in a reading transaction."""

    async def write(self, work: Callable[[Stores], R]) -> R:
        """Run `work` in a writing transaction, which is committed when this returns."""
