"""Real OTLP clients on request: `otel.py PORT`, answered when they have sent.

GET /sdk?to=URL        the Python SDK sends all three signals to URL, in protobuf and gzip
GET /collector?to=URL  a collector reads a log file and sends it to URL, in JSON and gzip
GET /stop              ends the collector
"""
import importlib.util
import logging
import pathlib
import subprocess
import sys
import tempfile
import traceback
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

HOUR_MS = 3_600_000
HEADERS = {"authorization": "Bearer s3cret"}
collectors = []


def sdk(to):
    resource = Resource.create(
        {"service.name": "checkout", "service.version": "1.4.2", "service.instance.id": "pod-1"}
    )
    gzip = {"headers": HEADERS, "compression": Compression.Gzip}

    reader = PeriodicExportingMetricReader(
        OTLPMetricExporter(endpoint=f"{to}/v1/metrics", **gzip), export_interval_millis=HOUR_MS
    )
    exponential = View(instrument_name="size", aggregation=ExponentialBucketHistogramAggregation())
    meters = MeterProvider(metric_readers=[reader], resource=resource, views=[exponential])
    meter = meters.get_meter("test")
    requests, depth = meter.create_counter("requests"), meter.create_gauge("depth")
    duration, size = meter.create_histogram("duration", unit="s"), meter.create_histogram("size")
    requests.add(5, {"route": "/cart"})
    for value in (0.1, 0.2):
        duration.record(value)
        size.record(value)
    depth.set(7.5)
    if not meters.force_flush():
        raise RuntimeError("metrics were not taken")
    requests.add(3, {"route": "/cart"})
    for value in range(1, 101):
        duration.record(value)
        size.record(value)
    depth.set(8)
    if not meters.force_flush():
        raise RuntimeError("metrics were not taken")
    meters.shutdown()

    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{to}/v1/traces", **gzip)))
    tracer = tracers.get_tracer("test")
    loggers = LoggerProvider(resource=resource)
    loggers.add_log_record_processor(
        SimpleLogRecordProcessor(OTLPLogExporter(endpoint=f"{to}/v1/logs", **gzip))
    )
    logger = logging.getLogger("test")
    logger.addHandler(LoggingHandler(logger_provider=loggers))
    with tracer.start_as_current_span("GET /cart", kind=SpanKind.SERVER) as span:
        logger.error("no connection to %s", "db-1")
        span.set_status(StatusCode.ERROR, "timeout")
    with tracer.start_as_current_span("charge", kind=SpanKind.CLIENT):
        pass
    if not tracers.force_flush() or not loggers.force_flush():
        raise RuntimeError("traces or logs were not taken")
    tracers.shutdown()
    loggers.shutdown()


CONFIG = """
receivers:
  filelog:
    include: [{folder}/app.log]
    start_at: beginning
    operators:
      - type: regex_parser
        regex: '^(?P<time>\\S+) (?P<severity>\\S+) (?P<text>.*)$'
        timestamp: {{parse_from: attributes.time, layout: '%Y-%m-%dT%H:%M:%SZ'}}
        severity: {{parse_from: attributes.severity}}
exporters:
  otlphttp:
    endpoint: {to}
    encoding: json
    compression: gzip
    headers: {{authorization: Bearer s3cret}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    logs: {{receivers: [filelog], exporters: [otlphttp]}}
"""

LINES = """2026-11-20T00:00:00Z INFO started
2026-11-20T00:00:01Z ERROR no connection to db-1
2026-11-20T00:00:02Z ERROR no connection to db-2
"""


def collector(to):
    folder = pathlib.Path(tempfile.mkdtemp())
    (folder / "app.log").write_text(LINES)
    (folder / "config.yaml").write_text(CONFIG.format(folder=folder, to=to))
    package = pathlib.Path(importlib.util.find_spec("otel_collector").submodule_search_locations[0])
    binary = package / "bin/otelcol-contrib_linux_amd64"
    binary.chmod(0o755)
    log = (folder / "log").open("w")
    collectors.append(subprocess.Popen([binary, "--config", folder / "config.yaml"], stdout=log, stderr=log))


def stop(_):
    while collectors:
        process = collectors.pop()
        process.terminate()
        process.wait()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        url = urllib.parse.urlparse(self.path)
        to = urllib.parse.parse_qs(url.query).get("to", [""])[0]
        status, answer = 200, "ok"
        try:
            {"/": lambda _: None, "/sdk": sdk, "/collector": collector, "/stop": stop}[url.path](to)
        except Exception:
            status, answer = 500, traceback.format_exc()
        self.send_response(status)
        self.end_headers()
        self.wfile.write(answer.encode())


try:
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
finally:
    stop(None)
