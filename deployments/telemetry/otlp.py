"""Sends finished spans to a collector, as OTLP over gRPC or HTTP, in a thread of its own.

OpenTelemetry's SDK collects, encodes, sends and retries. This module adds a bound that counts
dropped spans and keeps the SDK's log silent: a collector that is away must neither slow a request
nor fill a log.
"""

import functools
import logging
import threading
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import requests
from grpc import ssl_channel_credentials
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.trace import SpanContext as OtelContext
from prometheus_client import Counter

from configs.schema.app import AppConfig
from configs.schema.tracing import TracingConfig
from deployments.telemetry.spans import Span, SpanContext

_log = logging.getLogger("ray.serve.sentigraph")
_KINDS = {kind.name.lower(): kind for kind in SpanKind}
_BATCH = 512
# Ports that the two protocols share say nothing of the path, which HTTP needs.
_HTTP_PATH = "/v1/traces"
_CLOSE_S = 2.0


class BackgroundSpanExporter:
    """Spans on their way to the collector. Thread-safe."""

    def __init__(self, config: AppConfig, spans: Counter) -> None:
        """Starts the thread.

        Args:
            config: The collector's address and how many spans may wait.
            spans: Counts by ``result``: exported, dropped, failed.
        """
        # It logs every attempt to reach a collector; ``_Counted`` logs the first failure.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        tracing = config.tracing
        self._service = config.server.service_name
        self._profile = config.profile
        self._most = tracing.max_queued_spans
        self._waiting = 0
        self._lock = threading.Lock()
        self._spans = spans
        self._resource = functools.lru_cache(256)(self._make_resource)
        self._processor = BatchSpanProcessor(
            _Counted(_exporter(tracing), self._sent),
            max_queue_size=self._most,
            schedule_delay_millis=tracing.export_interval_ms,
            max_export_batch_size=min(_BATCH, self._most),
        )

    def put(self, span: Span) -> None:
        """Queues a span, or drops it where too many wait."""
        with self._lock:
            if self._waiting >= self._most:
                self._spans.labels("dropped").inc()
                return
            self._waiting += 1
        self._processor.on_end(self._readable(span))

    def close(self) -> None:
        """Sends the waiting spans; gives up after two seconds."""
        # The SDK would wait half a minute for a collector that is away.
        closing = threading.Thread(target=self._processor.shutdown, daemon=True)
        closing.start()
        closing.join(_CLOSE_S)

    def _sent(self, count: int, result: str) -> None:
        with self._lock:
            self._waiting -= count
        self._spans.labels(result).inc(count)

    def _readable(self, span: Span) -> ReadableSpan:
        parent = SpanContext(span.context.trace_id, span.parent_id) if span.parent_id else None
        return ReadableSpan(
            span.name,
            context=_otel(span.context),
            parent=_otel(parent) if parent is not None else None,
            resource=self._resource(span.place),
            attributes=dict(span.attributes),
            links=[Link(_otel(context)) for context in span.links],
            kind=_KINDS[span.kind],
            status=Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.UNSET),
            start_time=span.start_ns,
            end_time=span.end_ns,
        )

    def _make_resource(self, place: tuple[str, str]) -> Resource:
        deployment, process = place
        return Resource(
            {
                "service.name": self._service,
                "service.version": version("sentigraph"),
                "service.instance.id": f"{deployment}:{process}",
                "deployment.environment.name": self._profile,
                "sentigraph.deployment": deployment,
            }
        )


class _Counted(SpanExporter):
    """An exporter that counts results and logs the first of a run of failures."""

    def __init__(self, exporter: SpanExporter, sent: Callable[[int, str], None]) -> None:
        self._exporter = exporter
        self._sent = sent
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Sends spans; returns when they have arrived or failed."""
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            failed = result is not SpanExportResult.SUCCESS
            self._sent(len(spans), "failed" if failed else "exported")
            if failed and not self._failing:
                _log.warning("the trace collector does not take spans; they are dropped")
            self._failing = failed
        return result

    def shutdown(self) -> None:
        """Ends repetitions."""
        self._exporter.shutdown()


def _exporter(config: TracingConfig) -> SpanExporter:
    headers = dict(
        pair.strip().split("=", 1)
        for pair in config.headers.get_secret_value().split(",")
        if "=" in pair
    )
    timeout_s = config.export_timeout_ms / 1_000
    if config.protocol == "http":
        scheme, _, rest = config.endpoint.partition("://")
        path = "" if "/" in rest else _HTTP_PATH
        session = requests.Session()
        # A bundle that the environment names (REQUESTS_CA_BUNDLE) would win over ours.
        session.trust_env = not config.ca_file
        return HttpExporter(
            f"{scheme}://{rest}{path}",
            certificate_file=config.ca_file or None,
            headers=headers,
            timeout=timeout_s,
            session=session,
        )
    secure = config.endpoint.startswith("https://")
    authority = Path(config.ca_file).read_bytes() if config.ca_file else None
    return GrpcExporter(
        config.endpoint,
        insecure=not secure,
        credentials=ssl_channel_credentials(authority) if secure else None,
        headers=headers,
        timeout=timeout_s,
    )


def _otel(context: SpanContext) -> OtelContext:
    return OtelContext(
        context.trace_id,
        context.span_id,
        is_remote=False,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
        trace_state=TraceState.from_header([context.state]) if context.state else None,
    )
