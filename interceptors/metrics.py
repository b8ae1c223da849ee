"""What Prometheus reads about calls, in the names of OpenTelemetry's semantic conventions for RPC.

Calls are counted on the event loop alone, into plain lists: the client library's own instruments take
a lock for each observation, which is several times the cost of what is observed here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from prometheus_client.core import (
    REGISTRY,
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the duration buckets, in seconds."""


class MethodMetrics:
    """The figures of one method: calls in flight, durations by status code, refusals by step and reason."""

    __slots__ = ("active", "durations", "name", "refusals")

    def __init__(self, name: str) -> None:
        self.name = name
        self.active = 0
        self.durations: dict[str, list[float]] = {}
        self.refusals: dict[tuple[str, str], int] = {}

    def observe(self, code: str, seconds: float) -> None:
        """Count one ended call."""
        counts = self.durations.get(code)
        if counts is None:
            counts = self.durations[code] = [0.0] * (len(BUCKETS) + 2)
        counts[bisect_left(BUCKETS, seconds)] += 1
        counts[-1] += seconds

    def refuse(self, step: str, reason: str) -> None:
        """Count one call that did not succeed."""
        self.refusals[step, reason] = self.refusals.get((step, reason), 0) + 1


class CallMetrics(Collector):
    """The figures of all methods of a process."""

    def __init__(self) -> None:
        self._methods: dict[str, MethodMetrics] = {}

    def of(self, name: str) -> MethodMetrics:
        """The figures of one method, shared by all roads of the process."""
        return self._methods.setdefault(name, MethodMetrics(name))

    def collect(self) -> Iterable[Metric]:
        """The metric families, as Prometheus scrapes them."""
        active = GaugeMetricFamily("rpc_server_active_calls", "Calls being answered.", labels=["rpc_method"])
        duration = HistogramMetricFamily(
            "rpc_server_call_duration_seconds",
            "How long calls took, by method and status code.",
            labels=["rpc_method", "rpc_response_status_code"],
        )
        refusals = CounterMetricFamily(
            "polyphony_refusals",
            "Calls that did not succeed, by the step that they had reached and the reason.",
            labels=["rpc_method", "step", "reason"],
        )
        for method in tuple(self._methods.values()):
            active.add_metric([method.name], method.active)
            for code, counts in tuple(method.durations.items()):
                duration.add_metric([method.name, code], _cumulated(counts), counts[-1])
            for (step, reason), count in tuple(method.refusals.items()):
                refusals.add_metric([method.name, step, reason], count)
        return active, duration, refusals


def _cumulated(counts: list[float]) -> list[tuple[str, float]]:
    total = 0.0
    cumulated = []
    for bound, count in zip((*map(str, BUCKETS), "+Inf"), counts, strict=False):
        total += count
        cumulated.append((bound, total))
    return cumulated


CALLS = CallMetrics()
"""The process's figures, registered with Prometheus."""

REGISTRY.register(CALLS)
