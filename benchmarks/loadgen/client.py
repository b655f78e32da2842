"""The load client: a closed or an open loop of requests over keep-alive connections.

Closed loop: a fixed number of connections, each sending its next request when the last was
answered. Open loop: each request is due at a time that does not care how the server is doing.
``python -m benchmarks.loadgen.client`` takes a job on stdin as one JSON object and writes the
samples to stdout as another, so that neither the caller's memory nor its garbage collector
disturbs the clock.
"""

import asyncio
import gc
import json
import math
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

import uvloop

from benchmarks.loadgen.connection import Pool, Response, request_bytes

PREDICT = "/api/v1/predict"
_OPEN_FILES = 8_192


@dataclass(frozen=True, slots=True)
class Job:
    """What to send.

    Attributes:
        host: Of the server.
        port: Of the server.
        path: Where to post.
        bodies: One for each request, in order; a closed loop stops when they are used up.
        headers: Sent with every request.
        concurrency: Connections of a closed loop; 0 makes it an open loop.
        seconds: Length of a closed loop.
        due_s: When each request of an open loop is due, from the start.
        drain_s: How long to wait for answers after the last request.
        cached_mark: Piece of a body that says that a cache answered.
        keep_bodies: Whether answers come back too.
    """

    host: str
    port: int
    path: str
    bodies: Sequence[str]
    headers: dict[str, str] = field(default_factory=dict)
    concurrency: int = 0
    seconds: float = 0.0
    due_s: list[float] = field(default_factory=list)
    drain_s: float = 10.0
    cached_mark: str = ""
    keep_bodies: bool = False


@dataclass(slots=True)
class Outcome:
    """What happened to one request. Times in seconds from the start of the job.

    Attributes:
        due_s: When it should have been sent; in a closed loop, when it was sent.
        sent_s: When it was sent; None if it never was.
        done_s: When its answer was there; None if there was none.
        status: HTTP status; 0 when the connection broke or there was no answer.
        cached: Whether the answer came from a cache.
        body: The answer, if it was to be kept.
    """

    due_s: float
    sent_s: float | None = None
    done_s: float | None = None
    status: int = 0
    cached: bool = False
    body: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """All outcomes in the order of the bodies, and what sending them cost."""

    outcomes: list[Outcome]
    seconds: float
    cpu_s: float

    @property
    def statuses(self) -> dict[int, int]:
        """HTTP status to number of requests; 0 for no answer."""
        return dict(Counter(outcome.status for outcome in self.outcomes))

    @property
    def latencies_s(self) -> list[float]:
        """From the time at which each answered request was due to its answer."""
        return [one.done_s - one.due_s for one in self.outcomes if one.done_s is not None]


class _Sender:
    def __init__(self, job: Job) -> None:
        self._job = job
        self._mark = job.cached_mark.encode()
        self._requests = [
            request_bytes(job.host, job.path, job.headers, body) for body in job.bodies
        ]
        self.pool = Pool(job.host, job.port)
        self.outcomes: list[Outcome] = []
        self.started_s = 0.0

    def now(self) -> float:
        return time.perf_counter() - self.started_s

    async def send(self, index: int, outcome: Outcome) -> None:
        try:
            connection = await self.pool.take()
        except OSError:
            outcome.done_s = self.now()
            return
        outcome.sent_s = self.now()
        self._note(outcome, await connection.send(self._requests[index]))
        self.pool.give_back(connection)

    def _note(self, outcome: Outcome, response: Response) -> None:
        outcome.done_s = self.now()
        outcome.status = response.status
        outcome.cached = bool(self._mark) and self._mark in response.body
        if self._job.keep_bodies:
            outcome.body = response.body.decode(errors="replace")


async def _closed_loop(sender: _Sender, job: Job) -> None:
    left = iter(range(len(job.bodies)))

    async def user() -> None:
        for index in left:
            if (now := sender.now()) >= job.seconds:
                return
            outcome = Outcome(due_s=now)
            sender.outcomes.append(outcome)
            await sender.send(index, outcome)

    users = {asyncio.create_task(user()) for _ in range(job.concurrency)}
    await _finish(users, job.seconds + job.drain_s)


async def _open_loop(sender: _Sender, job: Job) -> None:
    in_flight: set[asyncio.Task[None]] = set()
    for index, due_s in enumerate(job.due_s):
        if (wait_s := due_s - sender.now()) > 0:
            await asyncio.sleep(wait_s)
        outcome = Outcome(due_s=due_s)
        sender.outcomes.append(outcome)
        task = asyncio.create_task(sender.send(index, outcome))
        in_flight.add(task)
        task.add_done_callback(in_flight.discard)
    await _finish(in_flight, job.drain_s)


async def _finish(tasks: set[asyncio.Task[None]], wait_s: float) -> None:
    if not tasks:
        return
    done, late = await asyncio.wait(tasks, timeout=None if math.isinf(wait_s) else wait_s)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    for task in done:
        task.result()


async def send_load(job: Job) -> Load:
    """Runs one job to its end."""
    sender = _Sender(job)
    gc.collect()
    gc.disable()
    cpu_s = time.process_time()
    sender.started_s = time.perf_counter()
    await (_closed_loop if job.concurrency else _open_loop)(sender, job)
    seconds, cpu_s = sender.now(), time.process_time() - cpu_s
    gc.enable()
    await sender.pool.close()
    return Load(sender.outcomes, seconds, cpu_s)


def prediction_job(url: str, texts: Sequence[str], **options: Any) -> Job:
    """A job that sends each text once to the server at ``url``, with ``options`` of ``Job``."""
    address = urlsplit(url)
    bodies = [json.dumps({"text": text}, ensure_ascii=False) for text in texts]
    return Job(address.hostname or "", address.port or 0, PREDICT, bodies, **options)


def send_texts(url: str, texts: Sequence[str], concurrency: int) -> Load:
    """Sends each text once to the server at ``url``, in a closed loop of this process.

    Raises:
        ConnectionError: A request got no answer.
    """
    job = prediction_job(url, texts, concurrency=concurrency, seconds=math.inf)
    load = asyncio.run(send_load(job))
    if 0 in load.statuses:
        raise ConnectionError("the server closed the connection")
    return load


def main() -> int:
    """Reads a job, sends it, writes what happened."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    job = Job(**json.load(sys.stdin))
    json.dump(asdict(uvloop.run(send_load(job))), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
