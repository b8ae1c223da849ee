"""OpenTelemetry for a process.

Whether a call is traced is decided on the road, before a span exists; here a span that was begun is kept, and one whose
parent was not sampled is not. Spans leave the process only where an endpoint is configured, in batches, off the loop.
"""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased

from services.runtime.settings import ServiceSettings


def tracer_provider(settings: ServiceSettings, *processors: SpanProcessor) -> TracerProvider:
    """A provider that names the service and exports to `settings.otlp_endpoint`, where there is one."""
    resource = Resource.create(
        {
            "service.namespace": "polyphony",
            "service.name": settings.domain,
            "service.instance.id": f"{settings.domain}-{settings.worker}",
        }
    )
    provider = TracerProvider(resource=resource, sampler=ParentBased(ALWAYS_ON), shutdown_on_exit=False)
    for processor in processors:
        provider.add_span_processor(processor)
    if settings.otlp_endpoint:
        # Imported only where it is used: it loads another copy of the OTLP messages and a gRPC client.
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        insecure = not settings.otlp_endpoint.startswith("https://")
        provider.add_span_processor(
            BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.otlp_endpoint, insecure=insecure))
        )
    return provider


def install_tracing(settings: ServiceSettings) -> Callable[[], None]:
    """Make it the provider of this process. Returns what flushes and stops it, waiting for the collector."""
    provider = tracer_provider(settings)
    trace.set_tracer_provider(provider)
    return provider.shutdown
