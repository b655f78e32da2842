"""Replicas that come and go by our policies in a running graph.

``python -m benchmarks.scaling.scaling``.

Two private stacks in turn, each with one model and one tokenizer that may become two. Batches of
texts keep the engine busy until more replicas answer, then nothing comes until they are let go.
With the policies of each deployment only the model grows (``ModelPolicy``: its engine is busy, and
the tokenizer's requests are few); with the application's (``GraphPolicy``) the tokenizer follows
the model. Written to ``results/scaling.json``; exit status 1 when it was otherwise or a request
failed.
"""

import json
import os
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import yaml

from benchmarks.harness.machine import commit, load_average, machine
from operations.errors import ServerAway
from operations.local_stack.ray_auth import read_token
from operations.local_stack.stack import ROOT, Stack, StackSettings
from operations.ray_dashboard import RayDashboard

RESULT = Path(__file__).parents[1] / "results" / "scaling.json"
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


@contextmanager
def traffic(url: str) -> Iterator[Counter[str]]:
    """Batches of texts that no cache knows, from a few clients at once; statuses by number."""
    stop, statuses = threading.Event(), Counter[str]()

    def send() -> None:
        with httpx.Client(timeout=60) as client:
            while not stop.is_set():
                texts = [f"Parcel {uuid.uuid4()} came late and was good." for _ in range(_TEXTS)]
                body = {"texts": texts}
                headers = {"X-Deadline-Ms": "30000"}
                try:
                    answer = client.post(f"{url}/api/v1/predict/batch", json=body, headers=headers)
                    statuses[str(answer.status_code)] += 1
                except httpx.HTTPError as error:
                    statuses[type(error).__name__] += 1

    threads = [threading.Thread(target=send, daemon=True) for _ in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        stop.set()
        for thread in threads:
            thread.join(90)


def play(policy: dict[str, Any] | None, growing: set[str], folder: Path) -> dict[str, Any]:
    """One stack: from one replica each to what the traffic asks for, and back."""
    settings = StackSettings(
        environ=os.environ,
        config=config(policy, folder),
        state_dir=folder / "state",
        port=0,
        mlflow_port=0,
        dashboard_port=0,
    )
    with Stack(settings, on_step=_say) as stack:
        watched = Watched(RayDashboard(stack.dashboard_url, read_token(stack.environ)))
        before = watched.running()
        with traffic(stack.url) as statuses:
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
        "statuses": dict(statuses),
        "changes": watched.changes,
    }


def config(policy: dict[str, Any] | None, folder: Path) -> Path:
    """The repository's file with room to grow, short delays, and the application's policy."""
    document = yaml.safe_load((ROOT / "serve_config.yaml").read_text(encoding="utf-8"))
    [application] = document["applications"]
    application["args"] |= {
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
    if policy is not None:
        application["autoscaling_policy"] = policy
    file = folder / "serve_config.yaml"
    file.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return file


def held(row: dict[str, Any], growing: set[str]) -> bool:
    """Whether those and only those grew, all shrank again, and every request was answered."""
    expected = {name: _MOST if name in growing else 1 for name in _WATCHED}
    return (
        row["most_wanted"] == expected
        and row["seconds_to_grow"] is not None
        and row["seconds_to_shrink"] is not None
        and set(row["statuses"]) == {"200"}
    )


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def main() -> int:
    """Prints and writes what happened."""
    rows, right = {}, True
    for name, (policy, growing) in POLICIES.items():
        with tempfile.TemporaryDirectory() as folder:
            rows[name] = play(policy, growing, Path(folder))
        right &= held(rows[name], growing)
        _say(f"{name}: {json.dumps({k: v for k, v in rows[name].items() if k != 'changes'})}")
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "load_average": round(load_average(), 2),
        "policies": rows,
    }
    text = json.dumps(result, indent=1)
    RESULT.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
