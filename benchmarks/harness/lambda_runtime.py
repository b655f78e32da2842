"""A stub of AWS Lambda's Runtime API: hands out events, takes answers and errors."""

import json
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class RuntimeApi:
    """Events go in by ``call``; the runtime's answers come back from it.

    Attributes:
        address: Host and port, for ``AWS_LAMBDA_RUNTIME_API``.
        init_errors: What the runtime reported before its first call.
    """

    def __init__(self) -> None:
        self.address = ""
        self.init_errors: list[dict[str, Any]] = []
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._answers: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()

    def call(self, event: dict[str, Any], timeout_s: float = 60) -> tuple[str, dict[str, Any]]:
        """``response`` or ``error``, and its body."""
        self._events.put(event)
        return self._answers.get(timeout=timeout_s)

    def handler(self) -> type[BaseHTTPRequestHandler]:
        """The handler of an HTTP server."""
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                event = api._events.get()
                body = json.dumps(event).encode()
                self.send_response(200)
                self.send_header("Lambda-Runtime-Aws-Request-Id", "8f507cfc")
                deadline_ms = int((time.time() + 30) * 1_000)
                self.send_header("Lambda-Runtime-Deadline-Ms", str(deadline_ms))
                # Without these the runtime's client crashes; the real API always has them.
                arn = "arn:aws:lambda:eu-central-1:123456789012:function:x"
                self.send_header("Lambda-Runtime-Invoked-Function-Arn", arn)
                self.send_header("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c8")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                kind = self.path.rpartition("/")[2]
                if "/init/" in self.path:
                    api.init_errors.append(body)
                else:
                    api._answers.put((kind, body))
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A function that is ended leaves its connection as it is."""


@contextmanager
def runtime_api() -> Iterator[RuntimeApi]:
    """The stub, until the end of the block."""
    api = RuntimeApi()
    with _Server(("127.0.0.1", 0), api.handler()) as server:
        api.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield api
        server.shutdown()
        thread.join()


def url_event(path: str, body: str | None, method: str = "POST", **headers: str) -> dict[str, Any]:
    """An event of a function URL or an HTTP API, version 2.0 of its format."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json", "host": "x.lambda-url.on.aws", **headers},
        "requestContext": {
            "http": {
                "method": method,
                "path": path,
                "sourceIp": "192.0.2.1",
                "protocol": "HTTP/1.1",
            },
            "stage": "$default",
        },
        "body": body,
        "isBase64Encoded": False,
    }


def balancer_event(path: str, body: str, **headers: str) -> dict[str, Any]:
    """An event of an Application Load Balancer."""
    return {
        "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:x"}},
        "httpMethod": "POST",
        "path": path,
        "queryStringParameters": {},
        "headers": {"content-type": "application/json", "host": "lb.example", **headers},
        "body": body,
        "isBase64Encoded": False,
    }
