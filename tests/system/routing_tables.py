"""Asks every ingress replica for its routing table, again and again, in a process of its own.

That process joins the stack's Ray and prints a line for each round; Ray would otherwise stay
connected in the benchmark and take its signals.
"""

import asyncio
import json
import subprocess
import sys
import threading
import time
from typing import IO

import ray
from ray import serve

from benchmarks.harness.machine import ROOT
from operations.local_stack.stack import Stack

_PAUSE_S = 0.05
_PATIENCE_S = 60.0


class Tables:
    """The rounds so far, while the ``with`` block lasts.

    Attributes:
        replicas: Ingress replicas that answered in the last round.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._rounds: list[tuple[float, list[int]]] = []
        self.replicas = 0

    def __enter__(self) -> "Tables":
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.system.routing_tables", self._stack.ray_address],
            cwd=ROOT,
            env=self._stack.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()
        ends_s = time.monotonic() + _PATIENCE_S
        while not self._rounds:
            if time.monotonic() > ends_s or self._process.poll() is not None:
                self._process.kill()
                raise TimeoutError("no ingress replica answered with its table")
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)

    def live_at_s(self, version: int, *, since_s: float) -> float:
        """Unix time of the first round since then in which all have ``version`` as champion.

        Raises:
            TimeoutError: There is none within a minute.
        """
        ends_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < ends_s:
            for at_s, versions in list(self._rounds):
                if at_s > since_s and set(versions) == {version}:
                    return at_s
            time.sleep(_PAUSE_S)
        raise TimeoutError(f"version {version} is not live everywhere after a minute")

    def _read(self, lines: IO[str]) -> None:
        for line in lines:
            at_s, versions = json.loads(line)
            self._rounds.append((at_s, versions))
            self.replicas = len(versions)


async def ask(address: str) -> None:
    """Prints the time and every replica's champion, until it is stopped."""
    ray.init(address=address, namespace="serve", logging_level="error", log_to_driver=False)
    handle = serve.get_deployment_handle("Ingress", "sentigraph")
    while True:
        tables = await handle.broadcast("routes").results_async()
        print(json.dumps([time.time(), [t.champion.version for t in tables]]), flush=True)
        await asyncio.sleep(_PAUSE_S)


if __name__ == "__main__":
    asyncio.run(ask(sys.argv[1]))
