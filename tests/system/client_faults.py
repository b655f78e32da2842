"""An HTTP proxy that refuses some requests itself, and notes every try of a client."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_HOP = {"host", "connection", "content-length", "transfer-encoding"}
_BODIES = {
    429: b'{"error_code": "E4005", "error_message": "busy", "status_code": 429}',
    503: b'{"error_code": "E2001", "error_message": "not ready", "status_code": 503}',
}


@dataclass
class Faults:
    """An ASGI application before ``upstream``.

    Attributes:
        upstream: Address of the server.
        refused_share: Of requests that get 429 or 503 in turn.
        tries: Arrival time on ``time.time`` by the caller's routing key.
        keys: ``Idempotency-Key`` of submissions that were passed on.
    """

    upstream: str
    refused_share: float = 0.1
    tries: dict[str, list[float]] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._http = httpx.AsyncClient(base_url=self.upstream, timeout=30)
        self._chance = random.Random(1)
        self._refused = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        request = Request(scope, receive)
        body = await request.body()
        if call := request.headers.get("x-routing-key"):
            self.tries.setdefault(call, []).append(time.time())
        if self._chance.random() < self.refused_share:
            self._refused += 1
            status = (429, 503)[self._refused % 2]
            answer = Response(_BODIES[status], status, {"retry-after": "0"}, "application/json")
        else:
            if key := request.headers.get("idempotency-key"):
                self.keys.add(key)
            headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP}
            found = await self._http.request(
                request.method, request.url.path, content=body, headers=headers
            )
            kept = {k: v for k, v in found.headers.items() if k.lower() not in _HOP}
            answer = Response(found.content, found.status_code, kept)
        await answer(scope, receive, send)


@contextmanager
def faulty(faults: Faults) -> Iterator[int]:
    """The port of the proxy, which runs in a thread until the end of the block."""
    config = uvicorn.Config(faults, port=0, lifespan="off", log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline_s = time.monotonic() + 20
    while not server.started:
        if time.monotonic() > deadline_s:
            raise RuntimeError("the proxy does not start")
        time.sleep(0.02)
    yield int(server.servers[0].sockets[0].getsockname()[1])
    server.should_exit = True
    thread.join(20)
