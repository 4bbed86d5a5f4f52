"""Sends metrics, logs and spans with the Python SDK of OpenTelemetry, each request twice."""

import sys

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

URL = sys.argv[1] + "/otlp/v1/"
RESOURCE = Resource.create({"service.name": "shop", "tenant": "acme"})


def twice(exporter, batch):
    for _ in range(2):
        assert exporter.export(batch).name == "SUCCESS"


# Spans of calls of a language model.
spans = InMemorySpanExporter()
provider = TracerProvider(resource=RESOURCE)
provider.add_span_processor(SimpleSpanProcessor(spans))
tracer = provider.get_tracer("tests")
for number in range(3):
    with tracer.start_as_current_span("chat") as span:
        span.set_attributes({
            "user.id": "anna", "gen_ai.request.model": "small-1",
            "gen_ai.usage.input_tokens": 100 + number, "gen_ai.usage.output_tokens": 10,
        })
twice(OTLPSpanExporter(endpoint=URL + "traces"), spans.get_finished_spans())

# A counter, a histogram and a counter of floating point.
reader = InMemoryMetricReader()
meters = MeterProvider(resource=RESOURCE, metric_readers=[reader])
meter = meters.get_meter("tests")
calls = meter.create_counter("calls")
calls.add(5, {"route": "/a"})
calls.add(2, {"route": "/b"})
meter.create_counter("euros").add(0.25, {"route": "/a"})
meter.create_histogram("took").record(7)
twice(OTLPMetricExporter(endpoint=URL + "metrics"), reader.get_metrics_data())

# A log record.
logs = InMemoryLogRecordExporter()
loggers = LoggerProvider(resource=RESOURCE)
loggers.add_log_record_processor(SimpleLogRecordProcessor(logs))
loggers.get_logger("tests").emit(LogRecord(
    timestamp=1_767_225_600_000_000_000, severity_number=SeverityNumber.INFO, severity_text="INFO",
    body="sent", attributes={"enduser.id": "ben"}))
twice(OTLPLogExporter(endpoint=URL + "logs"), logs.get_finished_logs())
