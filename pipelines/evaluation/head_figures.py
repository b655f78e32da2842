"""Figures of models with several labels a text, and of models that give values.

What `figures.py` is for one label a text: `models evaluate` records them by name.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipelines.evaluation.figures import MAX_NAMED, metric_name
from pipelines.evaluation.metrics import binary_calibration_error, binary_log_likelihood
from registry.records import Head

Scores = npt.NDArray[np.float64]


def of_labels(
    truth: npt.NDArray[np.bool_], scores: Scores, labels: Sequence[str], head: Head
) -> dict[str, float]:
    """Figures of a multi-label model, with its thresholds.

    Args:
        truth: [texts, labels] whether each applies.
        scores: [texts, labels] as served.
        labels: Their names.
        head: Has the thresholds.

    Returns:
        ``accuracy`` is the share of texts with exactly the right labels, ``label_accuracy`` that of
        all decisions; ``macro_f1`` the mean over labels that occur or were given; ``ece``, ``nll``
        and ``brier`` means over labels; then F1, recall, precision and ECE of each, as far as the
        registry has room.
    """
    applies = np.round(scores, 6) >= np.array(head.thresholds)
    both = (truth & applies).sum(axis=0)
    texts, given = truth.sum(axis=0), applies.sum(axis=0)
    f1 = _share(2 * both, texts + given)
    recall, precision = _share(both, texts), _share(both, given)
    eces = np.array(
        [binary_calibration_error(scores[:, at], truth[:, at]) for at in range(len(labels))]
    )
    occurs = texts + given > 0
    named = {
        "texts": float(len(truth)),
        "accuracy": float((truth == applies).all(axis=1).mean()),
        "label_accuracy": float((truth == applies).mean()),
        "macro_f1": float(f1[occurs].mean()) if occurs.any() else 0.0,
        "micro_f1": float(2 * both.sum() / max(1, texts.sum() + given.sum())),
        "ece": float(eces.mean()),
        "nll": binary_log_likelihood(scores, truth),
        "brier": float(((scores - truth) ** 2).mean()),
    }
    details = {"f1": f1, "recall": recall, "precision": precision, "ece": eces}
    return _with_details(named, details, labels)


def of_values(truth: Scores, values: Scores, labels: Sequence[str]) -> dict[str, float]:
    """Figures of a regression, whose values are no probabilities and have no calibration.

    Args:
        truth: [texts, labels] right values.
        values: [texts, labels] as served.
        labels: Their names.

    Returns:
        ``mae`` and ``rmse`` over all; ``r``, the mean of Pearson's correlations, 0 where values do
        not vary; then each of them by name where there are several.
    """
    gaps = values - truth
    mae, rmse = np.abs(gaps).mean(axis=0), np.sqrt((gaps**2).mean(axis=0))
    r = np.array([_correlation(truth[:, at], values[:, at]) for at in range(len(labels))])
    named = {
        "texts": float(len(truth)),
        "mae": float(mae.mean()),
        "rmse": float(np.sqrt((gaps**2).mean())),
        "r": float(r.mean()),
    }
    details = {"mae": mae, "rmse": rmse, "r": r} if len(labels) > 1 else {}
    return _with_details(named, details, labels)


def _with_details(
    named: dict[str, float], details: dict[str, Scores], labels: Sequence[str]
) -> dict[str, float]:
    for name, values in details.items():
        for label, value in zip(labels, values.tolist(), strict=True):
            if len(named) < MAX_NAMED:
                named.setdefault(metric_name(f"{name}_{label}"), value)
    return named


def _share(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> Scores:
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)


def _correlation(first: Scores, second: Scores) -> float:
    if first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])
