"""The temperature that makes a classifier's scores honest; `evaluate` fits it on validation."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import minimize_scalar

from pipelines.evaluation.metrics import ClassArray, FloatArray, negative_log_likelihood
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

    def loss(log_temperature: float) -> float:
        probabilities = softmax(logits, math.exp(log_temperature))
        every = float(-np.log(np.clip(probabilities, 1e-12, None)).sum(axis=1).mean())
        return texts * share * negative_log_likelihood(probabilities, truth) + share * every

    low, high = (math.log(edge) for edge in TEMPERATURE_RANGE)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-4})
    return float(math.exp(found.x))
