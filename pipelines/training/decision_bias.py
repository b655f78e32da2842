"""Moves the limits between labels to where validation's macro F1 is best.

A label that is rare is seldom the likeliest. Each label gets an offset of its logit, which becomes
part of the last layer's bias: what serves needs no thresholds.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pipelines.errors import CheckpointError
from pipelines.training.classifier import Classifier

ROUNDS = 3


def tuned_offsets(
    logits: npt.NDArray[np.floating], truth: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Returns [labels] offsets by coordinate ascent on macro F1; zeros where nothing is gained.

    Candidates of one label's offset are the midpoints between the texts' margins, 200 at most.
    """
    labels = logits.shape[1]
    offsets = np.zeros(labels)
    best = _macro_f1(logits, truth)
    for _ in range(ROUNDS):
        before = best
        for label in range(labels):
            moved = logits + offsets
            others = np.delete(moved, label, axis=1).max(axis=1)
            margins = np.unique(others - moved[:, label])
            middles = (margins[1:] + margins[:-1]) / 2
            if len(middles) > 200:
                middles = np.quantile(middles, np.linspace(0, 1, 200))
            for step in middles:
                trial = offsets.copy()
                trial[label] += step
                score = _macro_f1(logits + trial, truth)
                # Of equal scores the smaller change is less likely to be chance.
                if score > best + 1e-12:
                    best, offsets = score, trial
        if best - before < 1e-4:
            break
    centred: npt.NDArray[np.float64] = offsets - offsets.mean()
    return centred


def add_offsets(model: Classifier, offsets: npt.NDArray[np.float64]) -> None:
    """Adds them to the bias of the last layer.

    Raises:
        CheckpointError: The last layer has none.
    """
    last = model.head
    if last is None:
        layers = [m for m in model.body.modules() if isinstance(m, nn.Linear)]
        last = next((m for m in reversed(layers) if m.out_features == len(offsets)), None)
    if last is None or last.bias is None:
        raise CheckpointError("the model's last layer has no bias that thresholds could move")
    with torch.no_grad():
        last.bias += torch.from_numpy(offsets).to(last.bias.dtype)


def _macro_f1(logits: npt.NDArray[np.floating], truth: npt.NDArray[np.int64]) -> float:
    predicted = logits.argmax(axis=1)
    labels = logits.shape[1]
    both = np.bincount(truth[truth == predicted], minlength=labels)
    either = np.bincount(truth, minlength=labels) + np.bincount(predicted, minlength=labels)
    return float((2 * both[either > 0] / either[either > 0]).mean())
