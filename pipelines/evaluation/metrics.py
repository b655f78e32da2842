"""The figures that a classifier is judged by, and the temperature that makes its scores honest.

Pure functions of logits or probabilities and true classes, used by `evaluate`. Sources are named
where a figure has one.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from pipelines.export.parity import softmax

FloatArray = npt.NDArray[np.floating]
ClassArray = npt.NDArray[np.int64]

CALIBRATION_BINS = 15
Z_95 = 1.959963984540054
TEMPERATURE_RANGE = (0.05, 20.0)


def wilson_interval(hits: int, trials: int) -> tuple[float, float]:
    """Returns the 95 % score interval of a share (Wilson, "Probable inference", JASA 1927).

    Raises:
        ValueError: No trials.
    """
    if trials < 1:
        raise ValueError("an interval needs at least one trial")
    share, square = hits / trials, Z_95**2
    centre = (share + square / (2 * trials)) / (1 + square / trials)
    half = (
        Z_95
        / (1 + square / trials)
        * math.sqrt(share * (1 - share) / trials + square / (4 * trials**2))
    )
    return max(0.0, centre - half), min(1.0, centre + half)


def macro_f1(truth: ClassArray, predicted: ClassArray, labels: int) -> float:
    """Returns the unweighted mean over classes of F1, a class that never occurs counting zero only
    if it was predicted.
    """
    scores = []
    for label in range(labels):
        both = int(((truth == label) & (predicted == label)).sum())
        either = int((truth == label).sum() + (predicted == label).sum())
        if either:
            scores.append(2 * both / either)
    return float(np.mean(scores))


def expected_calibration_error(
    probabilities: FloatArray, truth: ClassArray, bins: int = CALIBRATION_BINS
) -> float:
    """Returns the mean gap of confidence and accuracy over equal-width bins of confidence, weighted
    by their texts, in [0, 1].

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3. A bin includes
    its upper edge.

    Args:
        probabilities: [texts, labels].
        truth: [texts] class of each text.
        bins: Number of bins over (0, 1].
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == truth
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gap = 0.0
    for index in range(bins):
        inside = bin_of == index
        if inside.any():
            gap += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return float(gap)


def negative_log_likelihood(probabilities: FloatArray, truth: ClassArray) -> float:
    """Returns the mean negative log probability of the true class, in nats."""
    chosen = probabilities[np.arange(len(truth)), truth]
    return float(-np.log(np.clip(chosen, 1e-12, None)).mean())


def brier_score(probabilities: FloatArray, truth: ClassArray) -> float:
    """Returns the mean squared distance of [texts, labels] probabilities to the one-hot truth, in
    [0, 2] (Brier, 1950).
    """
    expected = np.eye(probabilities.shape[1])[truth]
    return float(((probabilities - expected) ** 2).sum(axis=1).mean())


def fit_temperature(logits: FloatArray, truth: ClassArray) -> float:
    """Returns the temperature in [0.05, 20] that makes the true classes likeliest (Guo et al. 2017,
    section 4.2).

    Labels do not change: every logit is divided by the same number.
    """

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(softmax(logits, math.exp(log_temperature)), truth)

    low, high = (math.log(edge) for edge in TEMPERATURE_RANGE)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-4})
    return float(math.exp(found.x))
