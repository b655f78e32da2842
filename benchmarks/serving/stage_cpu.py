"""Where the CPU goes: milliseconds per request of every process of the running graph.

``python -m benchmarks.serving.stage_cpu`` starts a private stack, sends real texts in a closed loop
and reads ``utime + stime`` of each process from ``/proc`` before and after, and how many texts
shared a hop and an engine batch. CPU time depends less than throughput on what else the machine
does, so this shows what a change to the hot path is worth even where throughput cannot be measured.

``--kind`` says what is sent: ``new`` texts; ``cached`` ones, of which level one knows all; or ones
that are ``refused``, because a batch keeps the engines busy for longer than their deadline.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import yaml
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.harness.output import result, run_facts, say
from benchmarks.harness.processes import command_line, cpu_s
from benchmarks.harness.stack import private_stack, serve_config
from benchmarks.harness.texts import real_texts
from benchmarks.loadgen.client import Job, Load, send_load, send_texts
from operations.local_stack.processes import MARK, belonging
from operations.local_stack.stack import Stack

_WANTED = {"new": 200, "cached": 200, "refused": 429}
_KNOWN = 200
# Texts of the batches behind which others are refused, and those others' deadline.
_BUSY_TEXTS, _BUSY_DEADLINE_MS, _DEADLINE_MS = 1_000, 60_000, 30
_SIZES = {"hop": "sentiment_hop_texts", "engine batch": "sentiment_batch_rows"}
_NAMES = {
    "ServeReplica:sentigraph:": "",
    "ServeController": "controller",
    "HAProxyManager": "haproxy manager",
    "ProxyActor": "fallback proxy",
    "haproxy": "haproxy",
    "raylet": "raylet",
    "gcs_server": "gcs",
    "dashboard": "dashboard",
    "Dashboard": "dashboard",
    "RuntimeEnvAgent": "dashboard",
    "mlflow": "mlflow",
}


def stage_of(command: str) -> str:
    """The row of the table that a process belongs to."""
    for part, name in _NAMES.items():
        _, found, rest = command.partition(part)
        if found:
            return name or rest.split()[0].split("#")[0]
    return "other"


def cpu_seconds(mark: str) -> dict[str, float]:
    """CPU seconds so far by stage, of all processes that belong to the stack."""
    used: dict[str, float] = defaultdict(float)
    for pid in belonging(mark, set()):
        used[stage_of(command_line(pid))] += cpu_s([pid])
    return used


def sizes(page: str) -> dict[str, tuple[float, float]]:
    """Texts, and how many hops and engine batches carried them, of the replica that answered."""
    families = {family.name: family for family in text_string_to_metric_families(page)}
    found = {}
    for what, name in _SIZES.items():
        values = {sample.name: sample.value for sample in families[name].samples}
        found[what] = (values[f"{name}_sum"], values[f"{name}_count"])
    return found


def parsed(settings: Sequence[str]) -> dict[str, Any]:
    """Settings as ``path.to.name=value``, as nested sections."""
    args: dict[str, Any] = {}
    for setting in settings:
        path, _, value = setting.partition("=")
        *parents, leaf = path.split(".")
        part = args
        for parent in parents:
            part = part.setdefault(parent, {})
        part[leaf] = yaml.safe_load(value)
    return args


def main() -> int:
    """Prints the table; 1 if any request failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--kind", choices=tuple(_WANTED), default="new")
    parser.add_argument("--topology", choices=("split", "fused"), default="split")
    parser.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", help="a setting, as in args:"
    )
    parser.add_argument("--repeats", type=int, default=1, help="runs, all but the last discarded")
    parser.add_argument("--out", type=Path, help="a file for the figures, as JSON")
    parser.add_argument("--hold", action="store_true", help="go on until interrupted (py-spy)")
    args = parser.parse_args()
    facts = run_facts()
    texts = real_texts((args.requests * (args.repeats + 100 * args.hold)) + 300)
    with tempfile.TemporaryDirectory(prefix="sentigraph-bench-") as name:
        folder = Path(name)
        config = serve_config(folder, parsed([f"topology={args.topology}", *args.set]))
        with private_stack(folder, config) as stack:
            figures, statuses = _measure(stack, texts, args)
    if args.out:
        chosen = {"topology": args.topology, "concurrency": args.concurrency}
        result(args.out, {**facts, **chosen, **figures})
    return 0 if set(statuses) == {_WANTED[args.kind]} else 1


def _measure(
    stack: Stack, texts: list[str], args: argparse.Namespace
) -> tuple[dict[str, Any], dict[int, int]]:
    """Figures of the last run, and how many requests had which status."""
    mark = stack.environ[MARK]
    send_texts(stack.url, texts[:300], args.concurrency)
    idle_before = cpu_seconds(mark)
    time.sleep(5.0)
    idle = {name: (used - idle_before[name]) / 5.0 for name, used in cpu_seconds(mark).items()}
    if args.hold:
        say("sending; interrupt to end")
    for start in range(300, len(texts), args.requests):
        sent = texts[start : start + args.requests]
        if args.kind == "cached":
            sent = [texts[number % _KNOWN] for number in range(len(sent))]
        with _busy(stack) if args.kind == "refused" else nullcontext():
            before = cpu_seconds(mark)
            deadline = {"X-Deadline-Ms": str(_DEADLINE_MS)} if args.kind == "refused" else {}
            load = send_texts(stack.url, sent, args.concurrency, headers=deadline)
            after = cpu_seconds(mark)
    per_request = {name: (after[name] - before[name]) * 1_000 / args.requests for name in after}
    per_request["load generator"] = load.cpu_s * 1_000 / args.requests
    print(f"{'stage':18}{'ms/request':>12}{'idle, % of a core':>20}")
    for name, spent_ms in sorted(per_request.items(), key=lambda item: -item[1]):
        print(f"{name:18}{spent_ms:12.3f}{idle.get(name, 0) * 100:20.1f}")
    print(f"{'sum':18}{sum(per_request.values()):12.3f}")
    page = httpx.get(f"{stack.url}/api/v1/metrics").raise_for_status().text
    texts_in = {what: texts / max(1, count) for what, (texts, count) in sizes(page).items()}
    print(*(f"texts for each {what}: {mean:.1f}" for what, mean in texts_in.items()), sep=", ")
    latency_ms = dict(zip(("p50", "p99"), _quantiles_ms(load), strict=True))
    print(
        f"{args.requests / load.seconds:.0f} requests/s, statuses {load.statuses}, {latency_ms} ms"
    )
    figures = {
        "ms_per_request": per_request,
        "texts_in": texts_in,
        "requests_per_s": args.requests / load.seconds,
        "latency_ms": latency_ms,
    }
    return figures, load.statuses


def _quantiles_ms(load: Load) -> list[float]:
    return [round(s * 1_000, 2) for s in np.percentile(load.latencies_s, (50, 99)).tolist()]


@contextmanager
def _busy(stack: Stack) -> Iterator[None]:
    """Two batches wait for the engines; one after another they keep them busy for seconds."""

    def send(seed: int) -> None:
        texts = [f"{text} {seed}" for text in real_texts(_BUSY_TEXTS)]
        job = Job(
            "127.0.0.1",
            urlsplit(stack.url).port or 0,
            "/api/v1/predict/batch",
            [json.dumps({"texts": texts})],
            {"X-Priority": "interactive", "X-Deadline-Ms": str(_BUSY_DEADLINE_MS)},
            concurrency=1,
            seconds=60.0,
        )
        asyncio.run(send_load(job))

    seed = time.monotonic_ns()
    threads = [threading.Thread(target=send, args=(seed + number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    yield
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
