"""Limits: a budget per caller, and shedding by priority."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interceptors.faults import Fault
from polyphony.policy.v1 import policy_pb2
from services.runtime.limits import Limiter

NORMAL, LOW, CRITICAL = (
    policy_pb2.PRIORITY_NORMAL,
    policy_pb2.PRIORITY_LOW,
    policy_pb2.PRIORITY_CRITICAL,
)
PEER = "ipv4:10.0.0.1:4711"


class Clock:
    """A clock that stands until told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def spend(limiter: Limiter, credential: str = "t", cost: int = 1, peer: str = PEER) -> Fault | None:
    """One call that is over at once."""
    try:
        limiter.admit(credential, peer, cost, NORMAL)
    except Fault as fault:
        return fault
    limiter.release()
    return None


def test_a_burst_then_the_rate() -> None:
    clock = Clock()
    limiter = Limiter(rate=10, burst=5, concurrency=100, clock=clock)
    assert [spend(limiter) for _ in range(5)] == [None] * 5
    refused = spend(limiter)
    assert refused is not None
    assert refused.name == "RATE_LIMITED"
    assert refused.retry_after == pytest.approx(0.1)
    clock.now += 0.1001
    assert spend(limiter) is None
    assert spend(limiter) is not None


def test_cost_counts_and_what_is_refused_costs_nothing() -> None:
    clock = Clock()
    limiter = Limiter(rate=10, burst=10, concurrency=100, clock=clock)
    assert spend(limiter, cost=8) is None
    assert spend(limiter, cost=3) is not None
    assert spend(limiter, cost=2) is None


def test_callers_do_not_share_a_budget() -> None:
    limiter = Limiter(rate=1, burst=1, concurrency=100, clock=Clock())
    assert spend(limiter, "alice") is None
    assert spend(limiter, "bob") is None
    assert spend(limiter, "alice") is not None
    assert spend(limiter, "", peer="ipv4:10.0.0.1:1") is None
    assert spend(limiter, "", peer="ipv4:10.0.0.1:2") is not None, "another port is not another caller"
    assert spend(limiter, "", peer="ipv4:10.0.0.2:2") is None


@settings(max_examples=100)
@given(st.lists(st.tuples(st.floats(0, 0.5), st.integers(1, 4)), max_size=60))
def test_nobody_gets_more_than_burst_and_rate(steps: list[tuple[float, int]]) -> None:
    clock = Clock()
    limiter = Limiter(rate=10, burst=6, concurrency=100, clock=clock)
    taken: list[tuple[float, int]] = []
    for wait, cost in steps:
        clock.now += wait
        if spend(limiter, cost=cost) is None:
            taken.append((clock.now, cost))
    for start in range(len(taken)):
        total = 0
        for at, cost in taken[start:]:
            total += cost
            assert total <= 6 + 10 * (at - taken[start][0]) + 1e-6


def test_the_least_urgent_are_shed_first_and_places_are_given_back() -> None:
    limiter = Limiter(rate=1e9, burst=1e9, concurrency=2, clock=Clock())

    refusals: set[tuple[str, bool]] = set()

    def admitted(priority: int) -> bool:
        try:
            limiter.admit("t", PEER, 1, priority)
        except Fault as fault:
            refusals.add((fault.name, fault.retry_after is not None))
            return False
        return True

    assert [admitted(LOW) for _ in range(3)] == [True, True, False]
    assert [admitted(NORMAL) for _ in range(3)] == [True, True, False]
    assert [admitted(CRITICAL) for _ in range(5)] == [True] * 4 + [False]
    for _ in range(7):
        limiter.release()
    assert admitted(LOW)
    assert not admitted(LOW)
    assert refusals == {("OVERLOADED", True)}


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.runtime.limits._MAX_CALLERS", 100)
    clock = Clock()
    limiter = Limiter(rate=1, burst=10, concurrency=100, clock=clock)
    for number in range(250):
        spend(limiter, f"caller {number}")
        clock.now += 0.001
    assert len(limiter._arrivals) <= 100
    for _ in range(9):
        spend(limiter, "caller 249")
    assert spend(limiter, "caller 249") is not None, "the busiest must not be forgotten"
