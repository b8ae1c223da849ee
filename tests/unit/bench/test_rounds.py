"""Rounds end by their number or by the clock, and there is always one."""

from itertools import count

import pytest

from bench.rounds import rounds


def test_all_rounds_are_made_where_there_is_time() -> None:
    assert list(rounds(3)) == [0, 1, 2]


def test_no_round_begins_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = count(0.0, 10.0)
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    assert list(rounds(9, seconds=25)) == [0, 1, 2]


def test_there_is_always_one() -> None:
    assert list(rounds(9, seconds=-1)) == [0]
