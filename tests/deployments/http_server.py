"""The real ingress behind a real HTTP server, with and without its fast path."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httptools
import uvicorn
from front import Stages, made_ingress
from ray.serve._private.http_util import RequestIdMiddleware

from configs.schema.app import AppConfig

_UUID = rb"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
_CHANGING = (
    (rb"(?m)^date: .*\r$", b"date: D\r"),
    (rb"(?m)^server-timing: .*\r$", b"server-timing: T\r"),
    (rb"(?m)^x-inference-time-ms: .*\r$", b"x-inference-time-ms: T\r"),
    # The time in the body has more or fewer digits.
    (rb"(?m)^content-length: \d+\r$", b"content-length: N\r"),
    (rb'"inference_time_ms":[0-9.e-]+', b'"inference_time_ms":T'),
    (rb'"timestamp":"[^"]+"', b'"timestamp":T'),
    (rb"(traceresponse: 00-[0-9a-f]{32})-[0-9a-f]{16}", rb"\1-S"),
    (_UUID, b"ID"),
)


def without_ids_and_times(answer: bytes) -> bytes:
    for pattern, replacement in _CHANGING:
        answer = re.sub(pattern, replacement, answer)
    return answer


@dataclass
class Served:
    ingress: Any
    server: uvicorn.Server
    port: int

    async def ask(self, request: bytes) -> bytes:
        """The bytes that answer a request on a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        try:
            return await read_answer(reader, head_only=request.startswith(b"HEAD"))
        finally:
            writer.close()
            await writer.wait_closed()

    @property
    def ways(self) -> dict[str, float]:
        """Requests to the predict routes so far, by their way."""
        [family] = self.ingress._metrics.predict_requests.collect()
        return {
            sample.labels["way"]: sample.value
            for sample in family.samples
            if sample.name.endswith("_total")
        }


class _Answer:
    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.head = self.whole = False

    def on_message_begin(self) -> None:
        self.head = self.whole = False

    def on_headers_complete(self) -> None:
        self.head = self.parser.get_status_code() >= 200

    def on_message_complete(self) -> None:
        self.whole = self.parser.get_status_code() >= 200


async def read_answer(reader: asyncio.StreamReader, *, head_only: bool = False) -> bytes:
    """One answer; what has come of it when the connection ends before."""
    answer, received = _Answer(), b""
    while not (answer.whole or (head_only and answer.head)):
        piece = await reader.read(65_536)
        if not piece:
            break
        received += piece
        answer.parser.feed_data(piece)
    return received


@asynccontextmanager
async def served(
    config: AppConfig,
    stages: Stages | None = None,
    *,
    fast: bool = True,
    opened: bool = True,
    hops: int = 4,
) -> AsyncIterator[Served]:
    """The ingress on a port of its own, with what Ray Serve puts around it for the request's id."""
    given = config.model_dump()
    given["server"]["fast_path"] = fast
    config = AppConfig.model_validate(given)
    async with made_ingress(config, stages or Stages(), hops=hops) as ingress:
        if fast and opened:
            ingress._fast.is_open = True
        app = RequestIdMiddleware(ingress.__serve_build_asgi_app__())
        http: Any = "auto" if fast else "httptools"
        settings = uvicorn.Config(
            app, port=0, http=http, lifespan="off", log_level=None, log_config=None
        )
        server = uvicorn.Server(settings)
        serving = asyncio.create_task(server._serve())
        while not server.started:  # noqa: ASYNC110 (uvicorn tells it no other way)
            await asyncio.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield Served(ingress, server, port)
        finally:
            server.should_exit = True
            await serving
