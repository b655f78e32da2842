"""Redeploys under load, on a private stack: six changes, and what clients saw of each.

``python -m tests.system.redeploys`` sends Poisson arrivals over kept connections while the
configuration is replaced as ``serve deploy`` does it: more replicas, other limits, another model,
fewer replicas, the other topology and back. Each change gets at least ``--requests`` requests;
``--only`` takes some of them, whose rows go to ``results/redeploys.json`` beside those of others.
Failed are those without an answer 200 within their deadline; mixed are answers whose version and
digest do not belong together. Exit status 1 when there is one of either, or too few requests.
"""

import argparse
import copy
import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from benchmarks.harness.models import ACTOR, NAME, register_variant, served_version
from benchmarks.harness.output import RESULTS, run_facts, say
from benchmarks.harness.stack import private_stack, registry_of
from benchmarks.loadgen.background import BackgroundLoad, numbered_bodies
from operations.clients.http_client import fetch
from operations.clients.ray_dashboard import RayDashboard
from operations.errors import StackError
from operations.local_stack.ray_auth import read_token
from operations.local_stack.stack import Stack

RESULT = RESULTS / "redeploys.json"
_TEXTS = ("The staff were friendly and quick.", "Never again, a complete waste of money.")
_CHANGED_S = 300.0
_ASK_S = 0.5
Change = Callable[[dict[str, Any]], None]


def counts(ingress: int, tokenizer: int) -> Change:
    """Other numbers of replicas."""

    def change(args: dict[str, Any]) -> None:
        args["replicas"] = {
            "ingress": {"num_replicas": ingress, "num_cpus": 0.05},
            "tokenizer": {"num_replicas": tokenizer, "num_cpus": 0.02},
            "model": {"num_replicas": 2, "num_cpus": 0.3},
        }

    return change


def limits(args: dict[str, Any]) -> None:
    """Other limits; every replica is made anew."""
    args["limits"] = {"max_text_chars": 9_000}


def topology(name: str) -> Change:
    """The other topology."""
    return lambda args: args.update(topology=name)


CHANGES: tuple[tuple[str, Change | None], ...] = (
    ("three ingresses and three tokenizers", counts(3, 3)),
    ("other limits", limits),
    ("another model", None),
    ("one ingress and one tokenizer", counts(1, 1)),
    ("topology: fused", topology("fused")),
    ("topology: split", topology("split")),
)


class Graph:
    """The stack's application, as it is deployed."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._dashboard = RayDashboard(stack.dashboard_url, read_token(stack.environ))
        file = stack.logs.parent / "serve_config.yaml"
        self._config: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))

    def deploy(self, change: Change) -> float:
        """Deploys the changed configuration; seconds until all of it runs, and nothing else."""
        config = copy.deepcopy(self._config)
        change(config["applications"][0]["args"])
        self._config = config
        began_s = time.monotonic()
        self._dashboard.deploy(config)
        time.sleep(1)
        self._until(self._whole, began_s)
        return time.monotonic() - began_s

    def move(self, version: int) -> float:
        """Makes a version the champion; seconds until it answers."""
        began_s = time.monotonic()
        registry = registry_of(self._stack)
        registry.lifecycle.transition(NAME, version, "staging", actor=ACTOR)
        registry.lifecycle.transition(NAME, version, "production", actor=ACTOR)

        def live() -> bool:
            answer = fetch(f"{self._stack.url}/api/v1/models/live", 10)
            return (
                answer is not None
                and answer.is_success
                and json.loads(answer.text)["champion"]["version"] == version
            )

        self._until(live, began_s)
        return time.monotonic() - began_s

    def _whole(self) -> bool:
        try:
            found = self._dashboard.application("sentigraph")
        except StackError:
            return False
        return (
            found is not None
            and found.status == "RUNNING"
            and all(one.status == "HEALTHY" for one in found.deployments)
            and all(len(one.replicas) == one.running == one.wanted for one in found.deployments)
        )

    def _until(self, is_so: Callable[[], bool], began_s: float) -> None:
        while not is_so():
            if time.monotonic() > began_s + _CHANGED_S:
                raise StackError(f"the change is not done after {_CHANGED_S:g} s")
            time.sleep(_ASK_S)


def measure(
    stack: Stack, rate: float, requests: int, only: str, folder: Path
) -> Iterator[dict[str, Any]]:
    """Each change whose name matches ``only``, under load."""
    registry = registry_of(stack)
    second = register_variant(registry, folder, temperature=1.1)
    digests = {v: registry.store.resolve(NAME, v).digest for v in (1, second)}
    graph = Graph(stack)
    bodies = numbered_bodies(_TEXTS)
    for name, change in CHANGES:
        if not re.search(only, name):
            continue
        served: Counter[tuple[int, str]] = Counter()
        with BackgroundLoad(
            stack.url,
            bodies,
            rate_per_s=rate,
            timeout_s=10.0,
            on_success=lambda body, served=served: served.update([served_version(body)]),  # type: ignore[misc]
        ) as load:
            time.sleep(2)
            took_s = graph.move(second) if change is None else graph.deploy(change)
            while load.statuses.total() < requests:
                time.sleep(_ASK_S)
        ordered = sorted(load.latencies_s)
        mixed = sum(n for (version, digest), n in served.items() if digests[version] != digest)
        yield {
            "change": name,
            "requests": load.statuses.total(),
            "failed": load.failed,
            "mixed": mixed,
            "statuses": dict(load.statuses),
            "versions": {str(version): n for (version, _), n in served.items()},
            "changed_after_s": round(took_s, 1),
            "p50_ms": round(1_000 * ordered[len(ordered) // 2], 1),
            "p99_ms": round(1_000 * ordered[int(len(ordered) * 0.99)], 1),
            "longest_ms": round(1_000 * ordered[-1], 1),
        }


def main() -> int:
    """Runs all changes; 1 when a request failed, versions were mixed or requests are missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=3_000, help="at each change, at least")
    parser.add_argument("--rate", type=float, default=45.0, help="requests in a second")
    parser.add_argument("--only", default="", help="changes whose name matches this expression")
    given = parser.parse_args()
    facts = {**run_facts(), "requests_per_s": given.rate}
    bad = 0
    with (
        tempfile.TemporaryDirectory(prefix="sentigraph-redeploys-") as folder,
        private_stack(Path(folder) / "state") as stack,
    ):
        for row in measure(stack, given.rate, given.requests, given.only, Path(folder)):
            say(row)
            bad += row["failed"] + row["mixed"] + (row["requests"] < given.requests)
            keep(facts, row)
    return int(bad > 0)


def keep(facts: dict[str, Any], row: dict[str, Any]) -> None:
    """Writes the row in the place of the one of the same change."""
    before = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {"changes": []}
    row |= {name: facts[name] for name in ("date", "commit", "load_average")}
    rows = {one["change"]: one for one in before["changes"]} | {row["change"]: row}
    content = {**facts, "changes": [rows[name] for name, _ in CHANGES if name in rows]}
    RESULT.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
