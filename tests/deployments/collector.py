"""A receiver of OTLP in this process: the real protocol over gRPC and HTTP, nothing behind it."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)


@dataclass(frozen=True)
class Got:
    """A span that arrived."""

    name: str
    trace: str
    id: str
    parent: str
    state: str
    kind: int
    failed: bool
    start_ns: int
    end_ns: int
    links: frozenset[str]
    facts: dict[str, Any]
    resource: dict[str, Any]

    @property
    def duration_ms(self) -> float:
        return (self.end_ns - self.start_ns) / 1e6


@dataclass
class Collector:
    """Where spans arrive."""

    address: str = ""
    spans: list[Got] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    delay_s: float = 0.0

    def take(self, request: ExportTraceServiceRequest, headers: dict[str, str]) -> None:
        time.sleep(self.delay_s)
        self.raw.append(request.SerializeToString())
        self.headers.append(headers)
        for of_resource in request.resource_spans:
            resource = _facts(of_resource.resource.attributes)
            for scope in of_resource.scope_spans:
                self.spans += [_read(span, resource) for span in scope.spans]

    def wait(self, enough: Callable[[list[Got]], bool], wait_s: float = 10) -> list[Got]:
        """All spans, once ``enough`` says so."""
        until_s = time.monotonic() + wait_s
        while not enough(self.spans):
            assert time.monotonic() < until_s, [span.name for span in self.spans]
            time.sleep(0.01)
        return list(self.spans)

    def trace(self, trace_id: str, names: set[str], wait_s: float = 10) -> dict[str, Got]:
        """The spans of one trace by name, once it has all of ``names``."""
        mine: dict[str, Got] = {}

        def enough(spans: list[Got]) -> bool:
            mine.update({span.name: span for span in spans if span.trace == trace_id})
            return names <= mine.keys()

        self.wait(enough, wait_s)
        return mine


@contextmanager
def collecting(protocol: str = "grpc") -> Iterator[Collector]:
    collector = Collector()
    with (_http if protocol == "http" else _grpc)(collector) as address:
        collector.address = address
        yield collector


@contextmanager
def _grpc(collector: Collector) -> Iterator[str]:
    class Servicer(TraceServiceServicer):  # type: ignore[misc]
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
            collector.take(request, dict(context.invocation_metadata()))
            return ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2))
    add_TraceServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop(None).wait()


@contextmanager
def _http(collector: Collector) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.paths.append(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            collector.take(ExportTraceServiceRequest.FromString(body), headers)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def _read(span: Any, resource: dict[str, Any]) -> Got:
    return Got(
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.trace_state,
        span.kind,
        span.status.code == 2,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        frozenset(link.span_id.hex() for link in span.links),
        _facts(span.attributes),
        resource,
    )


def _facts(attributes: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in attributes}
