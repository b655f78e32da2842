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
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

import uvloop

from benchmarks.loadgen.connection import Connection, Pool, Response, request_bytes

PREDICT = "/api/v1/predict"
_OPEN_FILES = 8_192
_EXTRA_WAIT_S = 30.0
_LONG_S = 3_600.0


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
    """What both loops share: the requests, the clock and what has happened."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._mark = job.cached_mark.encode()
        self.requests = [
            request_bytes(job.host, job.path, job.headers, body) for body in job.bodies
        ]
        self.pool = Pool(job.host, job.port)
        self.outcomes: list[Outcome] = []
        self.started_s = 0.0

    def now(self) -> float:
        return time.perf_counter() - self.started_s

    async def send(self, index: int, outcome: Outcome) -> None:
        """Sends one request of an open loop."""
        try:
            connection = await self.pool.take()
        except OSError:
            outcome.done_s = self.now()
            return
        outcome.sent_s = self.now()
        self.note(outcome, await connection.ask(self.requests[index]))
        self.pool.give_back(connection)

    def note(self, outcome: Outcome, response: Response) -> None:
        """Keeps an answer."""
        outcome.done_s = self.now()
        outcome.status = response.status
        if self._mark:
            outcome.cached = self._mark in response.body
        if self._job.keep_bodies:
            outcome.body = response.body.decode(errors="replace")


class _User:
    """One user of a closed loop: the next request leaves where the last answer arrives.

    Without a task and a future for each request the generator takes less of the machine.
    """

    def __init__(self, sender: _Sender, left: Iterator[int], until_s: float) -> None:
        self._sender = sender
        self._left = left
        self._until_s = until_s
        self._connection = Connection()
        self._lost = asyncio.Event()
        self._outcome = Outcome(0.0)
        self._request = b""

    async def run(self) -> None:
        """Sends until the time is over or no request is left."""
        while self._next():
            # No connection yet, or not any more.
            try:
                self._connection = await self._sender.pool.take()
            except OSError:
                self._outcome.done_s = self._sender.now()
                continue
            self._lost.clear()
            self._send()
            await self._lost.wait()
            self._sender.pool.give_back(self._connection)

    def _next(self) -> bool:
        now = self._sender.now()
        index = next(self._left, None) if now < self._until_s else None
        if index is None:
            return False
        self._request = self._sender.requests[index]
        self._outcome = Outcome(due_s=now)
        self._sender.outcomes.append(self._outcome)
        return True

    def _send(self) -> None:
        self._outcome.sent_s = self._sender.now()
        self._connection.send(self._request, self._answered)

    def _answered(self, response: Response) -> None:
        self._sender.note(self._outcome, response)
        if not self._connection.is_open or not self._next():
            self._lost.set()
        else:
            self._send()


async def _closed_loop(sender: _Sender, job: Job) -> None:
    left = iter(range(len(job.bodies)))
    users = [_User(sender, left, job.seconds) for _ in range(job.concurrency)]
    await _finish({asyncio.create_task(user.run()) for user in users}, job.seconds + job.drain_s)


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


async def in_own_process(job: Job) -> Load:
    """Runs one job in a process of its own.

    Raises:
        TimeoutError: Requests are without an answer long after the job's end.
        ChildProcessError: The process failed.
    """
    generator = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.loadgen.client",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    longest_s = job.seconds + (job.due_s[-1] if job.due_s else 0.0) + job.drain_s + _EXTRA_WAIT_S
    try:
        content = json.dumps(asdict(job), ensure_ascii=False).encode()
        out, _ = await asyncio.wait_for(generator.communicate(content), longest_s)
    finally:
        if generator.returncode is None:
            generator.kill()
            await generator.wait()
    if generator.returncode:
        raise ChildProcessError(f"the load client ended with {generator.returncode}")
    found = json.loads(out)
    outcomes = [Outcome(**outcome) for outcome in found.pop("outcomes")]
    return Load(outcomes, **found)


def send_texts(url: str, texts: Sequence[str], concurrency: int, **options: Any) -> Load:
    """Sends each text once to the server at ``url``, in a closed loop of a process of its own.

    Raises:
        ConnectionError: A request got no answer.
    """
    job = prediction_job(url, texts, concurrency=concurrency, seconds=_LONG_S, **options)
    load = asyncio.run(in_own_process(job))
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
