"""Measures every call, and traces the sampled ones.

Names follow OpenTelemetry's semantic conventions for RPC. Whether a call is sampled is decided before
a span exists, because building a span costs more than the rest of the road.
"""

from __future__ import annotations

import random
import re
import time

from opentelemetry import propagate, trace

from interceptors.call import Call
from interceptors.contract import MethodContract
from interceptors.faults import Fault
from interceptors.metrics import CALLS
from interceptors.outcome import outcome
from interceptors.step import Endpoint, Road

_SAMPLED = "-01"
_TRACE_PARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C Trace Context, 3.2. A caller's words in another form go no further: into no event, to no other service."""


def telemetry(road: Road, method: MethodContract, onward: Endpoint) -> Endpoint:
    """Observe duration, outcome and calls in flight; open a span for sampled calls."""
    metrics = CALLS.of(method.name)
    tracer = trace.get_tracer("polyphony")
    ratio = road.trace_ratio

    async def measured(call: Call) -> bytes | None:
        started = time.perf_counter()
        metrics.active += 1
        try:
            answer = await onward(call)
        except BaseException as error:
            fault = outcome(call, error)
            metrics.observe(fault.code.name, time.perf_counter() - started)
            metrics.refuse(call.step, fault.name)
            raise
        else:
            metrics.observe("OK", time.perf_counter() - started)
            return answer
        finally:
            metrics.active -= 1

    async def observed(call: Call) -> bytes | None:
        parent = call.metadata.get("traceparent", "")
        if parent and not _TRACE_PARENT.fullmatch(parent):
            parent = ""
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
