"""Tracing: named, parent-based, and exported only where somebody listens."""

from __future__ import annotations

from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from services.runtime.settings import ServiceSettings, service_config
from services.runtime.telemetry import tracer_provider


class Garden(ServiceSettings):
    """Of a domain that exists in this test only."""

    model_config = service_config("garden")


def test_a_span_that_was_begun_is_kept_unless_its_parent_was_not_sampled(tmp_path: Path) -> None:
    exporter = InMemorySpanExporter()
    provider = tracer_provider(Garden(home=tmp_path, worker="2"), SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    tracer.start_span("kept").end()
    unsampled = NonRecordingSpan(SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(0)))
    tracer.start_span("dropped", context=trace.set_span_in_context(unsampled)).end()
    (span,) = exporter.get_finished_spans()
    assert span.name == "kept"
    assert span.resource.attributes["service.name"] == "garden"
    assert span.resource.attributes["service.instance.id"] == "garden-2"
    provider.shutdown()


def test_nothing_is_exported_by_default(tmp_path: Path) -> None:
    provider = tracer_provider(Garden(home=tmp_path))
    assert provider._active_span_processor._span_processors == ()
    provider.shutdown()
    exporting = tracer_provider(Garden(home=tmp_path, otlp_endpoint="http://127.0.0.1:1"))
    assert len(exporting._active_span_processor._span_processors) == 1
    exporting.shutdown()
