"""The figures that a classifier is judged by.

Pure functions of probabilities or classes and true classes, used by `figures.py`. Sources are named
where a figure has one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
ClassArray = npt.NDArray[np.int64]

CALIBRATION_BINS = 15


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


def binary_calibration_error(
    probabilities: FloatArray, truth: npt.NDArray[np.bool_], bins: int = CALIBRATION_BINS
) -> float:
    """Returns the mean gap of probability and frequency of one label over equal-width bins of its
    probability, weighted by their texts, in [0, 1].

    Args:
        probabilities: [texts] that the label applies.
        truth: [texts] whether it does.
        bins: Number of bins over [0, 1].
    """
    bin_of = np.clip(np.ceil(probabilities * bins).astype(int) - 1, 0, bins - 1)
    gap = 0.0
    for index in np.unique(bin_of):
        inside = bin_of == index
        gap += inside.mean() * abs(truth[inside].mean() - probabilities[inside].mean())
    return float(gap)


def binary_log_likelihood(probabilities: FloatArray, truth: npt.NDArray[np.bool_]) -> float:
    """Returns the mean negative log probability of what is so, in nats; any shape."""
    chosen = np.where(truth, probabilities, 1 - probabilities)
    return float(-np.log(np.clip(chosen, 1e-12, None)).mean())


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
