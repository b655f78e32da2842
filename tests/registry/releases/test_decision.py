"""What follows from what was seen: go on, wait, hold, roll back; and every field of the policy."""

import random
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from registry.policy import Policy, ReleasePolicy
from registry.records import Release
from registry.releases.decision import (
    ACCURACY,
    ReleaseDecision,
    ReleaseProgress,
    count_tests,
    decide,
    parse_progress,
)
from registry.releases.sequential_test import PairedCount

STEPS = (1.0, 0.1, 0.5)
RELEASE = Release(7, 3, 2, "ana", STEPS, 0)
GOOD = {test: PairedCount(0, 1_000) for test in ("errors", "latency", "agreement", "drift")}


def verdict(
    step: int = 0,
    in_step_s: float = 100,
    accuracy: PairedCount | None = None,
    policy: dict[str, Any] | None = None,
    **tests: PairedCount,
) -> ReleaseDecision:
    progress = ReleaseProgress(7, step, {**GOOD, **tests}, accuracy or PairedCount())
    return decide(progress, ReleasePolicy(**(policy or {})), STEPS, in_step_s)


def test_proof_of_every_limit_goes_on() -> None:
    found = verdict()
    assert found.action == "go_on"
    assert [check.name for check in found.checks] == [
        *("errors", "latency", "agreement", "drift", ACCURACY)
    ]
    assert [check.name for check in verdict(step=1).checks] == ["errors", "latency", ACCURACY]


@pytest.mark.parametrize("test", ["errors", "latency", "agreement", "drift"])
def test_each_test_can_roll_back_and_can_keep_waiting(test: str) -> None:
    found = verdict(**{test: PairedCount(900, 100)})
    assert found.action == "roll_back"
    assert test in found.reason
    assert [check.name for check in found.checks if not check.passed] == [test]
    limits = {"errors": 0.02, "latency": 0.5, "agreement": 0.15, "drift": 0.25}
    share = round(1_000 * limits[test])
    undecided = verdict(**{test: PairedCount(share, 1_000 - share)})
    assert (undecided.action, undecided.reason) == ("wait", f"not yet proven: {test}")
    held = verdict(in_step_s=90_000, **{test: PairedCount(share, 1_000 - share)})
    assert held.action == "hold"


def test_errors_of_the_champion_excuse_the_candidate() -> None:
    assert verdict(step=1, errors=PairedCount(100, 900, 0)).action == "roll_back"
    assert verdict(step=1, errors=PairedCount(100, 800, 100)).action == "wait"


def test_accuracy_can_only_raise_the_alarm() -> None:
    assert verdict(accuracy=PairedCount(110, 1_840, 50)).action == "roll_back"
    assert verdict(accuracy=PairedCount(50, 1_900, 50)).action == "go_on"


# Field, value, and what a candidate gets with the default and with that value.
EFFECTS: list[tuple[str, float, dict[str, Any], str, str]] = [
    ("min_texts", 2_000, {}, "go_on", "wait"),
    ("min_feedback", 10, {}, "go_on", "wait"),
    ("min_step_s", 101, {}, "go_on", "wait"),
    ("max_step_s", 50, {"errors": PairedCount(0, 10)}, "wait", "hold"),
    ("false_alarm_rate", 1e-9, {"errors": PairedCount(25, 275)}, "roll_back", "wait"),
    ("miss_rate", 1e-9, {}, "go_on", "wait"),
    ("max_error_increase", 0.5, {"errors": PairedCount(200, 800)}, "roll_back", "go_on"),
    ("max_slower", 0.2, {"latency": PairedCount(300, 700)}, "go_on", "roll_back"),
    ("min_agreement", 0.6, {"agreement": PairedCount(300, 700)}, "roll_back", "go_on"),
    ("max_drifted", 0.6, {"drift": PairedCount(400, 600)}, "roll_back", "go_on"),
    ("accuracy_proof", 0.03, {}, "go_on", "wait"),
    ("max_accuracy_drop", 0.1, {"accuracy": PairedCount(110, 1_840, 50)}, "roll_back", "go_on"),
]


@pytest.mark.parametrize(("field", "value", "seen", "before", "after"), EFFECTS)
def test_fields_have_effect(
    field: str, value: float, seen: dict[str, Any], before: str, after: str
) -> None:
    assert verdict(**seen).action == before
    assert verdict(policy={field: value}, **seen).action == after


def test_every_field_is_tried() -> None:
    elsewhere = {"shadow_weight", "canary_weights"}  # tests/registry/releases/test_releases.py
    assert {field for field, *_ in EFFECTS} | elsewhere == set(ReleasePolicy.model_fields)
    assert Policy().release == ReleasePolicy()


@pytest.mark.parametrize("weights", [(), (0.5, 0.1), (0.1, 0.1), (0.0,), (1.5,)])
def test_shares_that_do_not_grow_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        ReleasePolicy(canary_weights=weights)


def test_the_false_alarm_rate_is_shared_by_all_tests() -> None:
    assert count_tests(STEPS) == 4 + 2 * 2 + 1
    assert count_tests((0.0, 0.5)) == 3


def test_counts_of_another_step_do_not_count_but_accuracy_does() -> None:
    seen = {
        "shadow.errors": PairedCount(1),
        "challenger.errors": PairedCount(5),
        "shadow.accuracy": PairedCount(0, 2),
        "challenger.accuracy": PairedCount(0, 3),
    }
    progress = ReleaseProgress(7, 0).plus("shadow", seen)
    assert progress == ReleaseProgress(7, 0, {"errors": PairedCount(1)}, PairedCount(0, 5))
    following = progress.at(replace(RELEASE, step=1))
    assert following == ReleaseProgress(7, 1, {}, PairedCount(0, 5))
    assert progress.at(replace(RELEASE, id=9)) == ReleaseProgress(9, 0)
    assert parse_progress(progress.text()) == progress


def test_what_the_server_wants_proven_travels_with_the_progress() -> None:
    wanted = ReleaseProgress(7, 0, GOOD, proof=0.03)
    assert parse_progress(wanted.text()) == wanted
    assert decide(wanted, ReleasePolicy(), STEPS, 100).action == "wait"
    assert decide(wanted, ReleasePolicy(accuracy_proof=0), STEPS, 100).action == "go_on"


@pytest.mark.parametrize("text", ["", "x", "[]", "[1,2,3,4]", '[1,0,{"a":[1]},["x"]]', "{}"])
def test_a_tag_that_somebody_wrote_over_is_nothing_seen(text: str) -> None:
    assert parse_progress(text) == ReleaseProgress(0, 0)


def test_accuracy_is_proven_where_a_proof_is_asked_for() -> None:
    """With the share that audited servers ask for, and texts that both versions answered."""
    asked = {"accuracy_proof": 0.03}
    assert verdict(policy=asked).reason == "not yet proven: accuracy within 0.03"
    assert verdict(policy=asked, in_step_s=90_000).action == "hold"
    assert verdict(policy={"accuracy_proof": 0}).action == "go_on"
    passed = {"equal": 0, "three points worse": 0}
    for seed in range(100):
        chance = random.Random(seed)
        for name, worse in (("equal", 0.02), ("three points worse", 0.05)):
            draws = [chance.random() for _ in range(600)]
            counts = PairedCount(
                sum(draw < worse for draw in draws), 0, sum(draw > 0.98 for draw in draws)
            )
            counts = replace(counts, same=600 - counts.worse - counts.better)
            passed[name] += verdict(policy=asked, accuracy=counts).action == "go_on"
    assert passed["three points worse"] <= 5
    assert passed["equal"] >= 70
