"""One run of load against a running server: generator process, figures, and the server's bill."""

import asyncio
from dataclasses import asdict
from typing import Any

from benchmarks.comparison.errors import ServerFailed
from benchmarks.comparison.metrics import figures
from benchmarks.comparison.server_under_test import RunningServer
from benchmarks.comparison.wire import Answer
from benchmarks.harness.processes import cpu_s, memory_mb
from benchmarks.loadgen.client import Job, Load, in_own_process


def closed_loop(
    server: RunningServer, texts: list[str], concurrency: int, seconds: float
) -> dict[str, Any]:
    """Row of a closed loop; ends early when the texts are used up.

    Its rates are over all of its time, to the last answer: a server that works in large batches
    must not lose the one that the end would cut in two.
    """
    job = _job(server, texts, concurrency=concurrency, seconds=seconds)
    return _measured(server, job)


def open_loop(
    server: RunningServer,
    texts: list[str],
    due_s: list[float],
    seconds: float,
    deadline_ms: int = 0,
) -> dict[str, Any]:
    """Row of an open loop: text i is due at ``due_s[i]``, whatever the server does."""
    headers = {server.wire.deadline_header: str(deadline_ms)} if deadline_ms else {}
    return _measured(server, _job(server, texts, due_s=due_s, headers=headers), window_s=seconds)


def answers(server: RunningServer, texts: list[str], concurrency: int) -> list[Answer]:
    """The server's answer to each text, in order.

    Raises:
        ServerFailed: Not every text was answered with 200 in the right format.
    """
    job = _job(server, texts, concurrency=concurrency, seconds=60.0, keep_bodies=True)
    found = []
    for outcome in _send(job).outcomes:
        if outcome.status != 200:
            raise ServerFailed(f"status {outcome.status} instead of an answer: {outcome.body}")
        try:
            found.append(server.wire.decode(outcome.body))
        except ValueError as error:
            raise ServerFailed(str(error)) from error
    if len(found) != len(texts):
        raise ServerFailed(f"{len(found)} answers to {len(texts)} texts")
    return found


def _job(server: RunningServer, texts: list[str], **options: Any) -> Job:
    wire = server.wire
    headers = {**wire.headers, **options.pop("headers", {})}
    bodies = [wire.encode(text) for text in texts]
    return Job(
        "127.0.0.1",
        server.port,
        wire.path,
        bodies,
        headers,
        cached_mark=wire.cached_mark,
        **options,
    )


def _measured(server: RunningServer, job: Job, window_s: float | None = None) -> dict[str, Any]:
    before_s = cpu_s(server.pids(), ended_children=True)
    load = _send(job)
    pids = server.pids()
    used_s = cpu_s(pids, ended_children=True) - before_s
    last_s = max((outcome.done_s or 0.0 for outcome in load.outcomes), default=0.0)
    window_s = window_s or last_s or load.seconds
    facts = figures(load.outcomes, window_s=window_s, ended_s=load.seconds)
    rss_mb, pss_mb = memory_mb(pids)
    per_1000 = 1_000 / facts.ok if facts.ok else None
    return {
        **asdict(facts),
        "seconds": round(load.seconds, 2),
        "server_cpu_s_per_1000": per_1000 and round(used_s * per_1000, 3),
        "generator_cpu_s_per_1000": per_1000 and round(load.cpu_s * per_1000, 3),
        "rss_mb": rss_mb,
        "pss_mb": pss_mb,
        "processes": len(pids),
        "boot_s": server.boot_s,
    }


def _send(job: Job) -> Load:
    try:
        return asyncio.run(in_own_process(job))
    except TimeoutError as error:
        raise ServerFailed("requests are without an answer long after the end") from error
