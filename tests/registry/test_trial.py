"""What follows from what was seen: go on, wait, hold, roll back; and every field of the policy."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from registry.policy import Policy, ReleasePolicy
from registry.records import Release
from registry.sequential import Tally
from registry.trial import ACCURACY, Progress, Verdict, count_tests, decide, parse_progress

STEPS = (1.0, 0.1, 0.5)
RELEASE = Release(7, 3, 2, "ana", STEPS, 0)
GOOD = {test: Tally(0, 1_000) for test in ("errors", "latency", "agreement", "drift")}


def verdict(
    step: int = 0,
    in_step_s: float = 100,
    accuracy: Tally | None = None,
    policy: dict[str, Any] | None = None,
    **tests: Tally,
) -> Verdict:
    progress = Progress(7, step, {**GOOD, **tests}, accuracy or Tally())
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
    found = verdict(**{test: Tally(900, 100)})
    assert found.action == "roll_back"
    assert test in found.reason
    assert [check.name for check in found.checks if not check.passed] == [test]
    limits = {"errors": 0.02, "latency": 0.5, "agreement": 0.15, "drift": 0.25}
    share = round(1_000 * limits[test])
    undecided = verdict(**{test: Tally(share, 1_000 - share)})
    assert (undecided.action, undecided.reason) == ("wait", f"not yet proven: {test}")
    held = verdict(in_step_s=90_000, **{test: Tally(share, 1_000 - share)})
    assert held.action == "hold"


def test_errors_of_the_champion_excuse_the_candidate() -> None:
    assert verdict(step=1, errors=Tally(100, 900, 0)).action == "roll_back"
    assert verdict(step=1, errors=Tally(100, 800, 100)).action == "wait"


def test_accuracy_can_only_raise_the_alarm() -> None:
    assert verdict(accuracy=Tally(110, 1_840, 50)).action == "roll_back"
    assert verdict(accuracy=Tally(50, 1_900, 50)).action == "go_on"


# Field, value, and what a candidate gets with the default and with that value.
EFFECTS: list[tuple[str, float, dict[str, Any], str, str]] = [
    ("min_texts", 2_000, {}, "go_on", "wait"),
    ("min_feedback", 10, {}, "go_on", "wait"),
    ("min_step_s", 101, {}, "go_on", "wait"),
    ("max_step_s", 50, {"errors": Tally(0, 10)}, "wait", "hold"),
    ("false_alarm_rate", 1e-9, {"errors": Tally(25, 275)}, "roll_back", "wait"),
    ("miss_rate", 1e-9, {}, "go_on", "wait"),
    ("max_error_increase", 0.5, {"errors": Tally(200, 800)}, "roll_back", "go_on"),
    ("max_slower", 0.2, {"latency": Tally(300, 700)}, "go_on", "roll_back"),
    ("min_agreement", 0.6, {"agreement": Tally(300, 700)}, "roll_back", "go_on"),
    ("max_drifted", 0.6, {"drift": Tally(400, 600)}, "roll_back", "go_on"),
    ("max_accuracy_drop", 0.1, {"accuracy": Tally(110, 1_840, 50)}, "roll_back", "go_on"),
]


@pytest.mark.parametrize(("field", "value", "seen", "before", "after"), EFFECTS)
def test_fields_have_effect(
    field: str, value: float, seen: dict[str, Any], before: str, after: str
) -> None:
    assert verdict(**seen).action == before
    assert verdict(policy={field: value}, **seen).action == after


def test_every_field_is_tried() -> None:
    elsewhere = {"shadow_weight", "canary_weights"}  # tests/registry/test_release.py
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
        "shadow.errors": Tally(1),
        "challenger.errors": Tally(5),
        "shadow.accuracy": Tally(0, 2),
        "challenger.accuracy": Tally(0, 3),
    }
    progress = Progress(7, 0).plus("shadow", seen)
    assert progress == Progress(7, 0, {"errors": Tally(1)}, Tally(0, 5))
    following = progress.at(replace(RELEASE, step=1))
    assert following == Progress(7, 1, {}, Tally(0, 5))
    assert progress.at(replace(RELEASE, id=9)) == Progress(9, 0)
    assert parse_progress(progress.text()) == progress


@pytest.mark.parametrize("text", ["", "x", "[]", "[1,2,3,4]", '[1,0,{"a":[1]},["x"]]', "{}"])
def test_a_tag_that_somebody_wrote_over_is_nothing_seen(text: str) -> None:
    assert parse_progress(text) == Progress(0, 0)
