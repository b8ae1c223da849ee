"""How much one process takes: a budget per caller (GCRA), and shedding by priority when it is full."""

from __future__ import annotations

import time
from collections.abc import Callable

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from polyphony.policy.v1 import policy_pb2

_SHARES: dict[int, float] = {
    policy_pb2.PRIORITY_LOW: 1.0,
    policy_pb2.PRIORITY_NORMAL: 2.0,
    policy_pb2.PRIORITY_CRITICAL: 4.0,
}
"""How many times the configured concurrency must be in flight before calls of a class are shed."""
_MAX_CALLERS = 65_536
_SHED_RETRY_SECONDS = 0.25


class Limiter:
    """Fills the RateLimiter port.

    A caller is a credential, or the peer's host for calls without one. It may spend `rate` cost units a second in the
    long run and `burst` at once (the generic cell rate algorithm: one number per caller, no timers). `concurrency` is
    the number of calls in flight at which PRIORITY_LOW is shed; NORMAL is at twice, CRITICAL at four times as many.
    """

    def __init__(
        self, rate: float, burst: float, concurrency: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds_per_unit = 1.0 / rate
        self._tolerance = burst / rate + 1e-9  # sums of floats may be off by less than a nanosecond
        self._most = {priority: int(concurrency * share) for priority, share in _SHARES.items()}
        self._clock = clock
        self._arrivals: dict[int | str, float] = {}
        self._in_flight = 0

    def admit(self, credential: str, peer: str, cost: int, priority: int) -> None:
        """Take a place and the cost. Raises Fault OVERLOADED or RATE_LIMITED, having taken neither."""
        if self._in_flight >= self._most[priority]:
            raise Fault(reason_pb2.REASON_OVERLOADED, retry_after=_SHED_RETRY_SECONDS)
        # The hash stands for the credential, so that tokens are not kept; it is keyed per process.
        caller = hash(credential) if credential else _host(peer)
        now = self._clock()
        arrival = self._arrivals.get(caller, 0.0)
        arrival = (arrival if arrival > now else now) + cost * self._seconds_per_unit
        if arrival - now > self._tolerance:
            raise Fault(reason_pb2.REASON_RATE_LIMITED, retry_after=arrival - now - self._tolerance)
        self._arrivals[caller] = arrival
        if len(self._arrivals) > _MAX_CALLERS:
            self._forget(now)
        self._in_flight += 1

    def release(self) -> None:
        """Give the place back."""
        self._in_flight -= 1

    def _forget(self, now: float) -> None:
        """Drop callers whose budget is whole again; should all be busy, those that owe least."""
        kept = sorted(
            ((arrival, caller) for caller, arrival in self._arrivals.items() if arrival > now),
            key=lambda each: each[0],
        )
        self._arrivals = {caller: arrival for arrival, caller in kept[-_MAX_CALLERS // 2 :]}


def _host(peer: str) -> str:
    """`ipv4:10.0.0.1:53124` without the port; an address that the edge forwarded as it is."""
    return peer.rpartition(":")[0] if peer.startswith(("ipv4:", "ipv6:")) else peer
