"""Where the CPU goes: milliseconds per request of every process of the running graph.

``python -m benchmarks.serving.stage_cpu`` starts a private stack, sends real texts in a closed loop
and reads ``utime + stime`` of each process from ``/proc`` before and after, and how many texts
shared a hop and an engine batch. CPU time depends less than throughput on what else the machine
does, so this shows what a change to the hot path is worth even where throughput cannot be measured.
"""

import argparse
import asyncio
import json
import os
import shlex
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import orjson
import yaml
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.harness.machine import commit, machine
from benchmarks.harness.texts import ROOT, real_texts
from benchmarks.loadgen.closed_loop import Load, send_all
from operations.local_stack.processes import MARK, belonging
from operations.local_stack.stack import Stack, StackSettings

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
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
    """CPU seconds so far by stage, of all processes that belong to the stack, and of this one."""
    used: dict[str, float] = defaultdict(float)
    for pid in belonging(mark, set()):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        used[stage_of(command)] += (int(stat[11]) + int(stat[12])) / _TICKS_PER_S
    used["load generator"] = time.process_time()
    return used


def sizes(page: str) -> dict[str, tuple[float, float]]:
    """Texts, and how many hops and engine batches carried them, of the replica that answered."""
    families = {family.name: family for family in text_string_to_metric_families(page)}
    found = {}
    for what, name in _SIZES.items():
        values = {sample.name: sample.value for sample in families[name].samples}
        found[what] = (values[f"{name}_sum"], values[f"{name}_count"])
    return found


def serve_config(folder: Path, settings: Sequence[str]) -> Path:
    """A copy of ``serve_config.yaml`` in ``folder`` with some ``args:`` changed."""
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text(encoding="utf-8"))
    for setting in settings:
        path, _, value = setting.partition("=")
        *parents, leaf = path.split(".")
        part = config["applications"][0]["args"]
        for parent in parents:
            part = part.setdefault(parent, {})
        part[leaf] = yaml.safe_load(value)
    file = folder / "bench.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    return file


def main() -> int:
    """Prints the table; 1 if any request failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--topology", choices=("split", "fused"), default="split")
    parser.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", help="a setting, as in args:"
    )
    parser.add_argument("--repeats", type=int, default=1, help="runs, all but the last discarded")
    parser.add_argument("--out", type=Path, help="a file for the figures, as JSON")
    parser.add_argument("--hold", action="store_true", help="go on until interrupted (py-spy)")
    args = parser.parse_args()
    texts = real_texts((args.requests * (args.repeats + 100 * args.hold)) + 300)
    with tempfile.TemporaryDirectory(prefix="sentigraph-bench-") as folder:
        settings = StackSettings(
            environ=os.environ,
            config=serve_config(Path(folder), [f"topology={args.topology}", *args.set]),
            state_dir=Path(folder),
            port=0,
            mlflow_port=0,
            dashboard_port=0,
        )
        with Stack(settings, on_step=lambda step: print(f"  {step}", file=sys.stderr)) as stack:
            return _measure(stack, texts, args)


def _measure(stack: Stack, texts: list[str], args: argparse.Namespace) -> int:
    address = urlsplit(stack.url)
    mark = stack.environ[MARK]

    def send(batch: list[str]) -> Load:
        bodies = [orjson.dumps({"text": text}) for text in batch]
        return asyncio.run(
            send_all(
                str(address.hostname),
                address.port or 0,
                "/api/v1/predict",
                bodies,
                args.concurrency,
            )
        )

    send(texts[:300])
    idle_before = cpu_seconds(mark)
    time.sleep(5.0)
    idle = {name: (used - idle_before[name]) / 5.0 for name, used in cpu_seconds(mark).items()}
    if args.hold:
        print("sending; interrupt to end", file=sys.stderr)
    for start in range(300, len(texts), args.requests):
        before = cpu_seconds(mark)
        load = send(texts[start : start + args.requests])
        after = cpu_seconds(mark)
    per_request = {name: (after[name] - before[name]) * 1_000 / args.requests for name in after}
    print(f"{'stage':18}{'ms/request':>12}{'idle, % of a core':>20}")
    for name, spent_ms in sorted(per_request.items(), key=lambda item: -item[1]):
        print(f"{name:18}{spent_ms:12.3f}{idle.get(name, 0) * 100:20.1f}")
    print(f"{'sum':18}{sum(per_request.values()):12.3f}")
    page = httpx.get(f"{stack.url}/api/v1/metrics").raise_for_status().text
    texts_in = {what: texts / max(1, count) for what, (texts, count) in sizes(page).items()}
    print(*(f"texts for each {what}: {mean:.1f}" for what, mean in texts_in.items()), sep=", ")
    print(f"{args.requests / load.seconds:.0f} requests/s, statuses {load.statuses}")
    if args.out:
        figures = {
            "command": shlex.join(["python", "-m", "benchmarks.serving.stage_cpu", *sys.argv[1:]]),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit(),
            "machine": machine(),
            "topology": args.topology,
            "concurrency": args.concurrency,
            "ms_per_request": per_request,
            "texts_in": texts_in,
            "requests_per_s": args.requests / load.seconds,
        }
        args.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0 if set(load.statuses) == {200} else 1


if __name__ == "__main__":
    sys.exit(main())
