"""The temperature that makes a classifier's scores honest; `evaluate` fits it on validation."""

from __future__ import annotations

import math

from scipy.optimize import minimize_scalar

from pipelines.evaluation.metrics import ClassArray, FloatArray, negative_log_likelihood
from pipelines.export.parity import softmax

TEMPERATURE_RANGE = (0.05, 20.0)


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
