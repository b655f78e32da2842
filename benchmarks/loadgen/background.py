"""Load that goes on from a thread of its own while something is done to the server."""

import asyncio
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Self
from urllib.parse import urlsplit

from benchmarks.loadgen.client import PREDICT
from benchmarks.loadgen.connection import Pool, request_bytes

_SEED = 1
_JOIN_S = 90.0


def numbered_bodies(texts: Sequence[str]) -> Iterator[str]:
    """Bodies of single predictions without end; each text has its number, so none repeats."""
    for number in itertools.count():
        yield json.dumps({"text": f"{texts[number % len(texts)]} {number}"}, ensure_ascii=False)


class BackgroundLoad:
    """Requests while the ``with`` block lasts.

    Attributes:
        statuses: Requests by HTTP status; ``no answer`` where the connection broke or time ran out.
        latencies_s: Of every request, in order of completion.
    """

    def __init__(
        self,
        url: str,
        bodies: Iterator[str],
        *,
        rate_per_s: float = 0.0,
        clients: int = 1,
        pause_s: float = 0.0,
        path: str = PREDICT,
        headers: dict[str, str] | None = None,
        timeout_s: float = 30.0,
        on_success: Callable[[bytes], object] = len,
    ) -> None:
        """Prepares the load.

        Args:
            url: Of the server.
            bodies: Of the requests, without end.
            rate_per_s: Of Poisson arrivals, an open loop; 0 makes it a closed loop.
            clients: Of a closed loop.
            pause_s: Of each client before a request.
            path: Where to post.
            headers: Sent with every request.
            timeout_s: Longest wait for an answer.
            on_success: Gets the body of every answer with 200.
        """
        address = urlsplit(url)
        self._host, self._port = address.hostname or "", address.port or 0
        self._bodies, self._path, self._headers = bodies, path, headers or {}
        self._rate_per_s, self._clients, self._pause_s = rate_per_s, clients, pause_s
        self._timeout_s, self._on_success = timeout_s, on_success
        self._ended = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.statuses: Counter[str] = Counter()
        self.latencies_s: list[float] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(_JOIN_S)

    @property
    def failed(self) -> int:
        """Requests that were not answered with 200."""
        return self.statuses.total() - self.statuses["200"]

    async def _run(self) -> None:
        pool = Pool(self._host, self._port)
        if self._rate_per_s:
            await self._open_loop(pool)
        else:
            await asyncio.gather(*(self._client(pool) for _ in range(self._clients)))
        await pool.close()

    async def _client(self, pool: Pool) -> None:
        while not self._ended.is_set():
            await asyncio.sleep(self._pause_s)
            await self._send(pool)

    async def _open_loop(self, pool: Pool) -> None:
        chance, running = random.Random(_SEED), set[asyncio.Task[None]]()
        due_s = time.monotonic()
        while not self._ended.is_set():
            due_s += chance.expovariate(self._rate_per_s)
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            task = asyncio.create_task(self._send(pool))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)

    async def _send(self, pool: Pool) -> None:
        request = request_bytes(self._host, self._path, self._headers, next(self._bodies))
        started_s, status = time.monotonic(), 0
        try:
            connection = await pool.take()
        except OSError:
            await asyncio.sleep(0.01)  # a server that is away must not be asked without a pause
        else:
            try:
                response = await asyncio.wait_for(connection.ask(request), self._timeout_s)
                status = response.status
                if status == 200:
                    self._on_success(response.body)
            except TimeoutError:
                connection.close()
            pool.give_back(connection)
        self.latencies_s.append(time.monotonic() - started_s)
        self.statuses[str(status or "no answer")] += 1
