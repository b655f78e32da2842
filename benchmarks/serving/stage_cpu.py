"""Where the CPU goes: milliseconds per request of every process of the running graph.

``python -m benchmarks.serving.stage_cpu`` starts a private stack, sends real texts in a closed loop
and reads ``utime + stime`` of each process from ``/proc`` before and after, and how many texts
shared a hop and an engine batch. CPU time depends less than throughput on what else the machine
does, so this shows what a change to the hot path is worth even where throughput cannot be measured.

``--kind`` says what is sent: ``new`` texts; ``cached`` ones, of which level one knows all; or ones
that are ``refused``, because a batch keeps the engines busy for longer than their deadline.

``--beside CHECKOUT`` measures the server of another checkout too, in turn, with the same client:
what a change costs is a ratio within one run.
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
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import yaml
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.harness.checkout import Served, other_checkout
from benchmarks.harness.output import result, run_facts, say
from benchmarks.harness.processes import command_line, cpu_s
from benchmarks.harness.stack import private_stack, serve_config
from benchmarks.harness.texts import real_texts
from benchmarks.loadgen.client import Job, Load, send_load, send_texts
from operations.local_stack.processes import MARK, belonging

_WANTED = {"new": 200, "cached": 200, "refused": 429}
_KNOWN = 200
_FIRST, _IDLE_S = 300, 5.0
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
    parser.add_argument("--repeats", type=int, default=1, help="runs; the median one is shown")
    parser.add_argument("--beside", type=Path, metavar="CHECKOUT", help="another, with its .venv")
    parser.add_argument("--out", type=Path, help="a file for the figures, as JSON")
    parser.add_argument("--hold", action="store_true", help="go on until interrupted (py-spy)")
    args = parser.parse_args()
    facts = run_facts()
    repeats = args.repeats + 100 * args.hold
    texts = real_texts(args.requests * repeats + _FIRST)
    turns = [texts[n : n + args.requests] for n in range(_FIRST, len(texts), args.requests)]
    with tempfile.TemporaryDirectory(prefix="sentigraph-bench-") as name, ExitStack() as running:
        folder = Path(name)
        config = serve_config(folder, parsed([f"topology={args.topology}", *args.set]))
        stack = running.enter_context(private_stack(folder, config))
        servers = [Served("this", stack.url, stack.environ[MARK])]
        if args.beside:
            servers.append(
                running.enter_context(other_checkout(args.beside, folder, args.topology))
            )
        for server in servers:
            send_texts(server.url, texts[:_FIRST], args.concurrency)
        idle = {server.name: _idle(server) for server in servers}
        if args.hold:
            say("sending; interrupt to end")
        runs = [{server.name: _run(server, turn, args) for server in servers} for turn in turns]
        texts_in = {server.name: _texts_in(server) for server in servers}
    found = {}
    for server in servers:
        # The median of all runs: one that something else disturbed counts for little.
        ordered = sorted((run[server.name] for run in runs), key=lambda each: each["sum_ms"])
        found[server.name] = ordered[len(ordered) // 2] | {
            "sums_ms": [round(run[server.name]["sum_ms"], 3) for run in runs],
            "texts_in": texts_in[server.name],
        }
        _show(server, found[server.name], idle[server.name])
    if args.out:
        chosen = {"topology": args.topology, "concurrency": args.concurrency}
        result(args.out, {**facts, **chosen, **found})
    statuses = {status for run in runs for each in run.values() for status in each["statuses"]}
    return 0 if statuses == {_WANTED[args.kind]} else 1


def _idle(server: Served) -> dict[str, float]:
    """Share of a core by stage, of a server that nobody asks."""
    before = cpu_seconds(server.mark)
    time.sleep(_IDLE_S)
    return {
        name: (used - before[name]) / _IDLE_S for name, used in cpu_seconds(server.mark).items()
    }


def _run(server: Served, texts: list[str], args: argparse.Namespace) -> dict[str, Any]:
    """Figures of one run."""
    if args.kind == "cached":
        texts = [texts[number % _KNOWN] for number in range(len(texts))]
        send_texts(server.url, texts[:_KNOWN], args.concurrency)
    deadline = {"X-Deadline-Ms": str(_DEADLINE_MS)} if args.kind == "refused" else {}
    with _busy(server.url) if args.kind == "refused" else nullcontext():
        before = cpu_seconds(server.mark)
        load = send_texts(server.url, texts, args.concurrency, headers=deadline)
        after = cpu_seconds(server.mark)
    by_stage = {name: (after[name] - before[name]) * 1_000 / len(texts) for name in after}
    return {
        "ms_per_request": by_stage,
        "sum_ms": sum(by_stage.values()),
        "load_generator_ms": load.cpu_s * 1_000 / len(texts),
        "requests_per_s": len(texts) / load.seconds,
        "latency_ms": dict(zip(("p50", "p99"), _quantiles_ms(load), strict=True)),
        "statuses": load.statuses,
    }


def _texts_in(server: Served) -> dict[str, float]:
    """Texts that shared a hop and an engine batch, on average."""
    page = httpx.get(f"{server.url}/api/v1/metrics").raise_for_status().text
    return {what: texts / max(1, count) for what, (texts, count) in sizes(page).items()}


def _show(server: Served, figures: dict[str, Any], idle: dict[str, float]) -> None:
    print(f"{server.name:18}{'ms/request':>12}{'idle, % of a core':>20}")
    by_stage = figures["ms_per_request"]
    for name, spent_ms in sorted(by_stage.items(), key=lambda item: -item[1]):
        print(f"{name:18}{spent_ms:12.3f}{idle.get(name, 0) * 100:20.1f}")
    print(f"{'sum':18}{figures['sum_ms']:12.3f}{sum(idle.values()) * 100:20.1f}")
    print(f"{'load generator':18}{figures['load_generator_ms']:12.3f}")
    print(
        *(f"texts in a {what}: {mean:.1f}" for what, mean in figures["texts_in"].items()), sep=", "
    )
    print(f"{figures['requests_per_s']:.0f} requests/s, {figures['latency_ms']} ms", end="; ")
    print(f"statuses {figures['statuses']}; sums of all runs {figures['sums_ms']}\n")


def _quantiles_ms(load: Load) -> list[float]:
    return [round(s * 1_000, 2) for s in np.percentile(load.latencies_s, (50, 99)).tolist()]


@contextmanager
def _busy(url: str) -> Iterator[None]:
    """Two batches wait for the engines; one after another they keep them busy for seconds."""

    def send(seed: int) -> None:
        texts = [f"{text} {seed}" for text in real_texts(_BUSY_TEXTS)]
        job = Job(
            "127.0.0.1",
            urlsplit(url).port or 0,
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
