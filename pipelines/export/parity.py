"""Judges whether a converted model still says what its source said.

Comes after every conversion in `export` and `import`: FP32 ONNX against torch by the largest
difference of logits, INT8 against FP32 by the share of texts with the same label. A conversion that
fails is refused and nothing is written for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.errors import ParityError

FloatArray = npt.NDArray[np.float32]

LOGIT_TOLERANCE = 1e-4
MIN_AGREEMENT = 0.97


@dataclass(frozen=True, slots=True)
class Agreement:
    """INT8 against FP32 on the same texts.

    Attributes:
        texts: How many were compared.
        same_label: Share with the same label, in [0, 1].
        mean_shift: Mean absolute difference of the probability of FP32's label.
    """

    texts: int
    same_label: float
    mean_shift: float


@dataclass(frozen=True, slots=True)
class BatchShift:
    """What a text's batch mates do to its answer, INT8 alone against INT8 in a batch.

    Attributes:
        median: Median absolute difference of the probability of the label.
        p99: Its 99th percentile.
        flips: Share of texts whose label differs, in [0, 1].
    """

    median: float
    p99: float
    flips: float


def batch_shift(together: FloatArray, alone: FloatArray) -> BatchShift:
    """Compares [texts, labels] logits of the same texts, scored in batches and one by one."""
    label, rows = together.argmax(axis=1), np.arange(len(together))
    shift = np.abs(softmax(together)[rows, label] - softmax(alone)[rows, label])
    flips = float((label != alone.argmax(axis=1)).mean())
    return BatchShift(float(np.median(shift)), float(np.percentile(shift, 99)), flips)


def require_equal(
    torch_logits: FloatArray, onnx_logits: FloatArray, tolerance: float = LOGIT_TOLERANCE
) -> float:
    """Returns the largest absolute difference of two [texts, labels] arrays of logits.

    Raises:
        ParityError: It is above the tolerance, or not a number.
    """
    difference = float(np.abs(torch_logits - onnx_logits).max())
    if not difference <= tolerance:
        raise ParityError(
            f"ONNX differs from torch by {difference:.2e} in a logit; allowed is {tolerance:.0e}"
        )
    return difference


def require_agreement(
    fp32_logits: FloatArray, int8_logits: FloatArray, minimum: float = MIN_AGREEMENT
) -> Agreement:
    """Returns how far INT8 follows FP32 on [texts, labels] logits.

    Raises:
        ParityError: Fewer texts than `minimum` (a share) keep their label.
    """
    before, after = fp32_logits.argmax(axis=1), int8_logits.argmax(axis=1)
    rows = np.arange(len(before))
    shift = np.abs(softmax(fp32_logits)[rows, before] - softmax(int8_logits)[rows, before])
    agreement = Agreement(len(before), float((before == after).mean()), float(shift.mean()))
    if not agreement.same_label >= minimum:
        raise ParityError(
            f"INT8 keeps the label of {agreement.same_label:.1%} of {agreement.texts} texts; "
            f"at least {minimum:.1%} is needed"
        )
    return agreement


def softmax(logits: npt.NDArray[np.floating], temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Returns probabilities of the same shape, along the last axis, after division by the
    temperature.
    """
    scaled = logits.astype(np.float64) / temperature
    exponent = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    probabilities: npt.NDArray[np.float64] = exponent / exponent.sum(axis=-1, keepdims=True)
    return probabilities
