"""Sends load to a server from a process of its own: ``python -m benchmarks.loadgen.generator``.

The job comes on stdin as one JSON object and the samples go to stdout as another, so that
neither the harness's memory nor its garbage collector disturbs the clock. Closed loop: a
fixed number of connections, each sending its next request when the last was answered. Open
loop: each request is due at a time that does not care how the server is doing.
"""

import asyncio
import gc
import json
import resource
import sys
import time
from dataclasses import asdict, dataclass, field

import uvloop

from benchmarks.loadgen.connection import Connection, Response, connect, request_bytes

MAX_CONNECTIONS = 4_000
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
    bodies: list[str]
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


class _Sender:
    def __init__(self, job: Job) -> None:
        self._job = job
        self._mark = job.cached_mark.encode()
        self._requests = [
            request_bytes(job.host, job.path, job.headers, body) for body in job.bodies
        ]
        self._free: list[Connection] = []
        self._opened: list[Connection] = []
        self._places = asyncio.Semaphore(MAX_CONNECTIONS)
        self.outcomes: list[Outcome] = []
        self.started_s = 0.0

    def now(self) -> float:
        return time.perf_counter() - self.started_s

    async def send(self, index: int, outcome: Outcome) -> None:
        async with self._places:
            try:
                connection = await self._connection()
            except OSError:
                outcome.done_s = self.now()
                return
            outcome.sent_s = self.now()
            self._note(outcome, await connection.send(self._requests[index]))
            self._free.append(connection)

    async def _connection(self) -> Connection:
        while self._free:
            if (connection := self._free.pop()).is_open:
                return connection
        connection = await connect(self._job.host, self._job.port)
        self._opened.append(connection)
        return connection

    def _note(self, outcome: Outcome, response: Response) -> None:
        outcome.done_s = self.now()
        outcome.status = response.status
        outcome.cached = bool(self._mark) and self._mark in response.body
        if self._job.keep_bodies:
            outcome.body = response.body.decode(errors="replace")

    async def close(self) -> None:
        for connection in self._opened:
            connection.close()
        await asyncio.sleep(0)  # the loop closes them in its next round


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
    done, late = await asyncio.wait(tasks, timeout=wait_s)
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
    await sender.close()
    return Load(sender.outcomes, seconds, cpu_s)


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
