"""Twenty alias moves and an MLflow outage under open-loop load, on a private stack.

``python -m benchmarks.rollout.alias_moves`` measures the capacity with a closed loop, then sends
Poisson arrivals at 70 % of it while the champion alias moves between two versions over
REST, by the command line and straight in MLflow (what its UI does). It counts failed
requests, answers whose version and digest do not belong together, and the time until
each move is live on both ingress replicas, which are asked one by one, and where it went: until
the watcher looked, then in each step that the Registry deployment logs (judge runs beside open,
load and probe). Then MLflow's server hangs for half a minute, and is stopped for two.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from benchmarks.harness.mlflow_server import MlflowServer
from benchmarks.harness.texts import ROOT, real_texts
from benchmarks.loadgen.open_loop import OpenLoop
from benchmarks.rollout.rollout_log import steps_of
from benchmarks.rollout.routing_tables import Tables
from operations.local_stack.stack import Stack, StackSettings
from registry.bundles.bundle import open_bundle, write_bundle
from registry.model_registry import ModelRegistry

BUNDLE = ROOT / "models" / "sentiment"
NAME = "sentiment"
_LOAD_SHARE = 0.7
# A call of the watcher to a server that hangs is given up after 10 s, twice.
_HANGS_S = 30.0


def capacity(url: str, texts: list[str], seconds: float = 8.0) -> float:
    """Requests per second of a closed loop of 16 clients."""
    ends_s, counts = time.monotonic() + seconds, [0] * 16

    def client(index: int) -> None:
        with httpx.Client(timeout=30) as http:
            while time.monotonic() < ends_s:
                body = {"text": f"{texts[counts[index] % len(texts)]} {index} {counts[index]}"}
                http.post(f"{url}/api/v1/predict", json=body).raise_for_status()
                counts[index] += 1

    threads = [threading.Thread(target=client, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def move(stack: Stack, registry: ModelRegistry, version: int, way: str) -> None:
    """Makes a version champion in one of three ways."""
    if way == "mlflow":
        client = registry.store.mlflow.client()
        client.set_registered_model_alias(NAME, "champion", str(version))
        return
    if registry.lifecycle.state(NAME).stage(version) != "staging":
        registry.lifecycle.transition(NAME, version, "staging", actor="benchmark")
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


def timed(way: str, written_s: float, live_s: float, told: dict[str, Any]) -> dict[str, Any]:
    """One move's seconds: until it was live, until it was noticed, and by step."""
    found: dict[str, Any] = {"way": way, "live": round(live_s - written_s, 2)}
    if told:
        found["noticed"] = round(told["seen_at_s"] - written_s, 2)
        found |= {step: round(seconds, 2) for step, seconds in told["steps_s"].items()}
    return found


def second_version(registry: ModelRegistry, folder: Path) -> int:
    """The bundled model with another temperature, in staging."""
    bundle = open_bundle(BUNDLE)
    made = write_bundle(
        folder / "second",
        name=NAME,
        labels=bundle.labels,
        files={name: BUNDLE / name for name in bundle.files},
        max_tokens=bundle.max_tokens,
        temperature=bundle.temperature * 1.1,
        engine=bundle.engine,
    )
    return registry.store.register(NAME, made.directory, actor="benchmark").version


def main() -> int:
    """Runs both proofs; 1 when a request failed or versions were mixed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moves", type=int, default=20)
    parser.add_argument("--outage-s", type=float, default=120.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sentigraph-moves-") as folder:
        server = MlflowServer(Path(folder))
        server.start()
        settings = StackSettings(
            environ={
                **os.environ,
                "SENTIGRAPH_HOME": folder,
                "MLOPS_REGISTRY__TRACKING_URI": server.url,
                "MLOPS_REGISTRY__BUNDLED_MODEL_DIR": str(BUNDLE),
                "MLOPS_REPLICAS__INGRESS__NUM_REPLICAS": "2",
            },
            port=0,
            mlflow_port=0,
            dashboard_port=0,
        )
        try:
            with Stack(settings, on_step=lambda step: print(f"  {step}", file=sys.stderr)) as stack:
                result = measure(stack, server, args, Path(folder))
        finally:
            server.stop()
    result["date"] = datetime.now(UTC).isoformat(timespec="seconds")
    print(json.dumps(result, indent=2))
    (ROOT / "benchmarks" / "results" / "alias_moves.json").write_text(
        json.dumps(result, indent=2) + "\n", encoding="utf-8"
    )
    return int(result["failed"] > 0 or result["mixed"] > 0)


def measure(
    stack: Stack, server: MlflowServer, args: argparse.Namespace, folder: Path
) -> dict[str, Any]:
    """Both proofs on a running stack."""
    moves = args.moves
    config = stack.config.registry
    registry = ModelRegistry(config.tracking_uri, config.artifact_root)
    texts = real_texts(2_000)
    second = second_version(registry, folder)
    digests = {v: registry.store.resolve(NAME, v).digest for v in (1, second)}
    pace = capacity(stack.url, texts)
    found, ways = [], ("rest", "command line", "mlflow")
    with (
        Tables(stack) as tables,
        OpenLoop(stack.url, texts, _LOAD_SHARE * pace) as load,
    ):
        for number in range(moves):
            version = (second, 1)[number % 2]
            way = ways[number % 3]
            before_s = time.time()
            move(stack, registry, version, way)
            live_s = tables.live_at_s(version, since_s=before_s)
            written_s = before_s if way == "mlflow" else moved_at_s(registry, version)
            told = steps_of(stack.logs, version, before_s)
            found.append(timed(way, written_s, live_s, told))
            print(f"  move {number + 1}, seconds: {found[-1]}", file=sys.stderr)
            time.sleep(1)
        away = outage(stack, server, args.outage_s)
    mixed = sum(
        count for (version, digest), count in load.identities.items() if digests[version] != digest
    )
    ordered = sorted(load.latencies_s)
    waits = [moved["live"] for moved in found]
    return {
        "command": f"python -m benchmarks.rollout.alias_moves --moves {moves}"
        f" --outage-s {args.outage_s:g}",
        "load_average": os.getloadavg()[1],
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
        "requests": sum(load.statuses.values()),
        "statuses": load.statuses,
        "failed": sum(count for status, count in load.statuses.items() if status != "200"),
        "mixed": mixed,
        "p50_ms": round(1_000 * ordered[len(ordered) // 2], 1),
        "p99_ms": round(1_000 * ordered[int(len(ordered) * 0.99)], 1),
    }


def outage(stack: Stack, server: MlflowServer, seconds: float) -> dict[str, Any]:
    """MLflow hangs, then is stopped, then is back; what readiness said of it at each end."""
    server.freeze()
    time.sleep(min(_HANGS_S, seconds))
    hung = said(stack)
    server.thaw()
    server.stop()
    started_s = time.monotonic()
    time.sleep(seconds)
    stopped = said(stack)
    server.start()
    stopped_s = time.monotonic() - started_s
    ends_s = time.monotonic() + _HANGS_S
    while (back := said(stack)) != "ok" and time.monotonic() < ends_s:
        time.sleep(0.5)
    return {
        "mlflow_stopped_s": round(stopped_s, 1),
        "mlflow_hung_s": min(_HANGS_S, seconds),
        "said_of_the_registry": {"hangs": hung, "stopped": stopped, "back": back},
    }


def said(stack: Stack) -> str:
    """The registry's state by ``/health/ready``."""
    answer = httpx.get(f"{stack.url}/api/v1/health/ready", timeout=30).raise_for_status()
    return str(answer.json()["checks"]["registry"])


if __name__ == "__main__":
    sys.exit(main())
