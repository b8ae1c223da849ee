"""What the use cases of compliance need from storage, and nothing more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from services.compliance.model import Decision
from services.compliance.tiles import TileStore


class Decisions(Protocol):
    """The append-only record of consent decisions of one tenant, inside one transaction."""

    def last(self, user: str, purpose: str) -> Decision | None:
        """The newest decision of a person on a purpose."""
        ...

    def append(self, decision: Decision) -> None:
        """Records a decision and announces it. Two decisions of one revision cannot both commit."""
        ...


@dataclass(frozen=True, slots=True)
class Leaf:
    """A record as the log stores it: ``encoded`` are the very bytes that are hashed.

    The two indexes are keyed digests by which the records about a person, or made by one, are found again.
    """

    id: str
    subject_index: bytes | None
    actor_index: bytes | None
    encoded: bytes


class Log(TileStore, Protocol):
    """One tenant's log inside one transaction."""

    def lock(self) -> int:
        """Takes the log for this transaction alone, and answers its size in records."""
        ...

    def known(self, ids: Sequence[str]) -> set[str]:
        """Which of these records the log has already."""
        ...

    def extend(self, size: int, leaves: Sequence[Leaf]) -> None:
        """Adds leaves behind the ``size`` there are."""
        ...
