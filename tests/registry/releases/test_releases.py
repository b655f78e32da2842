"""Releases on real MLflow: one at a time, step by step, over restarts, and back with the reason."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from registry.errors import ApprovalRequired, Conflict, GateFailed, IllegalTransition, RegistryError
from registry.model_registry import ModelRegistry
from registry.policy import Policy, ReleasePolicy
from registry.records import Check, Release
from registry.releases.decision import ReleaseDecision, ReleaseProgress
from registry.releases.sequential_test import PairedCount

pytestmark = pytest.mark.slow
on_sqlite = pytest.mark.parametrize("registry", ["sqlite"], indirect=True)
PASSED = ReleaseDecision("go_on", "every test passed", ())
BEYOND = ReleaseDecision("roll_back", "errors 0.5 of 40", ())
Fill = Callable[..., None]


@pytest.fixture
def fill(registry: ModelRegistry, name: str, make_bundle: Any) -> Fill:
    """Version 1 is champion; two more are drafts. ``release`` is the release's policy."""

    def fill(labels: tuple[str, ...] = ("negative", "positive"), **policy: Any) -> None:
        for number in range(3):
            made = make_bundle(f"w {number}".encode(), labels=labels if number else (*"ab",))
            if not number and labels == ("negative", "positive"):
                made = make_bundle(f"w {number}".encode())
            registry.store.register(name, made.directory, actor="ana")
        registry.point(name, "champion", 1, actor="ana", reason="first")
        release = {"canary_weights": (0.1, 0.5), **policy.pop("release", {})}
        registry.catalog.update_model(
            name, actor="ana", policy=Policy(release=ReleasePolicy(**release), **policy)
        )

    return fill


def under_way(registry: ModelRegistry, name: str) -> Release:
    release, problem, _ = registry.releases.status(name)
    assert release is not None
    assert problem == ""
    return release


def places(registry: ModelRegistry, name: str) -> tuple[dict[str, int], dict[str, float]]:
    state = registry.lifecycle.state(name)
    return dict(state.aliases), dict(state.weights)


def test_from_draft_to_production(registry: ModelRegistry, name: str, fill: Fill) -> None:
    fill()
    releases = registry.releases
    start = releases.start(name, 2, actor="ana", reason="better")
    assert places(registry, name) == ({"champion": 1, "shadow": 2}, {"shadow": 1.0})
    for slot, weight in (("challenger", 0.1), ("challenger", 0.5)):
        releases.advance(name, under_way(registry, name), PASSED)
        release = under_way(registry, name)
        assert (release.id, release.slot, release.weight) == (start.seq, slot, weight)
        assert places(registry, name) == ({"champion": 1, slot: 2}, {slot: weight})
        tags = registry.store.mlflow.client().get_registered_model(name).tags
        assert tags["release"] == (
            f"version 2, step {release.step + 1} of 3: answers {weight} of the traffic"
        )
    tests = (Check("errors", True, "0.0000 of 900, limit 0.02: within"),)
    event = releases.advance(name, under_way(registry, name), replace(PASSED, checks=tests))
    assert (event.action, event.actor) == ("promote", "ana")
    # What the policy asks for and what the release measured, in the audit and in MLflow's UI.
    assert [check["name"] for check in event.gate["checks"]] == [
        "files",
        "labels",
        "known accuracy",
        "errors",
    ]
    described = registry.store.resolve(name, 2).description
    assert "| files | passed | digest" in described
    assert "| errors | passed | 0.0000 of 900, limit 0.02: within |" in described
    assert places(registry, name) == ({"champion": 2, "previous": 1}, {})
    assert releases.status(name)[0] is None
    assert "release" not in registry.store.mlflow.client().get_registered_model(name).tags


@on_sqlite
def test_without_shadow_the_first_step_is_a_canary(
    registry: ModelRegistry, name: str, fill: Fill
) -> None:
    fill(release={"shadow_weight": 0, "canary_weights": (0.3,)})
    registry.releases.start(name, 2, actor="ana")
    assert places(registry, name)[1] == {"challenger": 0.3}


def test_what_is_rolled_back_carries_the_reason(
    registry: ModelRegistry, name: str, fill: Fill
) -> None:
    fill()
    registry.releases.start(name, 2, actor="ana")
    release = under_way(registry, name)
    registry.releases.roll_back(name, release, BEYOND.reason, BEYOND)
    assert places(registry, name) == ({"champion": 1}, {})
    version = registry.store.resolve(name, 2)
    assert (version.stage, version.tags["registry.rolled_back"]) == ("archived", BEYOND.reason)
    assert "release\\_rollback by release" in version.description.replace("_", "\\_", 1)
    with pytest.raises(Conflict, match="is over"):
        registry.releases.roll_back(name, release, "again", None)
    registry.lifecycle.transition(name, 2, "staging", actor="ana")
    assert "registry.rolled_back" not in registry.store.resolve(name, 2).tags


@on_sqlite
def test_a_restart_of_everything_goes_on(
    registry: ModelRegistry, name: str, fill: Fill, sqlite_uri: str
) -> None:
    fill()
    registry.releases.start(name, 2, actor="ana")
    registry.releases.advance(name, under_way(registry, name), PASSED)
    release = under_way(registry, name)
    progress = ReleaseProgress(release.id, 1, {"errors": PairedCount(1, 50)}, PairedCount(1, 2, 3))
    registry.releases.save_progress(name, progress)
    again = ModelRegistry(sqlite_uri, "unused")
    assert under_way(again, name) == release
    assert again.releases.progress(name).at(release) == progress


@on_sqlite
def test_one_release_at_a_time_whoever_races(
    registry: ModelRegistry, name: str, fill: Fill, sqlite_uri: str
) -> None:
    fill()
    results: list[str] = []
    ready = threading.Barrier(4)

    def race(number: int) -> None:
        mine = ModelRegistry(sqlite_uri, "unused")
        mine.lifecycle.state(name)
        ready.wait()
        try:
            mine.releases.start(name, 2 + number % 2, actor=f"racer {number}")
        except RegistryError as error:
            results.append(type(error).__name__)
        else:
            results.append("won")

    racers = [threading.Thread(target=race, args=(number,)) for number in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert sorted(results) == ["Conflict"] * 3 + ["won"]
    release = under_way(registry, name)
    registry.releases.advance(name, release, PASSED)
    with pytest.raises(Conflict, match="changed meanwhile"):
        registry.releases.advance(name, release, PASSED)


@on_sqlite
def test_hold_resume_abort(registry: ModelRegistry, name: str, fill: Fill) -> None:
    fill()
    releases = registry.releases
    with pytest.raises(IllegalTransition, match="no release"):
        releases.abort(name, actor="ben", reason="x")
    releases.start(name, 2, actor="ana")
    before = under_way(registry, name)
    releases.hold(name, actor="ben", reason="holidays")
    held = under_way(registry, name)
    assert (held.held, held.step) == ("holidays", 0)
    with pytest.raises(Conflict):
        releases.advance(name, before, PASSED)
    releases.resume(name, actor="ben")
    resumed = under_way(registry, name)
    assert resumed.held == ""
    assert resumed.since_s > before.since_s
    releases.abort(name, actor="ben", reason="not now")
    assert places(registry, name) == ({"champion": 1}, {})
    assert registry.lifecycle.state(name).stage(2) == "staging"


@on_sqlite
def test_a_person_who_moves_places_ends_it(registry: ModelRegistry, name: str, fill: Fill) -> None:
    fill()
    registry.releases.start(name, 2, actor="ana")
    registry.lifecycle.set_slot(name, "shadow", None, actor="ben")
    assert "taken from the version" in registry.releases.status(name)[1]
    registry.releases.abort(name, actor="release", reason="taken")
    registry.releases.start(name, 2, actor="ana")
    registry.point(name, "champion", 3, actor="ben", reason="faster")
    assert "version 3 became champion" in registry.releases.status(name)[1]
    registry.releases.abort(name, actor="release", reason="superseded")
    registry.releases.start(name, 2, actor="ana")
    registry.lifecycle.transition(name, 2, "production", actor="ben")
    assert registry.releases.status(name)[0] is None


@on_sqlite
def test_what_the_gate_refuses_does_not_start(
    registry: ModelRegistry, name: str, fill: Fill
) -> None:
    fill(approvals=1)
    with pytest.raises(ApprovalRequired):
        registry.releases.start(name, 2, actor="ana")
    registry.lifecycle.decide(name, 2, approve=True, actor="ben", reason="seen")
    registry.lifecycle.set_slot(name, "shadow", None, actor="ana")
    registry.lifecycle.transition(name, 3, "staging", actor="ana")
    registry.lifecycle.set_slot(name, "shadow", 3, actor="ana")
    with pytest.raises(Conflict, match="slot shadow is held by version 3"):
        registry.releases.start(name, 2, actor="ana")
    registry.lifecycle.set_slot(name, "shadow", None, actor="ana")
    assert registry.releases.start(name, 2, actor="ana").action == "release_start"


@on_sqlite
def test_other_labels_do_not_start(registry: ModelRegistry, name: str, fill: Fill) -> None:
    fill(labels=("down", "up"))
    with pytest.raises(GateFailed, match="not the champion's labels"):
        registry.releases.start(name, 2, actor="ana")


@on_sqlite
def test_a_version_that_is_known_to_be_worse_is_not_released(
    registry: ModelRegistry, name: str, fill: Fill
) -> None:
    fill()

    def measured(version: int, accuracy: float) -> None:
        registry.evaluations.add(
            registry.store.resolve(name, version),
            name="test",
            dataset="reviews",
            dataset_digest="d" * 32,
            metrics={"accuracy": accuracy},
            metadata={},
            actor="ana",
        )

    measured(1, 0.926)
    measured(2, 0.912)
    with pytest.raises(GateFailed, match=r"accuracy 0\.912 on reviews, champion 1 has 0\.926"):
        registry.releases.start(name, 2, actor="ana")
    policy = Policy(release=ReleasePolicy(max_accuracy_drop=0.02))
    registry.catalog.update_model(name, actor="ana", policy=policy)
    event = registry.releases.start(name, 2, actor="ana")
    assert event.gate["checks"][-1]["name"] == "known accuracy"
    # Measured again while it is under way, and worse than that.
    measured(2, 0.8)
    for _ in range(2):
        registry.releases.advance(name, under_way(registry, name), PASSED)
    with pytest.raises(GateFailed, match="known to be worse"):
        registry.releases.advance(name, under_way(registry, name), PASSED)
