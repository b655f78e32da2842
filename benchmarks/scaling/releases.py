"""Releases simulated by the hundred, with the code that decides in the running graph.

``python -m benchmarks.scaling.releases`` releases 50 candidates as good as the champion and 50 that
are three points less accurate, and judges some of the answers, as callers do who send
feedback. It counts how many were wrongly rolled back and how many were caught, and after how many
requests. Then a thousand candidates that lie exactly on every limit, where false alarms and
misses are as likely as they can be. Seeded: the figures come out the same each time.
"""

import argparse
import statistics
import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.harness.output import RESULTS, result, run_facts
from registry.policy import ReleasePolicy
from registry.records import Release
from registry.releases.decision import CHALLENGER_TESTS, SHADOW_TESTS, ReleaseProgress, decide
from registry.releases.sequential_test import PairedCount

_LOOK_TEXTS = 50
_PATIENCE_TEXTS = 60_000
_LIMIT_PATIENCE_TEXTS = 5_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is true of a candidate, which the release does not know.

    Attributes:
        accuracy: Of the champion.
        drop: How much less the candidate's is.
        agreement: Share of texts that both label alike.
        errors: Share of texts on which the candidate fails; the champion fails as often.
        slower: Share of texts on which it takes twice as long.
        drifted: Share of texts whose scores move far.
        feedback: Share of answers that are judged.
        on_the_limit: The champion never fails, so that errors are as many more as they may be.
    """

    accuracy: float
    drop: float
    agreement: float
    errors: float = 0.001
    slower: float = 0.1
    drifted: float = 0.05
    feedback: float = 0.1
    on_the_limit: bool = False


@dataclass(frozen=True, slots=True)
class ReleaseEnd:
    """How a release ended, in which step, after how many requests and judged answers."""

    action: str
    step: int
    requests: int
    answered: int
    judged: int


def release(
    candidate: Candidate, policy: ReleasePolicy, chance: np.random.Generator, patience: int
) -> ReleaseEnd:
    """Takes a candidate through its steps; decides after every ``_LOOK_TEXTS`` compared texts.

    A step that is undecided after ``patience`` texts is held.
    """
    steps = (policy.shadow_weight, *policy.canary_weights)
    under_way = Release(1, 2, 1, "simulation", steps, 0)
    progress = ReleaseProgress(1, 0)
    requests = answered = texts = 0
    while under_way.step < len(steps):
        progress = progress.plus(under_way.slot, _seen(candidate, under_way, chance))
        texts += _LOOK_TEXTS
        # In the canary only its share is compared: the others pass by.
        requests += round(_LOOK_TEXTS / under_way.weight)
        answered += _LOOK_TEXTS if under_way.step else 0
        in_step_s = policy.min_step_s if texts < patience else policy.max_step_s
        verdict = decide(progress, policy, steps, in_step_s)
        if verdict.action in ("roll_back", "hold"):
            judged = progress.accuracy.total
            return ReleaseEnd(verdict.action, under_way.step, requests, answered, judged)
        if verdict.action == "go_on":
            under_way, texts = replace(under_way, step=under_way.step + 1), 0
            if under_way.step < len(steps):
                progress = progress.at(under_way)
    return ReleaseEnd("promote", under_way.step, requests, answered, progress.accuracy.total)


def _seen(
    candidate: Candidate, under_way: Release, chance: np.random.Generator
) -> dict[str, PairedCount]:
    """What ``_LOOK_TEXTS`` compared texts show."""
    shadow = under_way.step == 0
    shares = {
        "errors": (candidate.errors, 0.0),
        "latency": (candidate.slower, 0.0),
        "agreement": (1 - candidate.agreement, 0.0),
        "drift": (candidate.drifted, 0.0),
    }
    if not shadow and not candidate.on_the_limit:
        # The champion fails as often, on other texts.
        once = candidate.errors * (1 - candidate.errors)
        shares["errors"] = (once, once)
    seen = {
        f"{under_way.slot}.{test}": _tally(_LOOK_TEXTS, *shares[test], chance)
        for test in (SHADOW_TESTS if shadow else CHALLENGER_TESTS)
    }
    judged = int(chance.binomial(_LOOK_TEXTS, candidate.feedback))
    # In the shadow both have answered the judged text; in the canary they are different ones.
    both = _both(candidate) if shadow else _each(candidate)
    seen[f"{under_way.slot}.accuracy"] = _tally(judged, *both, chance)
    return seen


def _tally(count: int, worse: float, better: float, chance: np.random.Generator) -> PairedCount:
    seen = chance.multinomial(count, (worse, 1 - worse - better, better))
    return PairedCount(*(int(n) for n in seen))


def _both(candidate: Candidate) -> tuple[float, float]:
    """Of two classes: where the labels differ, one of the two versions is right."""
    differ = 1 - candidate.agreement
    return (differ + candidate.drop) / 2, (differ - candidate.drop) / 2


def _each(candidate: Candidate) -> tuple[float, float]:
    wrong, theirs = 1 - candidate.accuracy + candidate.drop, 1 - candidate.accuracy
    return wrong * (1 - theirs), theirs * (1 - wrong)


def summary(outcomes: list[ReleaseEnd]) -> dict[str, Any]:
    """Counts by ending, and medians and extremes of those that were rolled back."""
    caught = [o for o in outcomes if o.action == "roll_back"]
    found: dict[str, Any] = {
        action: sum(o.action == action for o in outcomes)
        for action in ("promote", "roll_back", "hold")
    }
    for name in ("requests", "answered", "judged"):
        values = [getattr(o, name) for o in caught]
        if values:
            found[f"{name}_until_rollback"] = {
                "median": statistics.median(values),
                "most": max(values),
            }
    return found


def main() -> int:
    """Simulates, prints and keeps the figures; 1 when a stated rate does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--releases", type=int, default=50)
    parser.add_argument("--on-the-limit", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    chance, policy = np.random.default_rng(args.seed), ReleasePolicy()
    # Feedback is waited for, so that a candidate meets it before it is champion.
    judging = policy.model_copy(update={"min_feedback": 4_000})

    def many(count: int, candidate: Candidate, how: ReleasePolicy) -> dict[str, Any]:
        patience = _LIMIT_PATIENCE_TEXTS if candidate.on_the_limit else _PATIENCE_TEXTS
        return summary([release(candidate, how, chance, patience) for _ in range(count)])

    healthy = Candidate(accuracy=0.87, drop=0.0, agreement=0.92)
    worse = replace(healthy, drop=0.03)
    limit = Candidate(
        accuracy=0.87,
        drop=policy.max_accuracy_drop,
        agreement=policy.min_agreement,
        errors=policy.max_error_increase,
        slower=policy.max_slower,
        drifted=policy.max_drifted,
        on_the_limit=True,
    )
    facts = run_facts() | {
        "policy": policy.model_dump(),
        "feedback_share": healthy.feedback,
        "healthy": many(args.releases, healthy, policy),
        "healthy_min_feedback_4000": many(args.releases, healthy, judging),
        "three_points_less_min_feedback_4000": many(args.releases, worse, judging),
        "three_points_less_without_min_feedback": many(args.releases, worse, policy),
        "exactly_on_every_limit": many(args.on_the_limit, limit, policy),
    }
    result(RESULTS / "releases.json", facts)
    wrongly = facts["healthy"]["roll_back"] + facts["healthy_min_feedback_4000"]["roll_back"]
    on_limit = facts["exactly_on_every_limit"]
    held = (
        wrongly <= policy.false_alarm_rate * 2 * args.releases
        and on_limit["roll_back"] <= policy.false_alarm_rate * args.on_the_limit
        and on_limit["promote"] <= policy.miss_rate * args.on_the_limit
    )
    return int(not held)


if __name__ == "__main__":
    sys.exit(main())
