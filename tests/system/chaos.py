"""``make chaos``: every process of a private stack is killed, and stopped for 20 s, under load.

Writes ``results/chaos.json``: for each fault what clients saw of it beside what they may see. Only
processes of the stack that it started are signalled; all is on the loopback. Exit status 1 when a
limit is broken.
"""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.harness.machine import ROOT
from benchmarks.harness.output import RESULTS, result, run_facts, say
from benchmarks.harness.stack import private_stack, serve_config
from deployments.model.engines import open_engine
from deployments.model.runner import LoadedModel
from deployments.tokenizer.replica import LoadedTokenizer
from operations.clients.http_client import answers
from operations.clients.ray_dashboard import RayDashboard
from operations.errors import StackError
from operations.local_stack.ray_auth import read_token
from operations.local_stack.stack import Stack
from registry.bundles.bundle import open_bundle
from tests.system.chaos_faults import (
    IMPOSSIBLE,
    STOP,
    STOPPED_S,
    Experiment,
    experiments,
    signalled,
)
from tests.system.chaos_load import OpenLoad, Seen, Sent, seen

RESULT = RESULTS / "chaos.json"
_BEFORE_S, _AFTER_KILL_S, _AFTER_STOP_S = 4.0, 22.0, 8.0
_RESTORED_S = 120.0
_TEXTS = (
    "The staff were friendly and quick.",
    "I waited an hour and nobody came.",
    "It does what it says.",
    "Never again, a complete waste of money.",
    "Best purchase of the year so far!",
)


def expected(sent: Sequence[Sent]) -> dict[str, dict[str, float]]:
    """Each text's scores by the model alone, without a server."""
    bundle = open_bundle(ROOT / "models" / "sentiment")
    model = LoadedModel(bundle, open_engine(bundle, provider="cpu", threads=1))
    tokenizer = LoadedTokenizer(bundle)
    found = {}
    for text in {one.text for one in sent}:
        [row] = model.score([tokenizer.encode([text]).ids])
        found[text] = dict(zip(bundle.labels, map(float, row), strict=True))
    return found


async def under_load(
    stack: Stack, experiment: Experiment, rate: float, first: int
) -> tuple[list[Sent], int]:
    """Does it in the middle of the load; all requests, and how many processes were signalled."""
    load = OpenLoad(stack.url, _TEXTS, rate, first)
    after_s = _AFTER_KILL_S if experiment.sent != STOP else STOPPED_S + _AFTER_STOP_S
    running = asyncio.create_task(load.run(_BEFORE_S, after_s))
    await asyncio.sleep(_BEFORE_S)
    hit = signalled(experiment.find(stack), experiment.sent)
    if experiment.sent == STOP:
        await asyncio.sleep(STOPPED_S)
        for process in hit:
            process.send(signal.SIGCONT)
    await running
    return load.sent, len(hit)


def restored(stack: Stack) -> float | None:
    """Seconds until all replicas run and the server is ready; None if that takes too long."""
    dashboard = RayDashboard(stack.dashboard_url, read_token(stack.environ))
    began = time.monotonic()
    while time.monotonic() < began + _RESTORED_S:
        try:
            found = dashboard.application("sentigraph")
        except StackError:
            found = None
        whole = found is not None and all(d.running == d.wanted for d in found.deployments)
        if whole and answers(f"{stack.url}/api/v1/health/ready"):
            return round(time.monotonic() - began, 1)
        time.sleep(0.5)
    return None


def broken(experiment: Experiment, found: Seen, rate: float, hit: int) -> list[str]:
    """Each limit that does not hold, as a sentence."""
    limits = experiment.limits
    held = {
        f"{found.wrong} wrong or 404": found.wrong == 0,
        f"{found.failed} failed, over {limits.failed_s * rate:g}": found.failed
        <= limits.failed_s * rate,
        f"silence of {found.silence_s} s, over {limits.silence_s:g}": found.silence_s
        <= limits.silence_s,
        f"recovered after {found.recovered_s} s, over {limits.recovered_s:g}": found.recovered_s
        <= limits.recovered_s,
        "no process was found": hit > 0,
    }
    return [sentence for sentence, holds in held.items() if not holds]


def run(topology: str, rate: float, only: str) -> dict[str, Any]:
    """Every experiment of a topology on a stack of its own."""
    facts = run_facts()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        config = serve_config(Path(folder), {"topology": topology})
        with private_stack(Path(folder) / "state", config) as stack:
            restored(stack)
            for number, experiment in enumerate(experiments(topology)):
                if only not in experiment.name:
                    continue
                sent, hit = asyncio.run(under_load(stack, experiment, rate, number * 100_000))
                found = seen(sent, expected(sent))
                row = {
                    "fault": experiment.name,
                    **asdict(found),
                    "limits": asdict(experiment.limits),
                    "why": experiment.why,
                    "whole_again_s": restored(stack),
                    "broken": broken(experiment, found, rate, hit),
                }
                rows.append(row)
                say(f"{topology}: {experiment.name}: {found} {row['broken'] or 'holds'}")
    return {**facts, "requests_per_s": rate, "faults": rows, "impossible": IMPOSSIBLE}


def table(content: dict[str, Any]) -> str:
    """The runs as Markdown."""
    lines = []
    for topology in sorted(content, reverse=True):
        lines += [
            f"`{topology}`, {content[topology]['requests_per_s']:g} requests/s:",
            "",
            "| fault | requests | failed | wrong | p99 | longest silence | recovered after |",
            "|---|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {row['fault']} | {row['requests']} | {row['failed']} | {row['wrong']} | "
            f"{row['p99_ms'] / 1_000:.2f} s | {row['silence_s']:.1f} s | "
            f"{row['recovered_s']:.1f} s |"
            for row in content[topology]["faults"]
        ]
        lines.append("")
    return "\n".join(lines)


def _last() -> dict[str, Any]:
    """The results so far, by topology."""
    found: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    return found


def main() -> int:
    """Runs both topologies; exit status 1 when a limit is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--topology", choices=["split", "fused"], help="only this one")
    parser.add_argument("--rate", type=float, default=15.0, help="requests in a second")
    parser.add_argument("--only", default="", help="faults whose name has this; nothing is written")
    parser.add_argument("--table", action="store_true", help="print the last results as Markdown")
    given = parser.parse_args()
    if given.table:
        print(table(_last()))
        return 0
    fresh = {
        topology: run(topology, given.rate, given.only)
        for topology in ([given.topology] if given.topology else ["split", "fused"])
    }
    result(None if given.only else RESULT, fresh if given.only else _last() | fresh)
    return int(any(row["broken"] for one in fresh.values() for row in one["faults"]))


if __name__ == "__main__":
    sys.exit(main())
