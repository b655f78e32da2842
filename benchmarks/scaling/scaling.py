"""Replicas that come and go by our policies in a running graph.

``python -m benchmarks.scaling.scaling``.

Two private stacks in turn, each with one model and one tokenizer that may become two. Batches of
texts keep the engine busy until more replicas answer, then nothing comes until they are removed.
With the policies of each deployment only the model grows (``ModelPolicy``: its engine is busy, and
the tokenizer's requests are few); with the application's (``GraphPolicy``) the tokenizer follows
the model. Written to ``results/scaling.json``; exit status 1 when it was otherwise or a request
failed.
"""

import itertools
import json
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.harness.output import RESULTS, result, run_facts, say
from benchmarks.harness.stack import private_stack, serve_config
from benchmarks.loadgen.background import BackgroundLoad
from operations.clients.ray_dashboard import RayDashboard
from operations.errors import ServerAway
from operations.local_stack.ray_auth import read_token

RESULT = RESULTS / "scaling.json"
_GRAPH = {
    "policy_function": "deployments.autoscaling:GraphPolicy",
    "policy_kwargs": {"tokenizers_per_model": 1.0},
}
# Whom the traffic makes two of.
POLICIES = {"each deployment's": (None, {"Model"}), "GraphPolicy": (_GRAPH, {"Model", "Tokenizer"})}
_WATCHED = ("Model", "Tokenizer")
_MOST = 2
_CLIENTS, _TEXTS = 6, 32
# Who grows only by mistake has this long for it once those who should have grown.
_LOOK_S = 20.0
_LIMIT_S = 120.0


@dataclass
class Watched:
    """Running and wanted replicas, noted whenever they change, by seconds from the start."""

    dashboard: RayDashboard
    began_s: float = field(default_factory=time.monotonic)
    changes: list[dict[str, Any]] = field(default_factory=list)

    def running(self) -> dict[str, int]:
        """Running replicas of those that are watched."""
        try:
            application = self.dashboard.application("sentigraph")
        except ServerAway:
            return {}
        if application is None:
            return {}
        deployments = {d.name: [d.running, d.wanted] for d in application.deployments}
        seen = {name: deployments[name] for name in _WATCHED}
        if not self.changes or self.changes[-1]["running_and_wanted"] != seen:
            at_s = round(time.monotonic() - self.began_s, 1)
            self.changes.append({"at_s": at_s, "running_and_wanted": seen})
        return {name: running for name, (running, _) in seen.items()}

    def until(self, wanted: dict[str, int]) -> float | None:
        """Seconds until so many run; None when they do not within the limit."""
        start_s = time.monotonic()
        while time.monotonic() < start_s + _LIMIT_S:
            if wanted.items() <= self.running().items():
                return round(time.monotonic() - start_s, 1)
            time.sleep(0.5)
        return None


def traffic(url: str) -> BackgroundLoad:
    """Batches of texts that no cache knows, from a few clients at once."""

    def bodies() -> Iterator[str]:
        for _ in itertools.count():
            texts = [f"Parcel {uuid.uuid4()} came late and was good." for _ in range(_TEXTS)]
            yield json.dumps({"texts": texts})

    return BackgroundLoad(
        url,
        bodies(),
        clients=_CLIENTS,
        path="/api/v1/predict/batch",
        headers={"X-Deadline-Ms": "30000"},
        timeout_s=60.0,
    )


def play(policy: dict[str, Any] | None, growing: set[str], folder: Path) -> dict[str, Any]:
    """One stack: from one replica each to what the traffic asks for, and back."""
    with private_stack(folder / "state", config(policy, folder)) as stack:
        watched = Watched(RayDashboard(stack.dashboard_url, read_token(stack.environ)))
        before = watched.running()
        with traffic(stack.url) as load:
            grown_s = watched.until(dict.fromkeys(growing, _MOST))
            end_s = time.monotonic() + _LOOK_S
            while time.monotonic() < end_s:
                watched.running()
                time.sleep(0.5)
        shrunk_s = watched.until(dict.fromkeys(_WATCHED, 1))
    most = {
        name: max(change["running_and_wanted"][name][1] for change in watched.changes)
        for name in _WATCHED
    }
    return {
        "replicas_before": before,
        "most_wanted": most,
        "seconds_to_grow": grown_s,
        "seconds_to_shrink": shrunk_s,
        "statuses": dict(load.statuses),
        "changes": watched.changes,
    }


def config(policy: dict[str, Any] | None, folder: Path) -> Path:
    """The repository's file with room to grow, short delays, and the application's policy."""
    args = {
        "model": {"intra_op_threads": 1},
        "replicas": {
            "model": {"num_replicas": 1, "max_replicas": _MOST, "num_cpus": 0.5},
            "tokenizer": {"max_replicas": _MOST},
        },
        # By its requests alone the tokenizer would never grow here.
        "autoscaling": {
            "target_ongoing_requests": 1_000,
            "upscale_delay_s": 2,
            "downscale_delay_s": 5,
        },
    }
    application: dict[str, Any] = {"autoscaling_policy": policy} if policy else {}
    return serve_config(folder, args, **application)


def held(row: dict[str, Any], growing: set[str]) -> bool:
    """Whether those and only those grew, all shrank again, and every request was answered."""
    expected = {name: _MOST if name in growing else 1 for name in _WATCHED}
    return (
        row["most_wanted"] == expected
        and row["seconds_to_grow"] is not None
        and row["seconds_to_shrink"] is not None
        and set(row["statuses"]) == {"200"}
    )


def main() -> int:
    """Prints and writes what happened."""
    facts, rows, right = run_facts(), {}, True
    for name, (policy, growing) in POLICIES.items():
        with tempfile.TemporaryDirectory() as folder:
            rows[name] = play(policy, growing, Path(folder))
        right &= held(rows[name], growing)
        say(f"{name}: {json.dumps({k: v for k, v in rows[name].items() if k != 'changes'})}")
    result(RESULT, facts | {"policies": rows})
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
