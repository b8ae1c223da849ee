"""Measures every call, and traces the sampled ones.

Names follow OpenTelemetry's semantic conventions for RPC. Whether a call is sampled is decided before
a span exists, because building a span costs more than the rest of the road.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from opentelemetry import propagate, trace
from prometheus_client import Counter, Gauge, Histogram

from interceptors.call import Call
from interceptors.contract import MethodContract
from interceptors.faults import Fault, outcome
from interceptors.step import Endpoint, Road

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

DURATION = Histogram(
    "rpc_server_call_duration_seconds",
    "How long calls took, by method and status code.",
    ["rpc_method", "rpc_response_status_code"],
    buckets=_BUCKETS,
)
REFUSALS = Counter(
    "polyphony_refusals_total",
    "Calls that did not succeed, by step and reason.",
    ["rpc_method", "step", "reason"],
)
IN_FLIGHT = Gauge("rpc_server_active_calls", "Calls being answered.", ["rpc_method"])

_SAMPLED = "-01"


def telemetry(road: Road, method: MethodContract, onward: Endpoint) -> Endpoint:
    """Observe duration, outcome and calls in flight; open a span for sampled calls."""
    children: dict[str, Callable[[float], None]] = {}
    in_flight = IN_FLIGHT.labels(method.name)
    tracer = trace.get_tracer("polyphony")
    ratio = road.trace_ratio

    def observe(code: str, seconds: float) -> None:
        if (child := children.get(code)) is None:
            child = children[code] = DURATION.labels(method.name, code).observe
        child(seconds)

    async def measured(call: Call) -> bytes | None:
        started = time.perf_counter()
        in_flight.inc()
        try:
            answer = await onward(call)
        except BaseException as error:
            fault = outcome(call, error)
            observe(fault.code.name, time.perf_counter() - started)
            REFUSALS.labels(method.name, call.step, fault.name).inc()
            raise
        else:
            observe("OK", time.perf_counter() - started)
            return answer
        finally:
            in_flight.dec()

    async def observed(call: Call) -> bytes | None:
        parent = call.metadata.get("traceparent", "")
        chosen = not parent and random.random() < ratio  # noqa: S311 (a sample, not a secret)
        if not (chosen or parent.endswith(_SAMPLED)):
            call.trace_parent = parent
            return await measured(call)
        attributes = {"rpc.system.name": "grpc", "rpc.method": method.name, "polyphony.audit_id": call.id}
        with tracer.start_as_current_span(
            method.name,
            context=propagate.extract(dict(call.metadata)),
            kind=trace.SpanKind.SERVER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            carrier: dict[str, str] = {}
            propagate.inject(carrier)
            call.trace_parent = carrier.get("traceparent", "")
            call.trace_id = format(span.get_span_context().trace_id, "032x")
            try:
                answer = await measured(call)
            except Fault as fault:
                span.set_attribute("rpc.response.status_code", fault.code.name)
                span.set_attribute("error.type", fault.name)
                span.set_status(trace.StatusCode.ERROR, fault.name)
                raise
            span.set_attribute("rpc.response.status_code", "OK")
            return answer

    return observed
