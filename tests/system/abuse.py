"""``make abuse``: hostile requests at every endpoint of a private stack, then schemathesis.

Writes ``results/hostile.json`` and ``results/schemathesis.json``. What must hold: every replica
lives, nothing is the server's fault, the ingress's memory does not grow, no check fails.
"""

import argparse
import asyncio
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.harness.output import RESULTS, result, run_facts
from benchmarks.harness.processes import replicas
from benchmarks.harness.stack import private_stack
from tests.system import hostile_grpc
from tests.system import hostile_http as hostile

_SCHEMATHESIS = Path(__file__).with_name("schemathesis.toml")


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
    facts, ok = run_facts(), True
    # Switched off, all that the routes of jobs could answer is that they are off.
    environ = {"MLOPS_JOBS__ENABLED": "true"}
    with (
        tempfile.TemporaryDirectory() as folder,
        private_stack(Path(folder), **environ) as stack,
    ):
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
            attacked = {
                "seconds": round(time.monotonic() - started),
                "replicas_lost": len(set(before) - set(replicas(stack))),
                "http": web,
                "grpc": calls,
                "rss_mb_at_the_end": hostile.rss_mb(ingress),
            }
            result(RESULTS / "hostile.json", facts | attacked)
            faults = (attacked["replicas_lost"], web["5xx"], web["bad_seeds"], not web["flat"])
            ok &= not any(faults) and not calls["servers_fault"]
        if given.only != "hostile":
            found = generated(stack.url, given.examples)
            result(RESULTS / "schemathesis.json", facts | found)
            ok &= found["exit_status"] == 0
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
