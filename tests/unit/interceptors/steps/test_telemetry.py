"""Every call is measured, the sampled ones are traced."""

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY

from interceptors import build_road
from tests.fixtures.callers import MemoryCaller
from tests.fixtures.ports import Ports
from tests.unit.interceptors.conftest import ECHO as SERVICE
from tests.unit.interceptors.conftest import Echo as Servicer

ECHO = "echo.v1.EchoService/Echo"


def count(code: str, method: str = ECHO) -> float:
    labels = {"rpc_method": method, "rpc_response_status_code": code}
    return REGISTRY.get_sample_value("rpc_server_call_duration_seconds_count", labels) or 0.0


def refusals(step: str, reason: str) -> float:
    labels = {"rpc_method": ECHO, "step": step, "reason": reason}
    return REGISTRY.get_sample_value("polyphony_refusals_total", labels) or 0.0


@pytest.fixture(scope="module")
def spans():
    """What is traced, in memory. OpenTelemetry takes one provider for a process, so an earlier one is kept."""
    exporter = InMemorySpanExporter()
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        trace.set_tracer_provider(TracerProvider())
    trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exporter))
    return exporter


async def test_calls_are_counted_by_method_and_code(world, pb):
    before = count("OK"), count("INTERNAL"), count("UNAUTHENTICATED")
    request = pb.EchoRequest(parent="users/me", text="p")
    await world.call("Echo", request)
    await world.call("Echo", pb.EchoRequest(parent="users/me", text="boom"))
    await world.call("Echo", request, token=None)
    assert (count("OK"), count("INTERNAL"), count("UNAUTHENTICATED")) == tuple(n + 1 for n in before)


async def test_refusals_are_counted_by_step_and_reason(world, pb):
    before = refusals("authentication", "CREDENTIAL_MISSING")
    await world.call("Echo", pb.EchoRequest(parent="users/me", text="p"), token=None)
    assert refusals("authentication", "CREDENTIAL_MISSING") == before + 1


async def test_nobody_is_in_flight_afterwards(world, pb):
    for text in ("p", "boom", "abort"):
        await world.call("Echo", pb.EchoRequest(parent="users/me", text=text))
    assert REGISTRY.get_sample_value("rpc_server_active_calls", {"rpc_method": ECHO}) == 0


async def test_a_sampled_parent_is_continued_and_on_record(world, pb, spans):
    spans.clear()
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await world.call("Echo", pb.EchoRequest(parent="users/me", text="p"), traceparent=parent)
    assert world.record.trace_id == "0af7651916cd43dd8448eb211c80319c"
    (span,) = spans.get_finished_spans()
    assert span.name == ECHO
    assert format(span.parent.span_id, "016x") == "b7ad6b7169203331"
    assert span.attributes["polyphony.audit_id"] == world.record.id
    assert span.attributes["rpc.response.status_code"] == "OK"


async def test_an_unsampled_parent_is_passed_on_and_not_traced(world, pb, spans):
    spans.clear()
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    await world.call("Echo", pb.EchoRequest(parent="users/me", text="p"), traceparent=parent)
    assert world.record.trace_id == ""
    assert spans.get_finished_spans() == ()


async def test_the_span_of_a_failure_says_why(world, pb, spans):
    spans.clear()
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await world.call("Echo", pb.EchoRequest(parent="users/me", text="boom"), traceparent=parent)
    (span,) = spans.get_finished_spans()
    assert span.attributes["error.type"] == "INTERNAL"
    assert span.attributes["rpc.response.status_code"] == "INTERNAL"
    assert span.status.status_code is trace.StatusCode.ERROR
    assert "s3cret" not in span.to_json()


@pytest.mark.parametrize("parent", ["garbage", "-01", "00-0-0-01", "x" * 4000 + "-01", "x" * 4000 + "-00"])
async def test_a_broken_parent_breaks_nothing_and_travels_no_further(world, pb, parent):
    outcome = await world.call("Echo", pb.EchoRequest(parent="users/me", text="p"), traceparent=parent)
    assert outcome.verdict == ("OK", "")
    assert len(world.record.trace_id) in (0, 32)
    assert len(world.servicer.trace_parents[0]) in (0, 55)


async def test_a_parent_travels_on_as_it_came(world, pb):
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    await world.call("Echo", pb.EchoRequest(parent="users/me", text="p"), traceparent=parent)
    assert world.servicer.trace_parents == [parent]


@pytest.mark.parametrize(
    ("ratio", "parent", "traced"), [(1.0, "", 1), (0.0, "", 0), (1.0, "-00", 0), (0.0, "-01", 1)]
)
async def test_a_parent_decides_and_without_one_the_ratio_does(pb, spans, ratio, parent, traced):
    spans.clear()
    caller = MemoryCaller(build_road([SERVICE], trace_ratio=ratio, **vars(Ports())), Servicer())
    metadata = {"authorization": "Bearer good"}
    if parent:
        metadata["traceparent"] = f"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331{parent}"
    await caller.call(f"/{ECHO}", pb.EchoRequest(parent="users/me", text="p"), metadata)
    assert len(spans.get_finished_spans()) == traced
