"""What batch jobs promise, on a real stack: ``python -m benchmarks.serving.jobs``.

- killed: jobs are submitted, every process of the stack is ended with SIGKILL twice while they
  run, and started again. All must complete, in order, each result that of its text, and no more
  texts may have been classified twice than were in the chunks under way.
- urgent: a job of high priority behind many texts of low priority; time to its first result.
- beside: interactive latencies alone, and while jobs keep every engine busy.

Every figure is of one machine that runs clients and servers; ``--quick`` is a tenth of it.
"""

import argparse
import asyncio
import json
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.harness.output import result, run_facts, say
from benchmarks.harness.processes import kill_all
from benchmarks.harness.stack import private_stack
from benchmarks.harness.texts import numbered_texts
from benchmarks.loadgen.client import prediction_job, send_load, send_texts
from operations.local_stack.processes import MARK
from operations.local_stack.stack import Stack

_CHUNK_TEXTS, _CHUNKS = 128, 2


def running(folder: Path) -> AbstractContextManager[Stack]:
    """A private stack with jobs, whose state lies in ``folder``; what a kill left is replaced."""
    environ = {
        "MLOPS_JOBS__ENABLED": "true",
        "MLOPS_JOBS__DATABASE": f"sqlite:///{folder}/jobs.db",
        "MLOPS_CACHE__L1_MAX_BYTES": "0",
        "MLOPS_CACHE__L2": "none",
    }
    return private_stack(folder / "state", **environ)


def killed(folder: Path, jobs: int, texts_per_job: int, kills: int) -> dict[str, object]:
    """Submits jobs, kills the whole stack so many times, and checks what came of them."""
    pool = numbered_texts(jobs * texts_per_job)
    parts = [pool[i * texts_per_job : (i + 1) * texts_per_job] for i in range(jobs)]
    ids: list[str] = []
    started_s = time.monotonic()
    for round_number in range(kills + 1):
        with running(folder) as stack, _client(stack) as client:
            if not ids:
                ids = [_submit(client, part, f"job-{i}") for i, part in enumerate(parts)]
                again = _submit(client, parts[0], "job-0")
                assert again == ids[0], "an idempotency key gave a second job"
            if round_number < kills:
                at = len(pool) * (round_number + 1) // (kills + 1)
                while (before := _done(client, ids)) < at:
                    time.sleep(0.5)
                kill_all(stack.environ[MARK])
                say(f"killed at {before} of {len(pool)} texts")
                continue
            while not all(_status(client, job)["status"] == "completed" for job in ids):
                time.sleep(0.5)
            seconds = time.monotonic() - started_s
            found = [_check(client, job, part) for job, part in zip(ids, parts, strict=True)]
    twice = sum(status["retried_texts"] for status in found)
    most = kills * _CHUNK_TEXTS * _CHUNKS
    return {
        "jobs": jobs,
        "texts_per_job": texts_per_job,
        "kills_of_everything": kills,
        "completed": sum(status["status"] == "completed" for status in found),
        "results_complete_and_in_order": True,  # _check raises otherwise
        "failed_texts": sum(status["failed_texts"] for status in found),
        "texts_classified_twice_at_most": twice,
        "texts_in_chunks_under_way_at_kills": most,
        "nothing_twice_beyond_the_chunks_under_way": twice <= most,
        "seconds_with_restarts": round(seconds, 1),
    }


def urgent(folder: Path, low_texts: int) -> dict[str, object]:
    """A high job behind low ones: seconds to its first result and to its last."""
    pool = numbered_texts(low_texts + 400)
    with running(folder) as stack, _client(stack) as client:
        low = [
            _submit(client, pool[start : start + 2_000], f"low-{start}", "low")
            for start in range(0, low_texts, 2_000)
        ]
        _until(lambda: _done(client, low) > 0)
        first, last = [], []
        for number in range(4):
            part = pool[low_texts + 100 * number : low_texts + 100 * (number + 1)]
            before = _done(client, low)
            asked_s = time.monotonic()
            job = _submit(client, part, f"high-{number}", "high")
            _until(lambda at=job: client.get(f"/results/{at}").status_code == 200, 0.01)  # type: ignore[misc]
            first.append(time.monotonic() - asked_s)
            _until(lambda at=job: _status(client, at)["status"] == "completed", 0.01)  # type: ignore[misc]
            last.append(time.monotonic() - asked_s)
            say(f"high job {number}: first result after {first[-1]:.2f} s")
        waiting = low_texts - before
        estimate = _status(client, low[-1])["estimated_completion_seconds"]
    return {
        "texts_of_low_priority": low_texts,
        "of_them_waiting_at_the_last_one": waiting,
        "high_jobs_of_100_texts": len(first),
        "first_result_s": _spread(first),
        "last_result_s": _spread(last),
        "estimate_for_the_last_low_job_s": estimate,
    }


def beside(folder: Path, seconds: float, rate: float) -> dict[str, object]:
    """Interactive latencies at a steady rate, alone and beside jobs that never run out."""
    with running(folder) as stack, _client(stack) as client:
        pool = numbered_texts(4_000)
        send_texts(stack.url, pool[:200], 4)
        alone = _steady(stack, pool, seconds, rate)
        bulk = numbered_texts(40_000)
        jobs = [_submit(client, bulk[i : i + 2_000], f"b-{i}") for i in range(0, 40_000, 2_000)]
        _until(lambda: _done(client, jobs) > 0)
        begun_s, begun = time.monotonic(), _done(client, jobs)
        together = _steady(stack, pool, seconds, rate)
        bulk_rate = (_done(client, jobs) - begun) / (time.monotonic() - begun_s)
        assert _done(client, jobs) < len(bulk), "the jobs ended before the measurement"
    ratio = together["p99_ms"] / alone["p99_ms"]
    return {
        "requests_per_s": rate,
        "seconds": seconds,
        "alone": alone,
        "beside_jobs": together,
        "jobs_texts_per_s": round(bulk_rate, 1),
        "p99_ratio": round(ratio, 2),
    }


def _steady(stack: Stack, pool: list[str], seconds: float, rate: float) -> dict[str, float]:
    """Open loop: a request every ``1 / rate`` seconds, whatever the answers take."""
    due_s = [number / rate for number in range(int(seconds * rate))]
    texts = [pool[number % len(pool)] for number in range(len(due_s))]
    load = asyncio.run(send_load(prediction_job(stack.url, texts, due_s=due_s, drain_s=60.0)))
    p50, p99 = np.percentile(load.latencies_s, [50, 99]) * 1_000
    return {
        "requests": len(due_s),
        "failed": len(due_s) - load.statuses.get(200, 0),
        "p50_ms": round(float(p50), 1),
        "p99_ms": round(float(p99), 1),
    }


def _client(stack: Stack) -> httpx.Client:
    return httpx.Client(base_url=f"{stack.url}/api/v1/batch", timeout=60)


def _submit(client: httpx.Client, texts: list[str], key: str, priority: str = "medium") -> str:
    answer = client.post(
        "/predict",
        json={"texts": texts, "priority": priority},
        headers={"Idempotency-Key": key},
    )
    answer.raise_for_status()
    return str(answer.json()["job_id"])


def _status(client: httpx.Client, job: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/status/{job}").raise_for_status().json()
    return found


def _done(client: httpx.Client, jobs: list[str]) -> int:
    return sum(_status(client, job)["processed_texts"] for job in jobs)


def _until(is_so: Callable[[], bool], pause_s: float = 0.5) -> None:
    while not is_so():
        time.sleep(pause_s)


def _check(client: httpx.Client, job: str, texts: list[str]) -> dict[str, Any]:
    """Every text has its own result at its own place; the job's status."""
    body = client.get(f"/results/{job}/file", params={"format": "jsonl"}).raise_for_status()
    rows = [json.loads(line) for line in body.content.splitlines()]
    assert [row["text"] for row in rows] == texts, f"job {job}: rows are not those submitted"
    assert [row["index"] for row in rows] == list(range(len(texts)))
    assert all((row["label"] is None) != (row["error_code"] is None) for row in rows)
    return _status(client, job)


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(values), 2), "max": round(max(values), 2)}


def main() -> None:
    """Runs what is asked for and prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the texts")
    parser.add_argument("--only", choices=["killed", "urgent", "beside"])
    parser.add_argument("--rate", type=float, default=10.0, help="interactive requests per second")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each half of beside")
    given = parser.parse_args()
    share = 10 if given.quick else 1
    # A time limit around this command must not leave a stack behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    facts = run_facts()
    steps: dict[str, Callable[[Path], dict[str, object]]] = {
        "killed": lambda folder: killed(folder, 20, 2_000 // share, kills=2),
        "urgent": lambda folder: urgent(folder, 20_000 // share),
        "beside": lambda folder: beside(folder, given.seconds / share, given.rate),
    }
    for name, step in steps.items():
        if given.only in (None, name):
            with tempfile.TemporaryDirectory() as folder:
                facts[name] = step(Path(folder))
            say(f"{name}: {facts[name]}")
    result(None, facts)


if __name__ == "__main__":
    main()
