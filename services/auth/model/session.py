"""Sessions: a family of refresh tokens that began with one log-in.

Rotation follows RFC 9700 4.14.2: each refresh token is used once, and the use of an old one ends the
family, because either the thief or the owner holds it and no one can tell which. A client whose answer got
lost, or two tabs that refresh at once, look the same as a thief for a moment; so within a grace window an
old token is answered again with the very successor it was answered with before. Nothing forks: one family,
one newest token.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, StrEnum

MAX_RECENT_ROTATIONS = 16
"""How many rotations a session remembers for the grace window, newest last. More than any honest client
makes.
"""


class EndReason(StrEnum):
    """Why a session was ended before its time."""

    LOGGED_OUT = "logged_out"
    TOKEN_REUSED = "token_reused"  # noqa: S105 - a reason, not a token


@dataclass(frozen=True, slots=True)
class Rotated:
    """Token `generation` was exchanged for its successor at `at`."""

    generation: int
    at: datetime


@dataclass(frozen=True, slots=True)
class SessionTerms:
    """How long sessions live. `idle` counts from the last rotation, `absolute` from the log-in."""

    idle: timedelta
    absolute: timedelta
    grace: timedelta


@dataclass(frozen=True, slots=True)
class Session:
    """One log-in and the refresh tokens that descend from it. `generation` is that of the newest token."""

    id: str
    tenant: str
    user: str
    generation: int
    token_hash: bytes
    authenticated_at: datetime
    refreshed_at: datetime
    expires_at: datetime
    recent: tuple[Rotated, ...] = ()
    ended_at: datetime | None = None
    ended_because: str = ""

    def is_live(self, now: datetime, terms: SessionTerms) -> bool:
        """Whether a refresh token of this family can still be used at `now`."""
        return self.ended_at is None and now < self.expires_at and now < self.refreshed_at + terms.idle


class Verdict(Enum):
    """What a presented refresh token, known to be authentic, deserves."""

    ADVANCE = "advance"  # the newest token: make its successor
    REPLAY = "replay"  # used moments ago: the same successor again
    REUSE = "reuse"  # used before: end the family
    ENDED = "ended"  # the session is over


def judge(session: Session, generation: int, now: datetime, terms: SessionTerms) -> Verdict:
    """What to do with the authentic token of `generation` that is presented at `now`."""
    if not session.is_live(now, terms):
        return Verdict.ENDED
    if generation == session.generation:
        return Verdict.ADVANCE
    for rotation in session.recent:
        if rotation.generation == generation and now - rotation.at <= terms.grace:
            return Verdict.REPLAY
    return Verdict.REUSE


def advance(session: Session, successor_hash: bytes, now: datetime, terms: SessionTerms) -> Session:
    """The session after its newest token was exchanged for the one whose hash is `successor_hash`."""
    kept = [rotation for rotation in session.recent if now - rotation.at <= terms.grace]
    kept.append(Rotated(session.generation, now))
    return replace(
        session,
        generation=session.generation + 1,
        token_hash=successor_hash,
        refreshed_at=now,
        recent=tuple(kept[-MAX_RECENT_ROTATIONS:]),
    )
