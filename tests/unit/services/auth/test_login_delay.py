"""Slowing down guesses at one account."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.auth.model.login_delay import Attempts, DelayTerms, allowed_at, count_attempt

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TERMS = DelayTerms(
    free=3, first=timedelta(seconds=1), longest=timedelta(seconds=60), forget_after=timedelta(hours=1)
)


def after(count: int) -> Attempts:
    attempts = None
    for _ in range(count):
        attempts = count_attempt(attempts, NOW, TERMS)
    assert attempts is not None
    return attempts


def test_the_first_attempt_is_free() -> None:
    assert allowed_at(None, NOW) is None


def test_waits_double_from_the_last_free_attempt_up_to_the_cap() -> None:
    waits = [(after(n).next_at - NOW).total_seconds() for n in range(1, 12)]
    assert waits == [0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert [allowed_at(after(n), NOW) is None for n in range(1, 5)] == [True, True, False, False]


def test_the_wait_ends() -> None:
    assert allowed_at(after(5), NOW + timedelta(seconds=4)) is None


def test_an_old_series_is_forgotten() -> None:
    assert count_attempt(after(9), NOW + TERMS.forget_after, TERMS).count == 1


@given(st.integers(1, 10_000))
def test_the_cap_holds_for_any_count(count: int) -> None:
    attempts = count_attempt(Attempts(count, NOW, NOW), NOW, TERMS)
    assert attempts.next_at - NOW <= TERMS.longest
