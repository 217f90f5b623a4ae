"""Sends spans and metrics to the collector that the operator names; without one, nothing leaves the process."""

from __future__ import annotations

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from integrator.domain.errors import Refused


def export(endpoint: str, *, role: str, installation: str) -> None:
    """Export by OTLP over HTTP to `endpoint`, such as `http://127.0.0.1:4318`; empty means not at all.

    Called once in a process. Raises `Refused` (`no-exporter`) when the extra `integrator[otlp]` is not installed.
    """
    if not endpoint:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    except ImportError:
        raise Refused(
            "no-exporter", "`otlp_endpoint` is set, but the exporter is not installed: pip install 'integrator[otlp]'."
        ) from None
    base = endpoint.rstrip("/")
    resource = Resource.create({"service.name": "integrator", "service.instance.id": f"{installation}/{role}"})
    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{base}/v1/traces")))
    trace.set_tracer_provider(tracers)
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=f"{base}/v1/metrics"))
    metrics.set_meter_provider(MeterProvider(resource=resource, metric_readers=[reader]))
