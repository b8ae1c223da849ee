"""Refresh rotation: the rules, over generated histories."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auth.model.session import (
    MAX_RECENT_ROTATIONS,
    Session,
    SessionTerms,
    Verdict,
    advance,
    judge,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
TERMS = SessionTerms(idle=timedelta(days=30), absolute=timedelta(days=90), grace=timedelta(seconds=30))


def session() -> Session:
    return Session(
        id="f", tenant="t", user="u", generation=0, token_hash=b"0", authenticated_at=START,
        refreshed_at=START, expires_at=START + TERMS.absolute,
    )  # fmt: skip


def test_the_newest_token_advances() -> None:
    assert judge(session(), 0, START, TERMS) is Verdict.ADVANCE


@pytest.mark.parametrize(
    ("seconds", "verdict"), [(0, Verdict.REPLAY), (30, Verdict.REPLAY), (31, Verdict.REUSE)]
)
def test_an_old_token_is_replayed_within_grace_only(seconds: int, verdict: Verdict) -> None:
    rotated = advance(session(), b"1", START, TERMS)
    assert judge(rotated, 0, START + timedelta(seconds=seconds), TERMS) is verdict


def test_a_token_from_the_future_of_the_family_is_reuse() -> None:
    # Authentic, yet not the newest: the row was rolled back or restored, and no one can tell who holds the family.
    assert judge(session(), 5, START, TERMS) is Verdict.REUSE


@pytest.mark.parametrize(
    ("change", "at"),
    [
        ({"ended_at": START}, START + timedelta(seconds=1)),
        ({}, START + TERMS.idle),
        ({"refreshed_at": START + TERMS.absolute}, START + TERMS.absolute),
    ],
)
def test_an_ended_idle_or_old_session_is_over(change: dict[str, datetime], at: datetime) -> None:
    from dataclasses import replace

    assert judge(replace(session(), **change), 0, at, TERMS) is Verdict.ENDED


@given(st.lists(st.floats(min_value=0, max_value=60), max_size=40), st.integers(0, 45))
def test_every_history_judges_by_time_since_that_tokens_own_rotation(
    gaps: list[float], presented: int
) -> None:
    """The model: a token is replayed exactly while its own rotation is within grace (and among those remembered)."""
    now, rotated_at, current = START, {}, session()
    for gap in gaps:
        now += timedelta(seconds=gap)
        rotated_at[current.generation] = now
        current = advance(current, b"x", now, TERMS)
    verdict = judge(current, presented, now, TERMS)
    if presented == len(gaps):
        assert verdict is Verdict.ADVANCE
    elif presented in rotated_at and now - rotated_at[presented] <= TERMS.grace:
        remembered = presented >= current.generation - MAX_RECENT_ROTATIONS
        assert verdict is (Verdict.REPLAY if remembered else Verdict.REUSE)
    else:
        assert verdict is Verdict.REUSE
    assert len(current.recent) <= MAX_RECENT_ROTATIONS
