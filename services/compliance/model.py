"""Consent as it is: purposes, the notices shown for them, an append-only record of every decision, and what
follows.

Nothing here is ever overwritten. A person's current state is derived from their last decision and the
current notice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

DEFAULT_LANGUAGE = "en"


@dataclass(frozen=True, slots=True)
class Wording:
    """A notice in one language: a title, and one or two sentences a person without a lawyer understands."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Notice:
    """What people are told before they decide on a purpose. A version once published never changes."""

    purpose: str
    version: int
    wordings: Mapping[str, Wording]

    def __post_init__(self) -> None:
        if DEFAULT_LANGUAGE not in self.wordings:
            raise ValueError(f"the notice of {self.purpose!r} has no wording in {DEFAULT_LANGUAGE!r}")

    def language(self, wanted: str) -> str:
        """The best language the notice has for a BCP 47 tag: the tag's own, its primary one, or English."""
        primary = wanted.replace("_", "-").split("-", 1)[0].lower()
        return primary if primary in self.wordings else DEFAULT_LANGUAGE

    def digest(self, language: str) -> str:
        """SHA-256, in lower-case hex, of the title, a line feed and the text, in UTF-8: what a person read.

        Raises ``KeyError`` for a language the notice lacks.
        """
        wording = self.wordings[language]
        return hashlib.sha256(f"{wording.title}\n{wording.text}".encode()).hexdigest()


class Catalogue:
    """All notices, oldest first within a purpose; the last of a purpose is the current one.

    Raises ``ValueError`` when the versions of a purpose are not 1, 2, 3, ....
    """

    def __init__(self, *notices: Notice) -> None:
        self._versions: dict[str, list[Notice]] = {}
        for notice in notices:
            versions = self._versions.setdefault(notice.purpose, [])
            if notice.version != len(versions) + 1:
                raise ValueError(f"notice {notice.version} of {notice.purpose!r} follows {len(versions)}")
            versions.append(notice)

    def __iter__(self) -> Iterator[Notice]:
        """The current notice of every purpose, in the order of declaration."""
        return (versions[-1] for versions in self._versions.values())

    def __contains__(self, purpose: object) -> bool:
        return purpose in self._versions

    def current(self, purpose: str) -> Notice:
        """The notice to show now. Raises ``KeyError`` for a purpose nobody is asked about."""
        return self._versions[purpose][-1]


class Choice(Enum):
    """What a person decided."""

    GRANTED = "granted"
    WITHDRAWN = "withdrawn"


class State(Enum):
    """What a person's decisions amount to today."""

    GRANTED = "granted"
    WITHDRAWN = "withdrawn"
    OUTDATED = "outdated"
    """Granted, but the notice has changed since: they are asked again; until then nothing is permitted."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One entry of the append-only record: who decided what, when, and what exactly they had been shown.

    ``revision`` counts a person's decisions on one purpose from 1. ``actor`` is the user id, or the service
    that acted on the person's behalf. A withdrawal repeats the notice of the grant it ends.
    """

    id: str
    user: str
    purpose: str
    revision: int
    choice: Choice
    notice_version: int
    notice_language: str
    notice_digest: str
    time: datetime
    actor: str


def state_of(last: Decision, catalogue: Catalogue) -> State:
    """What a person's last decision on a purpose amounts to today."""
    if last.choice is Choice.WITHDRAWN:
        return State.WITHDRAWN
    if last.purpose not in catalogue or last.notice_version != catalogue.current(last.purpose).version:
        return State.OUTDATED
    return State.GRANTED


class ConsentError(Exception):
    """A decision that cannot be recorded as asked."""


class NotAsked(ConsentError):
    """Nobody is asked about this purpose: it rests on another ground than consent."""


class NoticeOutdated(ConsentError):
    """The notice shown is not the current one, so that what was agreed to is not what would be done."""

    def __init__(self, purpose: str, shown: int, current: int) -> None:
        super().__init__(f"notice {shown} of {purpose} was shown, the current one is {current}")
        self.purpose, self.shown, self.current = purpose, shown, current


class LanguageNotOffered(ConsentError):
    """The notice does not exist in the language it is said to have been shown in."""


class NeverDecided(ConsentError):
    """There is no consent to withdraw."""
