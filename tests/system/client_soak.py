"""The Python client through faults: latency, resets before and after the server has answered,
429 and 503, then a server that is gone.

    make soak-client

What must hold: as many jobs as logical submissions reached the server, whatever was repeated; no
try arrives after its call's time; all calls end in time; tries stay within the retry budget, also
while nothing answers.
"""

import argparse
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import httpx2

from benchmarks.harness.output import RESULTS, result, run_facts, say
from benchmarks.harness.stack import private_stack
from sentigraph_client import Client, errors
from tests.system.chaos_proxy import Fault, TcpProxy
from tests.system.client_faults import Faults, faulty

_THREADS = 4
_TIMEOUT_S = 3.0
# The server's own 504 may arrive so much later; the rest is this machine's scheduling.
_GRACE_S = 0.5 + 1.5
# `RetryBudget`: ten at once, and one for ten calls.
_BUDGET, _SHARE = 10, 0.1


class Soak:
    """Calls of several threads with one client, and what came of them."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.ends: Counter[str] = Counter()
        self.began: dict[str, float] = {}
        self.longest_s = 0.0
        self._lock = threading.Lock()

    def run(self, seconds: float) -> None:
        """All threads, for so long."""
        ends_s = time.monotonic() + seconds
        threads = [threading.Thread(target=self._calls, args=(ends_s, n)) for n in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _calls(self, ends_s: float, number: int) -> None:
        count = 0
        while time.monotonic() < ends_s:
            count += 1
            call = uuid.uuid4().hex
            if count % 5:
                self._note("predict", call, self._predict)
            else:
                self._note("submit", call, self._submit)

    def _predict(self, call: str) -> object:
        return self._client.predict(f"a text of {call}", routing_key=call)

    def _submit(self, call: str) -> object:
        return self._client.jobs.submit([f"{call} fine", "awful"])

    def _note(self, kind: str, call: str, ask: Callable[[str], object]) -> None:
        started_s = time.monotonic()
        self.began[call] = time.time()
        try:
            ask(call)
            end = "ok"
        except errors.SentigraphError as error:
            end = type(error).__name__
        took_s = time.monotonic() - started_s
        with self._lock:
            self.ends[f"{kind} {end}"] += 1
            self.longest_s = max(self.longest_s, took_s)


def soak(url: str, seconds: float) -> dict[str, Any]:
    """The figures of one run against the server at ``url``, and whether each promise held."""
    before = _jobs(url)
    faults = Faults(url)
    with faulty(faults) as port, TcpProxy(port) as proxy:
        made: list[object] = []
        http = httpx2.Client(event_hooks={"request": [made.append]})
        client = Client(f"http://127.0.0.1:{proxy.port}", timeout_s=_TIMEOUT_S, http_client=http)
        run = Soak(client)
        with proxy.fault(Fault(delay_s=0.01, cut_share=0.03)):
            run.run(seconds)
        calls, tries = _counted(run, faults)
        jobs = _jobs(url) - before
        late = _late(run, faults)
        made.clear()
        with proxy.fault(Fault(reset=True)):
            gone = Soak(client)
            gone.run(min(5.0, seconds))
        http.close()
    allowed = round(calls + _BUDGET + _SHARE * sum(run.ends.values()))
    figures: dict[str, Any] = {
        "seconds": seconds,
        "ends": dict(run.ends),
        "calls": calls,
        "tries": tries,
        "tries_allowed": allowed,
        "longest_call_s": round(run.longest_s, 2),
        "jobs_made": jobs,
        "submissions_passed_on": len(faults.keys),
        "tries_after_their_time": late,
        "ends_while_gone": dict(gone.ends),
        "tries_while_gone": len(made),
    }
    figures["held"] = {
        "no duplicate job": jobs <= len(faults.keys),
        "no try after its time": late == 0,
        "calls end in time": run.longest_s <= _TIMEOUT_S + _GRACE_S,
        "retry budget": tries <= allowed,
        "retry budget while gone": len(made) <= _BUDGET + (1 + _SHARE) * sum(gone.ends.values()),
        "most calls succeed": run.ends["predict ok"] >= 0.9 * calls,
    }
    return figures


def _counted(run: Soak, faults: Faults) -> tuple[int, int]:
    predictions = sum(n for name, n in run.ends.items() if name.startswith("predict"))
    return predictions, sum(map(len, faults.tries.values()))


def _late(run: Soak, faults: Faults) -> int:
    return sum(
        arrived > run.began[call] + _TIMEOUT_S
        for call, arrivals in faults.tries.items()
        for arrived in arrivals
    )


def _jobs(url: str) -> int:
    answer = httpx.get(f"{url}/api/v1/batch/metrics", timeout=30).raise_for_status()
    return int(answer.json()["total_jobs"])


@contextmanager
def _server(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    with private_stack(None, MLOPS_JOBS__ENABLED="true") as stack:
        yield stack.url


def main() -> int:
    """Runs it, prints the figures; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="a server with jobs; else one of its own")
    parser.add_argument("--seconds", type=float, default=60.0)
    args = parser.parse_args()
    facts = run_facts()
    with _server(args.url) as url:
        figures = soak(url, args.seconds)
    result(None if args.url else RESULTS / "client_soak.json", facts | figures)
    broken = [name for name, held in figures["held"].items() if not held]
    for name in broken:
        say(f"did not hold: {name}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
