"""``make abuse``: hostile requests at every door of a private stack, then schemathesis.

Writes ``results/hostile.json`` and ``results/schemathesis.json``. What must hold: every replica
lives, nothing is the server's fault, the ingress's memory does not grow, no check fails.
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.harness.machine import commit, load_average, machine
from benchmarks.resilience import hostile_grpc
from benchmarks.resilience import hostile_http as hostile
from operations.local_stack.stack import Stack, StackSettings

RESULTS = Path(__file__).parents[1] / "results"
_SCHEMATHESIS = Path(__file__).with_name("schemathesis.toml")


def replicas(stack: Stack) -> dict[int, str]:
    """Process id to name of every replica of the stack."""
    return dict(_replicas(f"SENTIGRAPH_STACK={stack.environ['SENTIGRAPH_STACK']}".encode()))


def _replicas(mark: bytes) -> Iterator[tuple[int, str]]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            title = (process / "cmdline").read_bytes().decode(errors="replace")
            if "ray::ServeReplica" in title and mark in (process / "environ").read_bytes():
                name = re.search(r"ServeReplica:\w+:(\w+)", title)
                yield int(process.name), name.group(1) if name else title
        except OSError:
            continue


def generated(url: str, examples: int) -> dict[str, object]:
    """What schemathesis says; its own exit status decides."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        *("--config-file", str(_SCHEMATHESIS), "run", f"{url}/api/v1/openapi.json"),
        *("--checks", "all", "--max-examples", str(examples), "--seed", "1", "--no-color"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout, file=sys.stderr)
    cases = re.search(r"([\d,]+) generated", done.stdout)
    return {
        "command": " ".join(["schemathesis", *command[3:4], "…", *command[5:]]),
        "exit_status": done.returncode,
        "cases": int(cases.group(1).replace(",", "")) if cases else 0,
        "summary": [line for line in done.stdout.splitlines()[-14:] if line.strip()],
    }


def main() -> int:
    """Runs everything; exit status 1 when something does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="hostile HTTP requests")
    parser.add_argument("--calls", type=int, default=20_000, help="hostile gRPC calls")
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--examples", type=int, default=60, help="of schemathesis, by operation")
    parser.add_argument("--only", choices=["hostile", "schemathesis"])
    given = parser.parse_args()
    head = {"date": datetime.now(UTC).date().isoformat(), "commit": commit(), "machine": machine()}
    ok = True
    with tempfile.TemporaryDirectory() as folder:
        settings = StackSettings(
            # Off, all that their routes could say is that they are off.
            environ={**os.environ, "MLOPS_JOBS__ENABLED": "true"},
            state_dir=Path(folder),
            port=0,
            mlflow_port=0,
            dashboard_port=0,
        )
        with Stack(settings, on_step=lambda line: print(line, file=sys.stderr)) as stack:
            if given.only != "schemathesis":
                before = replicas(stack)
                (ingress,) = (pid for pid, name in before.items() if name == "Ingress")
                started = time.monotonic()
                web = asyncio.run(
                    hostile.attack(stack.url, "sentiment", given.count, given.concurrency, ingress)
                )
                calls = asyncio.run(
                    hostile_grpc.attack(stack.grpc_address, given.calls, given.concurrency)
                )
                result = {
                    **head,
                    "load_average": load_average(),
                    "seconds": round(time.monotonic() - started),
                    "replicas_lost": len(set(before) - set(replicas(stack))),
                    "http": web,
                    "grpc": calls,
                    "rss_mb_at_the_end": hostile.rss_mb(ingress),
                }
                _write("hostile.json", result)
                faults = (result["replicas_lost"], web["5xx"], web["bad_seeds"], not web["flat"])
                ok &= not any(faults) and not calls["servers_fault"]
            if given.only != "hostile":
                found = generated(stack.url, given.examples)
                _write("schemathesis.json", {**head, **found})
                ok &= found["exit_status"] == 0
    return 0 if ok else 1


def _write(name: str, result: dict[str, object]) -> None:
    (RESULTS / name).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
