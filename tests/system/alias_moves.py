"""Twenty alias moves and an MLflow outage under open-loop load, on a private stack.

``python -m tests.system.alias_moves`` measures the capacity with a closed loop, then sends
Poisson arrivals at 70 % of it while the champion alias moves between two versions over
REST, by the command line and straight in MLflow (what its UI does). It counts failed
requests, answers whose version and digest do not belong together, and the time until
each move is live on both ingress replicas, which are asked one by one, and where it went: until
the watcher looked, then in each step that the Registry deployment logs (judge runs beside open,
load and probe). Then MLflow's server hangs for half a minute, and is stopped for two.
"""

import argparse
import asyncio
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from benchmarks.harness.machine import ROOT
from benchmarks.harness.mlflow_server import MlflowServer
from benchmarks.harness.models import ACTOR, BUNDLED, NAME, register_variant, served_version
from benchmarks.harness.output import RESULTS, result, run_facts, say
from benchmarks.harness.stack import private_stack, registry_of
from benchmarks.harness.texts import real_texts
from benchmarks.loadgen.background import BackgroundLoad, numbered_bodies
from benchmarks.loadgen.client import prediction_job, send_load
from operations.local_stack.stack import Stack
from registry.model_registry import ModelRegistry
from tests.system.rollout_log import steps_of
from tests.system.routing_tables import Tables

_LOAD_SHARE = 0.7
# A call of the watcher to a server that hangs is given up after 10 s, twice.
_HANGS_S = 30.0
_CAPACITY_TEXTS = 20_000


def capacity(url: str, texts: list[str]) -> float:
    """Requests per second of a closed loop of 16 clients."""
    fresh = [f"{texts[n % len(texts)]} capacity {n}" for n in range(_CAPACITY_TEXTS)]
    job = prediction_job(url, fresh, concurrency=16, seconds=8.0)
    load = asyncio.run(send_load(job))
    assert set(load.statuses) == {200}, load.statuses
    return len(load.outcomes) / load.seconds


def move(stack: Stack, registry: ModelRegistry, version: int, way: str) -> None:
    """Makes a version champion in one of three ways."""
    if way == "mlflow":
        client = registry.store.mlflow.client()
        client.set_registered_model_alias(NAME, "champion", str(version))
        return
    if registry.lifecycle.state(NAME).stage(version) != "staging":
        registry.lifecycle.transition(NAME, version, "staging", actor=ACTOR)
    if way == "rest":
        path = f"{stack.url}/api/v1/models/{NAME}/versions/{version}/promote"
        httpx.post(path, json={"to_status": "production"}, timeout=60).raise_for_status()
        return
    command = [sys.executable, "-m", "cli", "models", "promote", NAME, str(version)]
    config = stack.config.registry
    where = ["--tracking-uri", config.tracking_uri, "--artifact-root", config.artifact_root]
    subprocess.run([*command, *where], cwd=ROOT, check=True, capture_output=True)


def moved_at_s(registry: ModelRegistry, version: int) -> float:
    """When the alias was written, by the ledger's clock (or now, for a move in MLflow)."""
    events = registry.ledger.events(NAME)
    placed = [e.at_s for e in events if e.after.get("aliases", {}).get("champion") == version]
    return placed[-1]


def timed(way: str, written_s: float, live_s: float, step_times: dict[str, Any]) -> dict[str, Any]:
    """One move's seconds: until it was live, until it was noticed, and by step."""
    found: dict[str, Any] = {"way": way, "live": round(live_s - written_s, 2)}
    if step_times:
        found["noticed"] = round(step_times["seen_at_s"] - written_s, 2)
        found |= {step: round(seconds, 2) for step, seconds in step_times["steps_s"].items()}
    return found


def main() -> int:
    """Runs both proofs; 1 when a request failed or versions were mixed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moves", type=int, default=20)
    parser.add_argument("--outage-s", type=float, default=120.0)
    args = parser.parse_args()
    facts = run_facts()
    with (
        tempfile.TemporaryDirectory(prefix="sentigraph-moves-") as folder,
        MlflowServer(Path(folder)) as server,
    ):
        environ = {
            "SENTIGRAPH_HOME": folder,
            "MLOPS_REGISTRY__TRACKING_URI": server.url,
            "MLOPS_REGISTRY__BUNDLED_MODEL_DIR": str(BUNDLED),
            "MLOPS_REPLICAS__INGRESS__NUM_REPLICAS": "2",
        }
        with private_stack(None, **environ) as stack:
            facts |= measure(stack, server, args, Path(folder))
    result(RESULTS / "alias_moves.json", facts)
    return int(facts["failed"] > 0 or facts["mixed"] > 0)


def measure(
    stack: Stack, server: MlflowServer, args: argparse.Namespace, folder: Path
) -> dict[str, Any]:
    """Both proofs on a running stack."""
    moves = args.moves
    registry = registry_of(stack)
    texts = real_texts(2_000)
    second = register_variant(registry, folder, temperature=1.1)
    digests = {v: registry.store.resolve(NAME, v).digest for v in (1, second)}
    pace = capacity(stack.url, texts)
    served: Counter[tuple[int, str]] = Counter()
    found, ways = [], ("rest", "command line", "mlflow")
    with (
        Tables(stack) as tables,
        BackgroundLoad(
            stack.url,
            numbered_bodies(texts),
            rate_per_s=_LOAD_SHARE * pace,
            on_success=lambda body: served.update([served_version(body)]),
        ) as load,
    ):
        for number in range(moves):
            version = (second, 1)[number % 2]
            way = ways[number % 3]
            before_s = time.time()
            move(stack, registry, version, way)
            live_s = tables.live_at_s(version, since_s=before_s)
            written_s = before_s if way == "mlflow" else moved_at_s(registry, version)
            step_times = steps_of(stack.logs, version, before_s)
            found.append(timed(way, written_s, live_s, step_times))
            say(f"move {number + 1}, seconds: {found[-1]}")
            time.sleep(1)
        away = outage(stack, server, args.outage_s)
    mixed = sum(count for (version, digest), count in served.items() if digests[version] != digest)
    ordered = sorted(load.latencies_s)
    waits = [moved["live"] for moved in found]
    return {
        "capacity_per_s": round(pace, 1),
        "offered_per_s": round(_LOAD_SHARE * pace, 1),
        "moves": moves,
        "live_on_every_replica_after_s": {
            "median": sorted(waits)[len(waits) // 2],
            "longest": max(waits),
            **{way: max(waits[i::3]) for i, way in enumerate(ways) if waits[i::3]},
        },
        "seconds_of_each_move": found,
        "ingresses": tables.replicas,
        **away,
        "requests": load.statuses.total(),
        "statuses": load.statuses,
        "failed": load.failed,
        "mixed": mixed,
        "p50_ms": round(1_000 * ordered[len(ordered) // 2], 1),
        "p99_ms": round(1_000 * ordered[int(len(ordered) * 0.99)], 1),
    }


def outage(stack: Stack, server: MlflowServer, seconds: float) -> dict[str, Any]:
    """MLflow hangs, then is stopped, then is back; what readiness said of it at each end."""
    server.signal(signal.SIGSTOP)
    time.sleep(min(_HANGS_S, seconds))
    hung = readiness(stack)
    server.signal(signal.SIGCONT)
    server.stop()
    started_s = time.monotonic()
    time.sleep(seconds)
    stopped = readiness(stack)
    server.start()
    stopped_s = time.monotonic() - started_s
    ends_s = time.monotonic() + _HANGS_S
    while (back := readiness(stack)) != "ok" and time.monotonic() < ends_s:
        time.sleep(0.5)
    return {
        "mlflow_stopped_s": round(stopped_s, 1),
        "mlflow_hung_s": min(_HANGS_S, seconds),
        "said_of_the_registry": {"hangs": hung, "stopped": stopped, "back": back},
    }


def readiness(stack: Stack) -> str:
    """The registry's state by ``/health/ready``."""
    answer = httpx.get(f"{stack.url}/api/v1/health/ready", timeout=30).raise_for_status()
    return str(answer.json()["checks"]["registry"])


if __name__ == "__main__":
    sys.exit(main())
