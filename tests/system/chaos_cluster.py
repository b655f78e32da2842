"""Chaos on a cluster: Chaos Mesh's faults of ``kuberay/chaos/`` under load, each with a verdict.

``python -m tests.system.chaos_cluster --url https://staging.example --namespace NAME`` (``make
chaos-test-suite``) takes each file: the server must be steady before, then the fault is applied
with kubectl while single predictions come at random times, and deleted again, whatever happens.
The limits stand in the file's annotations; the run aborts a fault at once when over half of the
requests of ten seconds fail. Exit status 1 when a limit is broken. Never in production.
"""

import argparse
import asyncio
import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.harness.output import say
from tests.system.chaos_load import OpenLoad, Seen, Sent, seen

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "kuberay" / "chaos"
KEY_VARIABLE = "SENTIGRAPH_API_KEY"
_STAGING = "sentigraph-staging"
_TEXTS = ("The staff were friendly and quick.", "Never again, a complete waste of money.")
_ABORT_S, _ABORT_RATIO, _ABORT_LEAST = 10.0, 0.5, 20
_UNITS = {"s": 1, "m": 60, "h": 3_600}


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of load: of the look at the steady state, before the fault, and after its end."""

    steady_s: float = 10.0
    before_s: float = 10.0
    after_s: float = 60.0


@dataclass(frozen=True, slots=True)
class ClusterFault:
    """One file of ``kuberay/chaos``.

    Attributes:
        name: Of the file.
        content: Of it, in the namespace that is tried.
        duration_s: Until Chaos Mesh undoes it; 0 for a kill.
        failed_ratio: Of the requests that may fail.
        p99_ms: Of all requests at most.
        recovered_s: When the last request may fail or take over 2 s, after the fault began.
    """

    name: str
    content: Mapping[str, Any]
    duration_s: float
    failed_ratio: float
    p99_ms: float
    recovered_s: float


def read(path: Path, namespace: str) -> ClusterFault:
    """The fault of a file, for pods of that namespace."""
    text = path.read_text(encoding="utf-8").replace(_STAGING, namespace)
    content = yaml.safe_load(text)
    limits = content["metadata"]["annotations"]
    return ClusterFault(
        path.stem,
        content,
        _seconds(content["spec"].get("duration", "0s")),
        float(limits["sentigraph/failed-ratio"]),
        float(limits["sentigraph/p99-ms"]),
        float(limits["sentigraph/recovered-s"]),
    )


def files() -> list[Path]:
    """All faults that the suite applies; the schedule is for the cluster alone."""
    return sorted(path for path in FOLDER.glob("*.yaml") if path.stem != "schedule")


class Kubectl:
    """The one that is on the path, with the context that is set."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    def apply(self, content: Mapping[str, Any]) -> None:
        """Begins a fault.

        Raises:
            CalledProcessError: The cluster refuses it.
        """
        self._call(["apply", "-f", "-"], json.dumps(content))

    def delete(self, content: Mapping[str, Any]) -> None:
        """Ends it; nothing happens where there is none."""
        kind, name = content["kind"].lower(), content["metadata"]["name"]
        self._call(["delete", kind, name, "--ignore-not-found", "--wait", "--timeout=120s"], "")

    def _call(self, arguments: Sequence[str], content: str) -> None:
        subprocess.run(
            ["kubectl", "--namespace", self._namespace, *arguments],
            input=content,
            text=True,
            check=True,
            capture_output=True,
        )


def out_of_hand(sent: Sequence[Sent], now_s: float) -> bool:
    """The abort rule: over half of the last ten seconds' requests failed."""
    last = [one for one in sent if one.done_s > now_s - _ABORT_S]
    failed = sum(not one.answered for one in last)
    return len(last) >= _ABORT_LEAST and failed > _ABORT_RATIO * len(last)


async def under_load(
    fault: ClusterFault, kubectl: Kubectl, make: Callable[[], OpenLoad], timing: Timing
) -> tuple[list[Sent], bool]:
    """The fault in the middle of the load; all requests, and whether it was aborted."""
    load = make()
    lasts_s = fault.duration_s + timing.after_s
    began_s = time.monotonic() + timing.before_s
    running = asyncio.create_task(load.run(timing.before_s, lasts_s))
    aborted = False
    try:
        await asyncio.sleep(timing.before_s)
        await asyncio.to_thread(kubectl.apply, fault.content)
        while not running.done() and not aborted:
            await asyncio.sleep(min(1.0, timing.after_s / 4))
            now_s = time.monotonic() - began_s
            aborted = now_s < fault.duration_s and out_of_hand(load.sent, now_s)
    finally:
        await asyncio.to_thread(kubectl.delete, fault.content)
        await running
    return load.sent, aborted


def broken(fault: ClusterFault, found: Seen, aborted: bool) -> list[str]:
    """Each limit that does not hold, as a sentence."""
    most = fault.failed_ratio * found.requests
    held = {
        "aborted: over half of the requests failed": not aborted,
        f"{found.wrong} answered 404": found.wrong == 0,
        f"{found.failed} of {found.requests} failed, over {most:.0f}": found.failed <= most,
        f"p99 {found.p99_ms} ms, over {fault.p99_ms:g}": found.p99_ms <= fault.p99_ms,
        f"recovered after {found.recovered_s} s, over {fault.recovered_s:g}": found.recovered_s
        <= fault.recovered_s,
    }
    return [sentence for sentence, holds in held.items() if not holds]


def run(
    fault: ClusterFault, kubectl: Kubectl, make: Callable[[], OpenLoad], timing: Timing
) -> dict[str, Any]:
    """One fault between two looks at the steady state."""

    def steady() -> bool:
        load = make()
        asyncio.run(load.run(0.0, timing.steady_s))
        return all(one.answered for one in load.sent)

    if not steady():
        return {"fault": fault.name, "broken": ["the server was not steady before it"]}
    sent, aborted = asyncio.run(under_load(fault, kubectl, make, timing))
    found = seen(sent, {one.text: {} for one in sent})
    wrong = broken(fault, found, aborted)
    if not steady():
        wrong.append("the server was not steady after it")
    return {"fault": fault.name, **asdict(found), "broken": wrong}


def main(argv: Sequence[str] | None = None, timing: Timing = Timing()) -> int:
    """Runs the faults one after another; 1 when a limit is broken, 2 for production."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="of the gateway or the serve service")
    parser.add_argument("--namespace", default=_STAGING)
    parser.add_argument("--only", default="", help="faults whose name has this")
    parser.add_argument("--rate", type=float, default=15.0, help="requests in a second")
    parser.add_argument("--out", type=Path, help="where the results are written as JSON")
    given = parser.parse_args(argv)
    if re.search("prod", given.namespace):
        print(f"{given.namespace} is production: no faults there", file=sys.stderr)
        return 2
    key = os.environ.get(KEY_VARIABLE, "")
    headers = {"x-api-key": key} if key else {}
    kubectl = Kubectl(given.namespace)
    # No load sends a text that another one has sent, in this run or before it.
    firsts = itertools.count(int(time.time()) * 1_000, 100_000)
    rows = []

    def load() -> OpenLoad:
        return OpenLoad(given.url, _TEXTS, given.rate, next(firsts), headers)

    for path in files():
        if given.only in path.stem:
            fault = read(path, given.namespace)
            rows.append(run(fault, kubectl, load, timing))
            say(f"{fault.name}: {rows[-1]['broken'] or 'holds'}")
    if given.out:
        given.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return int(any(row["broken"] for row in rows))


def _seconds(text: str) -> float:
    return float(text[:-1]) * _UNITS[text[-1]]


if __name__ == "__main__":
    sys.exit(main())
