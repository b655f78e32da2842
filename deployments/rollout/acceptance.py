"""Decides by golden texts, scored on every replica, whether a version may answer. Pure.

A version that crashes, returns wrong shapes or NaN, is many times slower than the champion,
or contradicts it on plain sentences never gets a request.
"""

from collections.abc import Sequence

import numpy as np

from configs.schema.registry import RolloutConfig
from deployments.payloads import FloatArray, Probe
from deployments.predictions import agree
from deployments.versions import ServedVersion

# Replicas round differently; by no more than this.
_SAME = 0.01
GOLDEN_TEXTS = (
    "I love it.",
    "I hate it.",
    "This is wonderful, thank you so much!",
    "This is terrible, I want my money back.",
    "The best phone that I have ever had.",
    "The worst phone that I have ever had.",
    "Excellent service and very friendly people.",
    "Awful service and very rude people.",
    "What a beautiful film, I enjoyed every minute.",
    "What a boring film, I nearly fell asleep.",
    "Delicious food, we will come again.",
    "Disgusting food, never again.",
    "It works perfectly and looks great.",
    "It broke after a day and looks cheap.",
    "I am so happy with this purchase.",
    "I am so disappointed with this purchase.",
)


def rejection_reason(
    candidate: ServedVersion,
    probes: Sequence[Probe],
    champion: ServedVersion,
    references: Sequence[Probe],
    limits: RolloutConfig,
    *,
    answers: bool,
) -> str | None:
    """Why ``candidate`` may not go live, in one sentence; None when it may.

    Args:
        candidate: The version.
        probes: Its golden scores, from every replica.
        champion: The version that answers now.
        references: The champion's golden scores from the same replicas.
        limits: Tolerances.
        answers: Whether it is to answer requests; False for a shadow.
    """
    problem = _malformed(candidate, probes)
    if problem is not None or not answers:
        return problem
    return _worse(candidate, probes, champion, references, limits=limits)


def _malformed(candidate: ServedVersion, probes: Sequence[Probe]) -> str | None:
    for probe in probes:
        if probe.scores.shape != (len(GOLDEN_TEXTS), len(candidate.labels)):
            return f"scores have shape {probe.scores.shape}, not one for each of its labels"
        if not np.isfinite(probe.scores).all():
            return "scores are no numbers"
        if candidate.head.activation != "none" and not _are_probabilities(candidate, probe.scores):
            return "scores are no probabilities"
    if max(_apart(p.scores, probes[0].scores) for p in probes) > _SAME:
        return "replicas disagree about the golden texts"
    return None


def _are_probabilities(candidate: ServedVersion, scores: FloatArray) -> bool:
    between = scores.min() >= -_SAME and scores.max() <= 1 + _SAME
    if candidate.head.task != "single_label":
        return bool(between)
    return bool(between and np.abs(scores.sum(1) - 1).max() <= _SAME)


def _apart(scores: FloatArray, others: FloatArray) -> float:
    """Largest difference of a score; in proportion where values are above 1."""
    return float((np.abs(scores - others) / np.maximum(1, np.abs(others))).max())


def _worse(
    candidate: ServedVersion,
    probes: Sequence[Probe],
    champion: ServedVersion,
    references: Sequence[Probe],
    *,
    limits: RolloutConfig,
) -> str | None:
    mine_s, theirs_s = _median_s(probes), _median_s(references)
    if mine_s > limits.max_slowdown * theirs_s:
        return (
            f"a text takes {mine_s * 1_000:.1f} ms, the champion {theirs_s * 1_000:.1f} ms: "
            f"{mine_s / theirs_s:.3g} times as long, more than "
            f"rollout.max_slowdown={limits.max_slowdown:g}"
        )
    if set(candidate.labels) == set(champion.labels) and candidate.head.task == champion.head.task:
        agreed = np.mean(
            [
                agree(candidate, mine, champion, theirs, limits.drift_step)[0]
                for mine, theirs in zip(probes[0].scores, references[0].scores, strict=True)
            ]
        )
        if agreed < limits.min_golden_agreement:
            return (
                f"it agrees with the champion on {agreed:.3g} of the golden texts, less than "
                f"rollout.min_golden_agreement={limits.min_golden_agreement:g}"
            )
    return None


def _median_s(probes: Sequence[Probe]) -> float:
    return float(np.median([probe.text_s for probe in probes]))
