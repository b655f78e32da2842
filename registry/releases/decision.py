"""What a release has counted of its candidate, and the decision that follows. Pure.

The policy states two error rates. A candidate within all limits is rolled back
with a chance of at most ``false_alarm_rate`` over the whole release: every test gets its part
of it. A candidate that is beyond a limit of a step passes that step with a chance of at
most ``miss_rate``: advancing needs proof of every limit, not just no alarm. What stays
undecided goes to a person. Accuracy raises the alarm at half a point, of which a proof would take
tens of thousands of judged answers; ``accuracy_proof`` asks for the proof of a larger limit, which
takes hundreds.
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
# Of a policy, the field that limits each test.
_SETTINGS = {
    "errors": "max_error_increase",
    "latency": "max_slower",
    "agreement": "min_agreement",
    "drift": "max_drifted",
    ACCURACY: "max_accuracy_drop",
}


@dataclass(frozen=True, slots=True)
class ReleaseProgress:
    """Counts so far.

    Attributes:
        release: The release's id.
        step: In which step the tests were made.
        tests: Test to its counts since the step began.
        accuracy: Counts of judged answers since the release began.
        proof: ``accuracy_proof`` of a policy that leaves it open, by the server that counts.
        not_counted: Judged answers that count for nothing here since it began, by why.
    """

    release: int
    step: int
    tests: Mapping[str, PairedCount] = field(default_factory=dict)
    accuracy: PairedCount = field(default_factory=PairedCount)
    proof: float | None = None
    not_counted: Mapping[str, int] = field(default_factory=dict)

    def plus(self, slot: str, added: Mapping[str, PairedCount]) -> "ReleaseProgress":
        """With further counts by ``slot.test``; those of another slot are late and dropped.

        ``missed.WHY`` counts judged answers that count for nothing.
        """
        tests, missed = dict(self.tests), dict(self.not_counted)
        accuracy = self.accuracy
        for name, counts in added.items():
            where, _, test = name.partition(".")
            if where == "missed":
                missed[test] = missed.get(test, 0) + counts.total
            elif test == ACCURACY:
                accuracy += counts
            elif where == slot:
                tests[test] = tests.get(test, PairedCount()) + counts
        return replace(self, tests=tests, accuracy=accuracy, not_counted=missed)

    def at(self, release: Release) -> "ReleaseProgress":
        """The progress in the release's present step; a new step begins its tests anew."""
        if self.release != release.id:
            return ReleaseProgress(release.id, release.step, proof=self.proof)
        return self if self.step == release.step else replace(self, step=release.step, tests={})

    def text(self) -> str:
        """As text, for a tag."""
        tests = {name: _as_list(counts) for name, counts in self.tests.items()}
        counts = [self.release, self.step, tests, _as_list(self.accuracy)]
        if self.not_counted:
            return json.dumps([*counts, self.proof, dict(self.not_counted)])
        return json.dumps(counts if self.proof is None else [*counts, self.proof])


def parse_progress(text: str) -> ReleaseProgress:
    """The progress of ``ReleaseProgress.text``; empty when the text is something else."""
    try:
        number, step, tests, accuracy, *rest = json.loads(text)
        more: list[Any] = list(rest)
        by_test = {str(name): PairedCount(*map(int, counts)) for name, counts in tests.items()}
        counts = PairedCount(*map(int, accuracy))
        proof = more[0] if more else None
        known = None if proof is None else float(proof)
        missed = {str(why): int(n) for why, n in dict(*more[1:2]).items()}
        return ReleaseProgress(int(number), int(step), by_test, counts, known, missed)
    except (ValueError, TypeError, AttributeError):
        return ReleaseProgress(0, 0)


@dataclass(frozen=True, slots=True)
class ReleaseTest(Check):
    """One test of a release; evidence is the logarithm of odds.

    Attributes:
        total: Texts compared, or answers judged.
        mean: How often the candidate did worse, minus how often it did better.
        limit: Of the mean.
        within: Evidence that the mean is below the limit.
        within_needed: From what on the step may end; None where no proof is asked for.
        beyond: Evidence that the mean is above the limit.
        beyond_needed: From what on the release is rolled back.
    """

    total: int
    mean: float
    limit: float
    within: float
    within_needed: float | None
    beyond: float
    beyond_needed: float


@dataclass(frozen=True, slots=True)
class ReleaseDecision:
    """What to do now, why, and every test's state in one sentence."""

    action: Literal["wait", "go_on", "hold", "roll_back"]
    reason: str
    checks: tuple[ReleaseTest, ...]


def decide(
    progress: ReleaseProgress, policy: ReleasePolicy, steps: tuple[float, ...], in_step_s: float
) -> ReleaseDecision:
    """The decision that follows from the counts.

    Args:
        progress: The counts.
        policy: Limits and error rates.
        steps: ``Release.steps``.
        in_step_s: Seconds since the step began, or was resumed.
    """
    if policy.accuracy_proof is None:
        policy = policy.model_copy(update={"accuracy_proof": progress.proof})
    alarm = math.log(count_tests(steps) / policy.false_alarm_rate)
    proof = math.log(1 / policy.miss_rate)
    checks, beyond, open_tests = [], [], []
    for name, counts, limit, paired in _tests(progress, policy):
        against = evidence_beyond(counts, limit, paired=paired)
        within = evidence_within(counts, limit)
        measured = f"{counts.mean:.4f} of {counts.total}, limit {limit:.4g}"
        setting = _SETTINGS[name]
        if against >= alarm:
            named = f"policy.release.{setting}={getattr(policy, setting):.4g}"
            beyond.append(f"{name} {measured} by {named}")
            state = f"beyond, odds e^{against:.1f}"
        elif name == ACCURACY and _is_proven(counts, policy):
            state = "no alarm"
        elif name == ACCURACY:
            state = "no alarm, not yet proven"
            open_tests.append(f"accuracy within {policy.accuracy_proof:g}")
        elif within >= proof:
            state = f"within, odds e^{within:.1f}"
        else:
            open_tests.append(name)
            state = f"open, e^{within:.1f} of e^{proof:.1f}"
        checks.append(
            ReleaseTest(
                name=name,
                passed=against < alarm,
                reason=f"{measured}: {state}",
                total=counts.total,
                mean=counts.mean,
                limit=limit,
                within=within,
                within_needed=None if name == ACCURACY else proof,
                beyond=against,
                beyond_needed=alarm,
            )
        )
    done = tuple(checks)
    if beyond:
        return ReleaseDecision("roll_back", f"beyond the limit: {'; '.join(beyond)}", done)
    missing = _missing(progress, policy, open_tests)
    if missing and in_step_s >= policy.max_step_s:
        return ReleaseDecision("hold", f"undecided after {in_step_s:.0f} s: {missing}", done)
    if missing or in_step_s < policy.min_step_s:
        return ReleaseDecision(
            "wait", missing or f"{in_step_s:.0f} s of {policy.min_step_s:g} s", done
        )
    return ReleaseDecision("go_on", "every test of this step is within its limit", done)


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


def _is_proven(counts: PairedCount, policy: ReleasePolicy) -> bool:
    limit = policy.accuracy_proof
    return not limit or evidence_within(counts, limit) >= math.log(1 / policy.miss_rate)


def _missing(progress: ReleaseProgress, policy: ReleasePolicy, open_tests: list[str]) -> str:
    texts = progress.tests.get("errors", PairedCount()).total
    if texts < policy.min_texts:
        return f"{texts} of {policy.min_texts} texts compared"
    if progress.accuracy.total < policy.min_feedback:
        return f"{progress.accuracy.total} of {policy.min_feedback} answers judged"
    return f"not yet proven: {', '.join(open_tests)}" if open_tests else ""


def _as_list(counts: PairedCount) -> list[int]:
    return [counts.worse, counts.same, counts.better]
