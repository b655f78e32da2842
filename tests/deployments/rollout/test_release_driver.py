"""The driver against replicas that have seen things: it counts, decides, and survives."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from front import LIVE

from deployments.payloads import Counts
from deployments.rollout.release_driver import ReleaseDriver
from deployments.versions import RoutingTable, TrafficSlot
from registry.bundles.bundle import write_bundle
from registry.errors import BackendUnavailable
from registry.model_registry import ModelRegistry
from registry.policy import MetricRule, Policy, ReleasePolicy
from registry.records import EngineHints
from registry.releases.decision import decide
from registry.releases.outcome import last_outcome
from registry.releases.sequential_test import PairedCount

pytestmark = pytest.mark.slow
NAME = "m"
CANDIDATE = replace(LIVE, version=2, digest="cd" * 32)
WELL: Counts = {
    f"{slot}.{test}": (0, 500, 0)
    for slot in ("shadow", "challenger")
    for test in ("errors", "latency", "agreement", "drift")
}
ILL: Counts = {**WELL, "shadow.agreement": (400, 100, 0)}


class Observers:
    """Two replicas; each has seen ``seen`` since the last call."""

    def __init__(self, seen: Counts) -> None:
        self.seen = seen
        self.asked: list[str] = []

    async def observed(self, digest: str) -> list[Counts]:
        self.asked.append(digest)
        return [self.seen, self.seen]

    async def judge(self, prediction_id: str, label: str) -> list[None]:
        return [None]


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    """Version 1 is champion, version 2 a draft; steps take no time."""
    made = ModelRegistry(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "artifacts")
    for number in (1, 2):
        for file in ("model.onnx", "tokenizer.json"):
            (tmp_path / file).write_text(f'"{number}"')
        bundle = write_bundle(
            tmp_path / f"bundle-{number}",
            name=NAME,
            labels=("NEG", "POS"),
            files={n: tmp_path / n for n in ("model.onnx", "tokenizer.json")},
            max_tokens=16,
            engine=EngineHints("onnx", "int8", ("input_ids",), 0),
        )
        made.store.register(NAME, bundle.directory, actor="ana")
    made.point(NAME, "champion", 1, actor="ana", reason="first")
    made.catalog.update_model(NAME, actor="ana", policy=policy())
    return made


def policy(**more: Any) -> Policy:
    release = {"canary_weights": (0.5,), "min_step_s": 0, **more.pop("release", {})}
    return Policy(release=ReleasePolicy(**release), **more)


def routes(registry: ModelRegistry) -> RoutingTable:
    """As the controller has them when all replicas follow."""
    state = registry.lifecycle.state(NAME)
    slots = {s: TrafficSlot(CANDIDATE, state.weights[s]) for s in state.weights}
    return RoutingTable(1, replace(LIVE, version=state.champion or 0), **slots)


def run(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(body(), 60))


def actions(registry: ModelRegistry) -> list[str]:
    return [e.action for e in registry.ledger.events(NAME) if e.action != "evaluate"]


def test_a_good_candidate_is_released_and_a_bad_one_rolled_back(registry: ModelRegistry) -> None:
    async def body() -> None:
        observers = Observers(WELL)
        driver = ReleaseDriver(NAME, "champion", registry, observers)
        await driver.tick(routes(registry))
        assert observers.asked == []
        registry.releases.start(NAME, 2, actor="ana")
        driver.look_again()
        for _ in range(2):
            await driver.tick(routes(registry))
        assert actions(registry)[-3:] == ["release_start", "release_step", "promote"]
        await driver.tick(routes(registry))

        registry.lifecycle.rollback(NAME, actor="ana", reason="again")
        registry.lifecycle.transition(NAME, 2, "staging", actor="ana")
        registry.releases.start(NAME, 2, actor="ana")
        observers.seen = ILL
        driver.look_again()
        await driver.tick(routes(registry))
        last = registry.ledger.events(NAME)[-1]
        assert (last.action, last.version, last.actor) == ("release_rollback", 2, "release")
        assert "agreement 0.8000 of 1000" in last.reason
        assert "policy.release.min_agreement=0.85" in last.reason
        ended = last_outcome(registry.ledger.events(NAME))
        assert ended is not None
        assert (ended.version, ended.outcome, ended.reason) == (2, "rolled back", last.reason)

    run(body)


def test_whoever_shows_a_release_knows_that_accuracy_has_to_be_proven(
    registry: ModelRegistry,
) -> None:
    async def body() -> None:
        driver = ReleaseDriver(NAME, "champion", registry, Observers(WELL), reviewed=True)
        registry.releases.start(NAME, 2, actor="ana")
        await driver.tick(routes(registry))
        release, _, rules = registry.releases.status(NAME)
        assert release is not None
        shown = decide(registry.releases.progress(NAME), rules, release.steps, 100)
        assert (shown.action, release.step) == ("wait", 0)
        assert shown.reason == "not yet proven: accuracy within 0.03"

    run(body)


def test_what_counts_for_nothing_is_counted_and_outlives_a_restart(
    registry: ModelRegistry,
) -> None:
    async def body() -> None:
        observers = Observers(WELL | {"missed.too old": (3, 0, 0)})
        driver = ReleaseDriver(NAME, "champion", registry, observers, reviewed=True)
        driver.missed("before any release")
        registry.releases.start(NAME, 2, actor="ana")
        await driver.tick(routes(registry))
        for _ in range(2):
            driver.missed("a caller's word")
        driver._kept_s = 0
        await driver.tick(routes(registry))
        missed = {"too old": 12, "a caller's word": 2}
        assert registry.releases.progress(NAME).not_counted == missed
        again = ReleaseDriver(NAME, "champion", registry, Observers(WELL), reviewed=True)
        await again.tick(routes(registry))
        assert registry.releases.progress(NAME).not_counted == missed

    run(body)


def test_it_waits_until_replicas_follow(registry: ModelRegistry) -> None:
    async def body() -> None:
        observers = Observers(WELL)
        driver = ReleaseDriver(NAME, "champion", registry, observers)
        registry.releases.start(NAME, 2, actor="ana")
        await driver.tick(RoutingTable(1, LIVE))
        assert observers.asked == []

    run(body)


def test_counts_are_taken_up_by_another_process(registry: ModelRegistry) -> None:
    async def body() -> None:
        some: Counts = {name: (0, 80, 0) for name in WELL}
        registry.releases.start(NAME, 2, actor="ana")
        for _ in range(2):
            driver = ReleaseDriver(NAME, "champion", registry, Observers(some))
            await driver.tick(routes(registry))
        assert registry.releases.progress(NAME).tests["errors"] == PairedCount(0, 320)
        assert actions(registry)[-1] == "release_step"

    run(body)


def test_held_it_counts_on_and_still_rolls_back(registry: ModelRegistry) -> None:
    async def body() -> None:
        observers = Observers(WELL)
        driver = ReleaseDriver(NAME, "champion", registry, observers)
        registry.releases.start(NAME, 2, actor="ana")
        registry.releases.hold(NAME, actor="ben", reason="holidays")
        await driver.tick(routes(registry))
        assert actions(registry)[-1] == "release_hold"
        observers.seen = {**WELL, "shadow.errors": (500, 0, 0)}
        await driver.tick(routes(registry))
        assert actions(registry)[-1] == "release_rollback"

    run(body)


def test_what_a_person_changed_ends_it_and_a_new_gate_holds_it(registry: ModelRegistry) -> None:
    async def body() -> None:
        driver = ReleaseDriver(NAME, "champion", registry, Observers(WELL))
        registry.releases.start(NAME, 2, actor="ana")
        registry.lifecycle.set_slot(NAME, "shadow", None, actor="ben")
        await driver.tick(routes(registry))
        assert actions(registry)[-1] == "release_abort"

        registry.releases.start(NAME, 2, actor="ana")
        driver.look_again()
        await driver.tick(routes(registry))
        rules = (MetricRule(metric="accuracy", threshold=0.9),)
        registry.catalog.update_model(NAME, actor="ben", policy=policy(rules=rules))
        await driver.tick(routes(registry))
        last = registry.ledger.events(NAME)[-1]
        assert (last.action, last.actor) == ("release_hold", "release")
        assert "has no accuracy" in last.reason

    run(body)


def test_a_replica_that_objects_ends_the_release(registry: ModelRegistry) -> None:
    async def body() -> None:
        driver = ReleaseDriver(NAME, "champion", registry, Observers(WELL))
        registry.releases.start(NAME, 2, actor="ana")
        await driver.reject("challenger", 1, "another version", 1)
        assert "release_rollback" not in actions(registry)
        await driver.reject("shadow", 2, "scores are no probabilities", 1)
        last = registry.ledger.events(NAME)[-1]
        assert (last.action, last.version) == ("release_rollback", 2)
        assert last.reason.startswith("version 2: scores are no probabilities")
        assert registry.store.resolve(NAME, 2).stage == "archived"


def test_a_rejected_version_without_a_release_loses_its_role(registry: ModelRegistry) -> None:
    async def body() -> None:
        driver = ReleaseDriver(NAME, "champion", registry, Observers(WELL))
        registry.lifecycle.transition(NAME, 2, "staging", actor="ana")
        registry.lifecycle.set_slot(NAME, "shadow", 2, actor="ana", weight=0.5)
        await driver.reject("shadow", 2, "scores are no probabilities", 1)
        assert registry.lifecycle.state(NAME).aliases.get("shadow") is None
        registry.point(NAME, "champion", 2, actor="ana", reason="better")
        other = ReleaseDriver(NAME, "blessed", registry, Observers(WELL))
        await other.reject("champion", 2, "replicas disagree", 1)
        assert registry.store.resolve(NAME, "champion").version == 2
        await driver.reject("champion", 2, "replicas disagree", 1)
        assert registry.store.resolve(NAME, "champion").version == 1
        last = registry.ledger.events(NAME)[-1]
        assert (last.actor, last.reason) == ("rollout", "version 2: replicas disagree")

    run(body)


def test_counts_are_kept_while_mlflow_is_away(
    registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        some: Counts = {name: (0, 80, 0) for name in WELL}
        driver = ReleaseDriver(NAME, "champion", registry, Observers(some))
        registry.releases.start(NAME, 2, actor="ana")

        def away(*_: object) -> None:
            raise BackendUnavailable("away")

        table = routes(registry)
        with monkeypatch.context() as patched:
            patched.setattr(registry.releases, "save_progress", away)
            with pytest.raises(BackendUnavailable):
                await driver.tick(table)
        await driver.tick(table)
        assert registry.releases.progress(NAME).tests["errors"] == PairedCount(0, 320)

    run(body)
