"""Slowing down guesses at one account.

Every attempt is counted before the password is looked at, so that a hundred parallel guesses count as a
hundred. The account is named by the keyed index of the e-mail address that was typed, whether or not there
is such an account: otherwise the delay itself would tell which addresses exist. Delays are capped, so that
a stranger can slow an owner down but not lock them out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class DelayTerms:
    """`free` attempts at once; each further one waits twice as long, from `first` up to `longest`."""

    free: int
    first: timedelta
    longest: timedelta
    forget_after: timedelta


@dataclass(frozen=True, slots=True)
class Attempts:
    """The attempts at one account since the last success: how many, the last one, and when the next may
    come.
    """

    count: int
    last_at: datetime
    next_at: datetime


def allowed_at(attempts: Attempts | None, now: datetime) -> datetime | None:
    """When the next attempt may be made, or None when it may be made now."""
    return attempts.next_at if attempts is not None and now < attempts.next_at else None


def count_attempt(attempts: Attempts | None, now: datetime, terms: DelayTerms) -> Attempts:
    """The record after one more attempt at `now`."""
    stale = attempts is None or now - attempts.last_at >= terms.forget_after
    count = 1 if stale or attempts is None else attempts.count + 1
    beyond = count - terms.free
    if beyond < 0:
        return Attempts(count, now, now)
    # 2 ** 30 is beyond any cap: the shift is bounded so that the arithmetic cannot overflow.
    delay = min(terms.first * (1 << min(beyond, 30)), terms.longest)
    return Attempts(count, now, now + delay)
