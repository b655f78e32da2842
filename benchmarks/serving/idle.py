"""What the running graph costs while nobody asks: CPU and memory of every process.

``python -m benchmarks.serving.idle`` starts a private stack, sends some texts, waits, and reads
each process's CPU time over a while and its memory at the end: RSS, which counts pages that are
shared in each process, and PSS, which shares them out.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.harness.output import result, run_facts
from benchmarks.harness.processes import command_line, cpu_s, memory_mb
from benchmarks.harness.stack import private_stack, serve_config
from benchmarks.loadgen.client import send_texts
from benchmarks.serving.stage_cpu import parsed, stage_of
from operations.local_stack.processes import MARK, belonging

_TEXTS = 200


def name_of(pid: int) -> str:
    """What a person calls the process."""
    command = command_line(pid)
    name = stage_of(command)
    return name if name != "other" else " ".join(command.split()[:4])[-60:] or "ended"


def measured(mark: str, seconds: float) -> list[dict[str, object]]:
    """One row for each process, the largest first."""
    before = {pid: cpu_s([pid]) for pid in belonging(mark, set())}
    time.sleep(seconds)
    rows = []
    for pid in belonging(mark, set()):
        rss_mb, pss_mb = memory_mb([pid])
        cpu_ms = (cpu_s([pid]) - before.get(pid, 0.0)) * 1_000 / seconds
        rows.append(
            {
                "process": name_of(pid),
                "cpu_ms_per_s": round(cpu_ms, 1),
                "rss_mb": rss_mb,
                "pss_mb": pss_mb,
            }
        )
    return sorted(rows, key=lambda row: -float(str(row["pss_mb"])))


def total(rows: list[dict[str, object]]) -> dict[str, float]:
    """Sums over all processes."""
    numbers = ("cpu_ms_per_s", "rss_mb", "pss_mb")
    return {name: round(sum(float(str(row[name])) for row in rows), 1) for name in numbers}


def show(rows: list[dict[str, object]], sums: Mapping[str, float]) -> None:
    """Prints the table."""
    print(f"{'process':62}{'CPU ms/s':>10}{'RSS MB':>10}{'PSS MB':>10}")
    for row in [*rows, {"process": f"all {len(rows)}", **sums}]:
        print("{process:62}{cpu_ms_per_s:>10}{rss_mb:>10}{pss_mb:>10}".format(**row))


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of the measurement")
    parser.add_argument("--settle", type=float, default=10.0, help="seconds before it")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--out", type=Path, help="a file for the figures, as JSON")
    args = parser.parse_args()
    facts = run_facts()
    environ = dict(entry.split("=", 1) for entry in args.env)
    with tempfile.TemporaryDirectory(prefix="sentigraph-bench-") as name:
        folder = Path(name)
        config = serve_config(folder, parsed(args.set))
        with private_stack(folder, config, **environ) as stack:
            send_texts(stack.url, [f"a fine parcel {i}" for i in range(_TEXTS)], 8)
            time.sleep(args.settle)
            rows = measured(stack.environ[MARK], args.seconds)
    sums = total(rows)
    show(rows, sums)
    chosen = {"settings": args.set, "environment": args.env}
    result(args.out, {**facts, **chosen, "total": sums, "processes": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
