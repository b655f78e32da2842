"""A fixed number of keep-alive connections that each send one request after another."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.loadgen.connection import connect


@dataclass(frozen=True, slots=True)
class Load:
    """Outcome of one closed-loop run.

    Attributes:
        seconds: From the first request to the last answer.
        latencies_s: Of every answered request, in order of completion.
        statuses: HTTP status to number of answers.
    """

    seconds: float
    latencies_s: list[float]
    statuses: dict[int, int]


async def send_all(
    host: str, port: int, path: str, bodies: Sequence[bytes], concurrency: int
) -> Load:
    """Sends each body once over ``concurrency`` connections, closed loop.

    Raises:
        ConnectionError: The server closed a connection or cannot be reached.
    """
    queue = iter(bodies)
    latencies: list[float] = []
    statuses: dict[int, int] = {}
    head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"

    async def send_next() -> None:
        connection = await connect(host, port)
        for body in queue:
            if not connection.is_open:  # a server that reloads ends each connection with an answer
                connection = await connect(host, port)
            request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
            started = time.perf_counter()
            answer = await connection.send(request)
            if not answer.status:
                raise ConnectionError("the server closed the connection")
            latencies.append(time.perf_counter() - started)
            statuses[answer.status] = statuses.get(answer.status, 0) + 1
        connection.close()

    started = time.perf_counter()
    await asyncio.gather(*(send_next() for _ in range(concurrency)))
    return Load(time.perf_counter() - started, latencies, statuses)
