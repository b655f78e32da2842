"""Six bad versions and a good one against the running graph: who stops them, and who saw them?

``python -m tests.system.bad_models`` starts a private stack, sends it real texts at random
times, and has every version released automatically, and then made champion at once, by moving the
alias in MLflow as its UI does. It counts the callers that a version answered before it was stopped,
failed requests, and shows what the audit says.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from benchmarks.harness.models import ACTOR, NAME, served_version
from benchmarks.harness.output import RESULTS, result, run_facts, say
from benchmarks.harness.stack import private_stack, registry_of
from benchmarks.harness.texts import real_texts
from benchmarks.loadgen.background import BackgroundLoad, numbered_bodies
from operations.local_stack.stack import Stack
from registry.model_registry import ModelRegistry
from registry.records import Event
from tests.system.bad_bundles import BAD, healthy

_PATIENCE_S = 150.0
_POLICY = {
    "canary_weights": [0.2, 0.5],
    "min_texts": 40,
    "min_step_s": 1,
    "max_step_s": 120,
}
# Promoted by hand it serves: sixteen golden texts have none of the words that it fails on.
_NOT_AT_ONCE = ("crashes on rare words",)
_OVER = ("promote", "release_rollback", "rollback", "refuse_outside_move", "release_abort")


class Trial:
    """One version against a running stack."""

    def __init__(self, stack: Stack, registry: ModelRegistry, served: Counter[int]) -> None:
        self._registry = registry
        self._served = served
        self._models = f"{stack.url}/api/v1/models/{NAME}"

    def released(self, version: int) -> dict[str, Any]:
        """Orders a release; what became of it."""
        before, started_s = self._before()
        answer = httpx.post(f"{self._models}/versions/{version}/release", json={}, timeout=60)
        if answer.is_error:
            return self._ended(version, before, started_s, refused=answer.json()["error_message"])
        return self._ended(version, before, started_s)

    def moved(self, version: int) -> dict[str, Any]:
        """Moves the champion alias in MLflow itself; what became of it."""
        before, started_s = self._before()
        client = self._registry.store.mlflow.client()
        client.set_registered_model_alias(NAME, "champion", str(version))
        return self._ended(version, before, started_s)

    def _before(self) -> tuple[int, float]:
        return len(self._registry.ledger.events(NAME)), time.monotonic()

    def _ended(
        self, version: int, before: int, started_s: float, refused: str = ""
    ) -> dict[str, Any]:
        last = None if refused else self._last(before)
        elapsed_s = time.monotonic() - started_s
        time.sleep(2)
        found = {"answered_by_it": self._served[version], "after_s": round(elapsed_s, 1)}
        if last is None:
            return {**found, "end": "refused" if refused else "nothing happened", "why": refused}
        return {**found, "end": last.action, "by": last.actor, "why": last.reason}

    def _last(self, before: int) -> Event | None:
        """The entry that ended it; a move of the alias may end in its undoing."""
        ends_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < ends_s:
            for event in self._registry.ledger.events(NAME)[before:]:
                if event.action in _OVER:
                    return event
            time.sleep(0.5)
        return None


def main() -> int:
    """Runs everything; 1 when a bad version stayed or the good one did not get through."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=20.0, help="requests per second")
    args = parser.parse_args()
    facts = run_facts()
    with tempfile.TemporaryDirectory(prefix="sentigraph-bad-") as name:
        folder = Path(name)
        with private_stack(folder / "state") as stack:
            facts |= measure(stack, folder, args.rate)
    result(RESULTS / "bad_models.json", facts)
    ends = [how["end"] for how in (*facts["released"].values(), *facts["moved"].values())]
    return int("promote" in ends or facts["good"]["end"] != "promote")


def measure(stack: Stack, folder: Path, rate: float) -> dict[str, Any]:
    """All versions on a running stack, one after another."""
    registry = registry_of(stack)
    models = f"{stack.url}/api/v1/models/{NAME}"
    policy = {"policy": {"release": _POLICY}}
    httpx.patch(models, json=policy, timeout=60).raise_for_status()
    released, moved = {}, {}
    served: Counter[int] = Counter()
    with BackgroundLoad(
        stack.url,
        numbered_bodies(real_texts(2_000)),
        rate_per_s=rate,
        on_success=lambda body: served.update([served_version(body)[0]]),
    ) as load:
        trial = Trial(stack, registry, served)
        for name, make in BAD.items():
            version = make(registry, folder)
            released[name] = trial.released(version)
            say(f"{name} released: {released[name]}")
            if registry.lifecycle.state(NAME).stage(version) == "archived":
                registry.lifecycle.transition(NAME, version, "staging", actor=ACTOR)
            if name not in _NOT_AT_ONCE:
                moved[name] = trial.moved(version)
                say(f"{name} moved: {moved[name]}")
        good = trial.released(healthy(registry, folder))
        say(f"good: {good}")
    return {
        "offered_per_s": rate,
        "policy": _POLICY,
        "released": released,
        "moved": moved,
        "good": good,
        "requests": load.statuses.total(),
        "statuses": load.statuses,
        "audit_entries": len(registry.ledger.events(NAME)),
    }


if __name__ == "__main__":
    sys.exit(main())
