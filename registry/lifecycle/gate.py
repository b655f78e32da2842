"""The gate before production: candidate, champion and policy in, verdict with reasons out.

Pure functions. Missing evidence refuses; figures are compared only when they were
measured on the same dataset, by digest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from registry.policy import MetricRule, Policy
from registry.records import Check, GateReport, Measurement


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a version.

    Attributes:
        version: Its number, for the reasons.
        labels: Class names in score order; empty when unknown.
        digest: The stored files' digest; empty when nothing is stored.
        measurements: Its figures, in any order.
        task: What its scores mean.
    """

    version: int
    labels: tuple[str, ...]
    digest: str
    measurements: Sequence[Measurement]
    task: str = "single_label"


def evaluate_gate(candidate: Evidence, champion: Evidence | None, policy: Policy) -> GateReport:
    """Whether ``candidate`` may become the champion; without a champion only thresholds count."""
    checks = [_has_files(candidate)]
    if champion is not None and policy.same_labels:
        checks.append(_same_labels(candidate, champion))
    for rule in policy.rules:
        checks.extend(_metric(rule, candidate, champion))
    return GateReport(all(check.passed for check in checks), tuple(checks))


def check_known_accuracy(candidate: Evidence, champion: Evidence, policy: Policy) -> Check:
    """Whether the candidate is known to lose more accuracy than a release may.

    Figures count that both have on the same texts, on the policy's dataset where it names one. With
    none there is nothing known, and the check holds.
    """
    limit = policy.release.max_accuracy_drop
    drops: list[tuple[float, str]] = []
    for metric in ("accuracy", "macro_accuracy"):
        rule = MetricRule(metric=metric, dataset=policy.shown_dataset or None, max_regression=0)
        mine, theirs = (_by_dataset(rule, one) for one in (candidate, champion))
        for key in mine.keys() & theirs.keys():
            compared = f"{metric} {mine[key]:.4g} on {key[0]}, champion {champion.version} has "
            drops.append((theirs[key] - mine[key], f"{compared}{theirs[key]:.4g}"))
        if drops:
            break
    if not drops:
        reason = "this version and the champion were not measured on the same texts"
        return Check("known accuracy", True, reason)
    worst, reason = max(drops)
    return Check(
        "known accuracy", worst <= limit + 1e-9, f"{reason}; a drop of {limit:g} is allowed"
    )


def _by_dataset(rule: MetricRule, evidence: Evidence) -> dict[tuple[str, str], float]:
    """Newest figure of each dataset with a digest."""
    oldest_first = reversed(_latest(evidence.measurements, rule))
    return {(m.dataset, m.dataset_digest): m.value for m in oldest_first if m.dataset_digest}


def _has_files(candidate: Evidence) -> Check:
    if candidate.digest:
        return Check("files", True, f"digest {candidate.digest[:12]}")
    return Check("files", False, f"version {candidate.version} has no stored files")


def _same_labels(candidate: Evidence, champion: Evidence) -> Check:
    if candidate.task != champion.task:
        return Check("labels", False, f"{candidate.task}, the champion is {champion.task}")
    if set(candidate.labels) == set(champion.labels):
        return Check("labels", True, f"{len(candidate.labels)} labels, as the champion's")
    lost = sorted(set(champion.labels) - set(candidate.labels))[:5]
    new = sorted(set(candidate.labels) - set(champion.labels))[:5]
    return Check("labels", False, f"not the champion's labels: missing {lost}, new {new}")


def _metric(rule: MetricRule, candidate: Evidence, champion: Evidence | None) -> Iterator[Check]:
    mine = _latest(candidate.measurements, rule)
    if not mine:
        where = f" on {rule.dataset}" if rule.dataset else ""
        yield Check(rule.metric, False, f"version {candidate.version} has no {rule.metric}{where}")
        return
    newest = mine[0]
    sign = 1 if rule.higher_is_better else -1
    if rule.threshold is not None:
        bound = "at least" if rule.higher_is_better else "at most"
        passed = sign * (newest.value - rule.threshold) >= 0
        reason = f"{newest.value:.4g}, {bound} {rule.threshold:.4g} is asked"
        yield Check(f"{rule.metric} threshold", passed, reason)
    if champion is not None and (rule.min_gain is not None or rule.max_regression is not None):
        yield from _against(rule, mine, champion, sign)


def _against(
    rule: MetricRule, mine: Sequence[Measurement], champion: Evidence, sign: int
) -> Iterator[Check]:
    theirs = _by_dataset(rule, champion)
    pair = next(
        ((m.value, theirs[key]) for m in mine if (key := (m.dataset, m.dataset_digest)) in theirs),
        None,
    )
    if pair is None:
        reason = (
            f"no {rule.metric} of both this version and champion {champion.version} on one dataset"
        )
        yield Check(f"{rule.metric} against champion", False, reason)
        return
    gain = sign * (pair[0] - pair[1])
    compared = f"{pair[0]:.4g} against {pair[1]:.4g} of champion {champion.version}"
    # Figures such as 0.91 - 0.90 carry rounding errors far below any meant difference.
    slack = 1e-9
    if rule.min_gain is not None:
        passed = gain >= rule.min_gain - slack
        yield Check(
            f"{rule.metric} gain", passed, f"{compared}, gain of {rule.min_gain:.4g} is asked"
        )
    if rule.max_regression is not None:
        passed = -gain <= rule.max_regression + slack
        reason = f"{compared}, regression of {rule.max_regression:.4g} is allowed"
        yield Check(f"{rule.metric} regression", passed, reason)


def _latest(measurements: Sequence[Measurement], rule: MetricRule) -> list[Measurement]:
    """The rule's figures, newest first."""
    found = [
        m for m in measurements if m.metric == rule.metric and rule.dataset in (None, m.dataset)
    ]
    return sorted(found, key=lambda m: m.measured_s, reverse=True)
