"""What a release has seen of its candidate, and what follows from it. Pure.

Two error rates are stated by the policy. A candidate within all limits is rolled back
with a chance of at most ``false_alarm_rate`` over the whole release: every test gets its part
of it. A candidate that is beyond a limit of a step passes that step with a chance of at
most ``miss_rate``: going on needs proof of every limit, not just no alarm. What stays
between goes to a person. Accuracy can only raise the alarm, because proof of half a point takes
tens of thousands of answers; ``min_feedback`` asks for some of them.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from registry.policy import ReleasePolicy
from registry.records import Check, Release
from registry.releases.sequential_test import PairedCount, evidence_beyond, evidence_within

ACCURACY = "accuracy"
SHADOW_TESTS = ("errors", "latency", "agreement", "drift")
CHALLENGER_TESTS = ("errors", "latency")


@dataclass(frozen=True, slots=True)
class ReleaseProgress:
    """What was seen so far.

    Attributes:
        release: Whose; see ``Release.id``.
        step: In which step the tests were made.
        tests: Test to its counts since the step began.
        accuracy: Counts of judged answers since the release began.
    """

    release: int
    step: int
    tests: Mapping[str, PairedCount] = field(default_factory=dict)
    accuracy: PairedCount = field(default_factory=PairedCount)

    def plus(self, slot: str, seen: Mapping[str, PairedCount]) -> "ReleaseProgress":
        """With what was seen more; names are ``slot.test``, those of another slot are late."""
        tests = dict(self.tests)
        accuracy = self.accuracy
        for name, tally in seen.items():
            where, _, test = name.partition(".")
            if test == ACCURACY:
                accuracy += tally
            elif where == slot:
                tests[test] = tests.get(test, PairedCount()) + tally
        return replace(self, tests=tests, accuracy=accuracy)

    def at(self, release: Release) -> "ReleaseProgress":
        """The same in the release's present step, where the tests begin anew."""
        if self.release != release.id:
            return ReleaseProgress(release.id, release.step)
        return self if self.step == release.step else replace(self, step=release.step, tests={})

    def text(self) -> str:
        """For MLflow."""
        tests = {name: _plain(tally) for name, tally in self.tests.items()}
        return json.dumps([self.release, self.step, tests, _plain(self.accuracy)])


def parse_progress(text: str) -> ReleaseProgress:
    """What ``ReleaseProgress.text`` gave; nothing seen yet when it is something else."""
    try:
        number, step, tests, accuracy = json.loads(text)
        counts = {str(name): PairedCount(*map(int, tally)) for name, tally in tests.items()}
        return ReleaseProgress(int(number), int(step), counts, PairedCount(*map(int, accuracy)))
    except (ValueError, TypeError, AttributeError):
        return ReleaseProgress(0, 0)


@dataclass(frozen=True, slots=True)
class ReleaseDecision:
    """What shall happen now, why, and every test's state in one sentence."""

    action: Literal["wait", "go_on", "hold", "roll_back"]
    reason: str
    checks: tuple[Check, ...]


def decide(
    progress: ReleaseProgress, policy: ReleasePolicy, steps: tuple[float, ...], in_step_s: float
) -> ReleaseDecision:
    """What follows from what was seen.

    Args:
        progress: The counts.
        policy: Limits and error rates.
        steps: ``Release.steps``.
        in_step_s: Seconds since the step began, or was resumed.
    """
    alarm = math.log(count_tests(steps) / policy.false_alarm_rate)
    proof = math.log(1 / policy.miss_rate)
    checks, beyond, open_tests = [], [], []
    for name, tally, limit, paired in _tests(progress, policy):
        against = evidence_beyond(tally, limit, paired=paired)
        told = f"{tally.mean:.4f} of {tally.total}, limit {limit:.4g}"
        if against >= alarm:
            beyond.append(f"{name} {told}")
            checks.append(Check(name, False, f"{told}: beyond, odds e^{against:.1f}"))
            continue
        if name == ACCURACY:
            checks.append(Check(name, True, f"{told}: no alarm"))
            continue
        within = evidence_within(tally, limit)
        if within >= proof:
            checks.append(Check(name, True, f"{told}: within, odds e^{within:.1f}"))
        else:
            open_tests.append(name)
            checks.append(Check(name, True, f"{told}: open, e^{within:.1f} of e^{proof:.1f}"))
    found = tuple(checks)
    if beyond:
        return ReleaseDecision("roll_back", f"beyond the limit: {'; '.join(beyond)}", found)
    missing = _missing(progress, policy, open_tests)
    if missing and in_step_s >= policy.max_step_s:
        return ReleaseDecision("hold", f"undecided after {in_step_s:.0f} s: {missing}", found)
    if missing or in_step_s < policy.min_step_s:
        return ReleaseDecision(
            "wait", missing or f"{in_step_s:.0f} s of {policy.min_step_s:g} s", found
        )
    return ReleaseDecision("go_on", "every test of this step is within its limit", found)


def count_tests(steps: tuple[float, ...]) -> int:
    """How many tests a release can make: those of each step, and accuracy."""
    shadow = len(SHADOW_TESTS) if steps[0] else 0
    return shadow + len(CHALLENGER_TESTS) * (len(steps) - 1) + 1


def _tests(
    progress: ReleaseProgress, policy: ReleasePolicy
) -> Iterator[tuple[str, PairedCount, float, bool]]:
    """The present step's tests: name, counts, limit, whether the candidate can do better."""
    limits = {
        "errors": policy.max_error_increase,
        "latency": policy.max_slower,
        "agreement": 1 - policy.min_agreement,
        "drift": policy.max_drifted,
    }
    shadow = progress.step == 0
    for name in SHADOW_TESTS if shadow else CHALLENGER_TESTS:
        paired = name == "errors" and not shadow
        yield name, progress.tests.get(name, PairedCount()), limits[name], paired
    yield ACCURACY, progress.accuracy, policy.max_accuracy_drop, True


def _missing(progress: ReleaseProgress, policy: ReleasePolicy, open_tests: list[str]) -> str:
    texts = progress.tests.get("errors", PairedCount()).total
    if texts < policy.min_texts:
        return f"{texts} of {policy.min_texts} texts compared"
    if progress.accuracy.total < policy.min_feedback:
        return f"{progress.accuracy.total} of {policy.min_feedback} answers judged"
    return f"not yet proven: {', '.join(open_tests)}" if open_tests else ""


def _plain(tally: PairedCount) -> list[Any]:
    return [tally.worse, tally.same, tally.better]
