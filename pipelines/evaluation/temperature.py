"""The temperatures that make a classifier's scores honest, for each kind of head.

`evaluate` fits one on the validation split, `calibrate` on labelled texts. Values of a regression
are no probabilities and have none.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from deployments.model.runner import sigmoid
from pipelines.evaluation.metrics import (
    ClassArray,
    FloatArray,
    negative_log_likelihood,
)
from pipelines.export.parity import softmax

TEMPERATURE_RANGE = (0.05, 20.0)


def fit_temperature(logits: FloatArray, truth: ClassArray) -> float:
    """Returns the temperature in [0.05, 20] that makes the true classes likeliest (Guo et al. 2017,
    section 4.2).

    Labels do not change: every logit is divided by the same number. Of n texts and k classes the
    true class counts (n + 1) / (n + k) and each other 1 / (n + k) (Platt 1999, section 2.2): a few
    texts that are all right do not make the scores certain.
    """
    texts, classes = len(truth), int(logits.shape[1])
    share = 1 / (texts + classes)

    def loss(temperature: float) -> float:
        probabilities = softmax(logits, temperature)
        every = float(-np.log(np.clip(probabilities, 1e-12, None)).sum(axis=1).mean())
        return texts * share * negative_log_likelihood(probabilities, truth) + share * every

    return _likeliest(loss)


def fit_label_temperature(logits: FloatArray, truth: npt.NDArray[np.bool_]) -> float:
    """Returns the same for one label with a sigmoid; 1 where all texts have it, or none.

    Of the n texts that have it each counts as (n + 1) / (n + 2), of the m others as 1 / (m + 2)
    (Platt 1999, section 2.2). A score moves away from 0.5 or towards it and never past it, so a
    threshold of 0.5 decides as before, and another one may decide otherwise.

    Args:
        logits: [texts] of the label.
        truth: [texts] whether it applies.
    """
    if truth.all() or not truth.any():
        return 1.0
    having, others = int(truth.sum()), int((~truth).sum())
    target = np.where(truth, (having + 1) / (having + 2), 1 / (others + 2))

    def loss(temperature: float) -> float:
        scores = np.clip(sigmoid(logits / np.float32(temperature)), 1e-12, 1 - 1e-7)
        return float(-(target * np.log(scores) + (1 - target) * np.log1p(-scores)).mean())

    return _likeliest(loss)


def _likeliest(loss: Callable[[float], float]) -> float:
    low, high = (math.log(edge) for edge in TEMPERATURE_RANGE)
    found = minimize_scalar(
        lambda at: loss(math.exp(at)), bounds=(low, high), method="bounded", options={"xatol": 1e-4}
    )
    return float(math.exp(found.x))
