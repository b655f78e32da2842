"""Cold start of the lite server and of the Lambda handler: process start to the first answer.

    make bench-lite

Each repeat is a fresh process from the folder that `serverless/aws-lambda/build` lays out:
nothing of the development environment is on its path. The handler runs in AWS's own runtime
client against a stub of the Runtime API, so the platform's own share (fetching code, starting the
sandbox) is not in these figures. The graph is started once beside them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from benchmarks.harness.lambda_runtime import runtime_api, url_event
from benchmarks.harness.machine import ROOT
from benchmarks.harness.output import RESULTS, result, run_facts, say
from benchmarks.harness.processes import cpu_s
from benchmarks.harness.stack import private_stack
from operations.local_stack.ports import free_port
from operations.local_stack.processes import MARK, belonging

TEXT = {"text": "The delivery was late, but support was wonderful."}
_WAIT_S = 60.0


def lite_once(folder: Path) -> dict[str, float]:
    """`python -m serverless` on a port of its own, asked until it answers."""
    url = f"http://127.0.0.1:{(port := free_port())}/api/v1/predict"

    def first_answer() -> float:
        while True:
            try:
                httpx.post(url, json=TEXT, timeout=_WAIT_S).raise_for_status()
                return time.monotonic()
            except httpx.TransportError:
                time.sleep(0.005)

    return _measure([sys.executable, "-m", "serverless"], folder, first_answer, PORT=str(port))


def lambda_once(folder: Path) -> dict[str, float]:
    """The handler in `awslambdaric`."""
    with runtime_api() as api:

        def first_answer() -> float:
            event = url_event("/api/v1/predict", json.dumps(TEXT))
            kind, answer = api.call(event, _WAIT_S)
            if kind != "response" or answer["statusCode"] != 200:
                raise RuntimeError(f"the function failed: {answer}")
            return time.monotonic()

        program = [sys.executable, "-m", "awslambdaric", "serverless.aws_lambda.handler"]
        return _measure(program, folder, first_answer, AWS_LAMBDA_RUNTIME_API=api.address)


def graph_once() -> dict[str, float]:
    """`sentigraph serve`: MLflow, Ray and the application, to the first answer."""
    started_s = time.monotonic()
    with private_stack(None) as stack:
        httpx.post(f"{stack.url}/api/v1/predict", json=TEXT, timeout=_WAIT_S).raise_for_status()
        wall_s = time.monotonic() - started_s
        pids = belonging(stack.environ[MARK], set())
        return {"wall_s": round(wall_s, 2), "cpu_s": round(cpu_s(pids, ended_children=True), 2)}


def main() -> int:
    """Builds, measures, prints; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="built already")
    parser.add_argument("--without-graph", action="store_true")
    args = parser.parse_args()
    facts = run_facts()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch) / "lambda"
        if args.folder is None:
            build = ROOT / "serverless" / "aws-lambda" / "build"
            environ = {**os.environ, "PYTHON": sys.executable}
            subprocess.run([build, folder], check=True, env=environ, stdout=sys.stderr)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        ways: dict[str, Callable[[Path], dict[str, float]]] = {
            "lite": lite_once,
            "lambda": lambda_once,
        }
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
        for number in range(args.repeats + 1):
            for name, once in ways.items():
                found = once(folder)
                say(f"{name} {number}: {found}")
                # The first fills the page cache.
                if number:
                    runs[name].append(found)
    figures: dict[str, Any] = {name: _middle(found) for name, found in runs.items()}
    if not args.without_graph:
        figures["graph"] = graph_once()
    done = {"unzipped_mb": round(size / 1e6, 1), "repeats": args.repeats, **figures}
    result(RESULTS / "lite_start.json", facts | done)
    return 0


def _measure(
    program: list[str], folder: Path, first_answer: Callable[[], float], **environ: str
) -> dict[str, float]:
    """Seconds of clock and of CPU until the first answer, and memory then."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # -S and -P: neither site-packages of this environment nor the current folder.
    command = [program[0], "-S", "-P", *program[1:]]
    started_s = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**clean, **environ, "PYTHONPATH": str(folder)},
        stdout=subprocess.DEVNULL,
    )
    try:
        wall_s = first_answer() - started_s
        pid = process.pid
        used_s = cpu_s([pid])
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        memory_kb = int(status.partition("VmHWM:")[2].split()[0])
    finally:
        process.kill()
        process.wait()
    return {
        "wall_s": round(wall_s, 3),
        "cpu_s": round(used_s, 3),
        "memory_mb": round(memory_kb / 1_000, 1),
    }


def _middle(runs: list[dict[str, float]]) -> dict[str, float]:
    found = {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]}
    found["most_cpu_s"] = max(run["cpu_s"] for run in runs)
    return found


if __name__ == "__main__":
    sys.exit(main())
