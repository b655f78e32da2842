"""``make chaos``: every process of a private stack is killed, and stopped for 20 s, under load.

Three suites: the processes of each topology, and ``dependencies``, where Redis, the broker, MLflow
and Vault are slowed, reset, held and killed, the disk is full, memory ends and the clock jumps:
each while an alias is moved, and again during a release, while a job, a file and messages are
worked off. Each fault's row goes to ``results/chaos.json`` as soon as it is known: what clients
saw, beside what they may see. Only processes that this run started are signalled; all is on the
loopback. Exit status 1 when a limit is broken.
"""

import argparse
import asyncio
import json
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.harness.machine import ROOT
from benchmarks.harness.models import ACTOR, NAME, register_variant
from benchmarks.harness.output import RESULTS, run_facts, say
from benchmarks.harness.stack import private_stack, registry_of, serve_config
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
    Limits,
    experiments,
    signalled,
)
from tests.system.chaos_load import OpenLoad, Seen, Sent, seen
from tests.system.chaos_outages import Outage, Setup, outages, private_setup
from tests.system.chaos_planted import PLANTS, planted
from tests.system.chaos_work import BY, POLICY, Work

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


def broken(limits: Limits, found: Seen, rate: float, hit: int) -> list[str]:
    """Each limit that does not hold, as a sentence."""
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


Keep = Callable[[dict[str, Any]], None]


def run(topology: str, rate: float, only: str, keep: Keep, environ: Mapping[str, str]) -> None:
    """Every experiment of a topology on a stack of its own."""
    with tempfile.TemporaryDirectory() as folder:
        config = serve_config(Path(folder), {"topology": topology})
        with private_stack(Path(folder) / "state", config, **environ) as stack:
            restored(stack)
            for number, experiment in enumerate(experiments(topology)):
                if re.search(only, experiment.name):
                    sent, hit = asyncio.run(under_load(stack, experiment, rate, number * 100_000))
                    found = seen(sent, expected(sent))
                    keep(
                        {
                            "fault": experiment.name,
                            **asdict(found),
                            "limits": asdict(experiment.limits),
                            "why": experiment.why,
                            "whole_again_s": restored(stack),
                            "broken": broken(experiment.limits, found, rate, hit),
                        }
                    )


async def during(it: Setup, outage: Outage, work: Work, rate: float, first: int) -> list[Sent]:
    """The fault in the middle of the load, while the work is under way."""
    load = OpenLoad(it.stack.url, _TEXTS, rate, first)
    running = asyncio.create_task(load.run(_BEFORE_S, STOPPED_S + _AFTER_STOP_S))
    await asyncio.to_thread(work.begin)
    await asyncio.sleep(_BEFORE_S)
    moving = threading.Thread(target=work.move, daemon=True)

    def fails() -> None:
        with outage.fault(it):
            moving.start()
            time.sleep(STOPPED_S)

    await asyncio.to_thread(fails)
    await running
    await asyncio.to_thread(moving.join)
    return load.sent


def run_outages(rate: float, only: str, keep: Keep) -> None:
    """Every outage with work under way: while an alias is moved, and during a release."""
    with private_setup() as it:
        restored(it.stack)
        registry = registry_of(it.stack)
        registry.catalog.update_model(NAME, actor=ACTOR, policy=POLICY)
        # Other digests with the same scores, to four decimals.
        versions = [1, register_variant(registry, it.home, temperature=1.00001)]
        for number, (outage, by) in enumerate(product(outages(), BY)):
            name = f"{outage.name}, {by}"
            if not re.search(only, name):
                continue
            if not outage.can(it):
                say(f"{name}: left out, this machine does not allow it")
                continue
            if registry.lifecycle.state(NAME).champion == versions[0]:
                versions.reverse()
            work = Work(it.stack, f"127.0.0.1:{it.to_kafka.port}", f"w{number}", versions[0], by)
            sent = asyncio.run(during(it, outage, work, rate, 10_000_000 + number * 100_000))
            found = seen(sent, expected(sent))
            lost = work.end()
            keep(
                {
                    "fault": name,
                    **asdict(found),
                    "limits": asdict(outage.limits),
                    "why": outage.why,
                    "whole_again_s": restored(it.stack),
                    "work": lost or f"all there, once and right; {work.outcome()}",
                    "broken": broken(outage.limits, found, rate, 1) + lost,
                }
            )


def table(content: Mapping[str, Any]) -> str:
    """The runs as Markdown."""
    lines = []
    for suite in sorted(content, reverse=True):
        lines += [
            f"`{suite}`:",
            "",
            "| fault | requests | failed | wrong | p99 | longest silence | recovered after |",
            "|---|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {row['fault']} | {row['requests']} | {row['failed']} | {row['wrong']} | "
            f"{row['p99_ms'] / 1_000:.2f} s | {row['silence_s']:.1f} s | "
            f"{row['recovered_s']:.1f} s |"
            for row in content[suite]["faults"]
        ]
        lines.append("")
    return "\n".join(lines)


def merged(
    content: Mapping[str, Any], suite: str, row: dict[str, Any], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """The results with a row in the place of the one of the same fault."""
    before = content.get(suite, {"faults": []})
    rows = {one["fault"]: one for one in before["faults"]} | {row["fault"]: row}
    shared = {**facts, "faults": list(rows.values()), "impossible": IMPOSSIBLE}
    return {**content, suite: shared}


def _last() -> dict[str, Any]:
    """The results so far, by topology."""
    found: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    return found


def main() -> int:
    """Runs the suites; exit status 1 when a limit is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    suites = ["split", "fused", "dependencies"]
    parser.add_argument("--suite", choices=suites, help="only this one")
    parser.add_argument("--rate", type=float, default=15.0, help="requests in a second")
    parser.add_argument("--only", default="", help="faults whose name matches this expression")
    parser.add_argument("--plant", choices=PLANTS, help="a regression; nothing is written")
    parser.add_argument("--table", action="store_true", help="print the last results as Markdown")
    given = parser.parse_args()
    if given.table:
        print(table(_last()))
        return 0
    facts = {**run_facts(), "requests_per_s": given.rate}
    failed: list[str] = []

    def keeper(suite: str) -> Keep:
        def keep(row: dict[str, Any]) -> None:
            say(f"{suite}: {row['fault']}: {row['broken'] or 'holds'}; {row}")
            failed.extend(row["broken"])
            # Parts of a suite may be of different runs.
            row |= {name: facts[name] for name in ("date", "commit", "load_average")}
            if not given.plant:
                RESULT.write_text(json.dumps(merged(_last(), suite, row, facts), indent=1) + "\n")

        return keep

    with planted(given.plant) as environ:
        for suite in [given.suite] if given.suite else suites:
            if suite == "dependencies":
                run_outages(given.rate, given.only, keeper(suite))
            else:
                run(suite, given.rate, given.only, keeper(suite), environ)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
