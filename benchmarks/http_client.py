"""A lean load generator: keep-alive connections that each send one request after another.

Every CPU cycle of the generator is one that the server on the same machine lacks, so
this speaks just enough HTTP/1.1 over asyncio streams.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass


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

    async def connection() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        for body in queue:
            started = time.perf_counter()
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            status = await _read_answer(reader)
            latencies.append(time.perf_counter() - started)
            statuses[status] = statuses.get(status, 0) + 1
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(connection() for _ in range(concurrency)))
    return Load(time.perf_counter() - started, latencies, statuses)


async def _read_answer(reader: asyncio.StreamReader) -> int:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        raise ConnectionError("the server closed the connection") from error
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    await reader.readexactly(length)
    return int(head.split(b" ", 2)[1])
