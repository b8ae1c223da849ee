"""What the use cases of compliance need from storage, and nothing more."""

from __future__ import annotations

from typing import Protocol

from services.compliance.model import Decision


class Decisions(Protocol):
    """The append-only record of consent decisions of one tenant, inside one transaction."""

    def last(self, user: str, purpose: str) -> Decision | None:
        """The newest decision of a person on a purpose."""
        ...

    def append(self, decision: Decision) -> None:
        """Records a decision and announces it. Two decisions of one revision cannot both commit."""
        ...
